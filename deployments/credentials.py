"""What opens a desk's Prefect server, and what its blocks are encrypted with: two files in the home.

Each is made once, at random, and readable by its owner alone. They reach processes as environment variables and never
as arguments: a process list shows arguments to everybody.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.home import Home, Ports
from deployments.instance import write_private
from kontor.errors import ConfigError

if TYPE_CHECKING:
    from deployments.prefect_api import PrefectApi

AUTH_VARIABLE = "PREFECT_API_AUTH_STRING"
USER = "admin"
KEY_BYTES = 32
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_auth(home: Home) -> bool:
    """Write what opens the server, unless it is there; True when it had to be made."""
    if home.auth_file.exists():
        return False
    write_private(home.auth_file, f"{USER}:{secrets.token_urlsafe(KEY_BYTES)}\n")
    return True


def read_auth(home: Home) -> str:
    """`user:password` of the home's server, empty before its first desk; ConfigError when the file holds neither."""
    text = _read(home.auth_file)
    user, separator, password = text.partition(":")
    if text and not (user and separator and password):
        raise ConfigError(
            "must hold one line, user:password; write one, or move it away and 'kontor up' makes a new one",
            where=str(home.auth_file),
        )
    return text


def new_key() -> str:
    """A key for block secrets (Fernet) that nobody has had before."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def read_key(home: Home) -> str:
    """The key of the home's block secrets, empty before its first desk; ConfigError when the file holds no key."""
    text = _read(home.encryption_key_file)
    try:
        is_right = not text or len(base64.urlsafe_b64decode(text)) == KEY_BYTES
    except ValueError:
        is_right = False
    if not is_right:
        raise ConfigError(
            "does not hold the key of this desk's blocks; put it back from a backup, as it was",
            where=str(home.encryption_key_file),
        )
    return text


def desk_api(home: Home, ports: Ports, *, timeout: timedelta = timedelta(seconds=30)) -> PrefectApi:
    """A client of the home's own server, which it opens by itself."""
    # Its HTTP client takes a moment to import, which `kontor env` need not pay.
    from deployments.prefect_api import PrefectApi

    return PrefectApi(ports.prefect_url, timeout=timeout, auth=read_auth(home) or os.environ.get(AUTH_VARIABLE, ""))


def _read(file: Path) -> str:
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(f"cannot be read ({reason}); it belongs to the desk", where=str(file)) from None
    if mode & OTHERS:
        raise ConfigError(f"other users may read it: run chmod 600 {file}", where=str(file))
    return text
