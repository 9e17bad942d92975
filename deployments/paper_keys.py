"""The API keys of a home's paper exchange: made once, at random, and readable by the home's owner alone."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.instance import write_private
from kontor.errors import ConfigError

ACCOUNTS = ("paper", "paper-sub")


@dataclass(frozen=True, slots=True)
class PaperKey:
    """What opens one account of the paper exchange."""

    api_key: str = field(repr=False)
    secret: str = field(repr=False)
    passphrase: str = field(repr=False)

    @classmethod
    def random(cls) -> PaperKey:
        """A key nobody has had before, shaped like OKX's own."""
        return cls(secrets.token_hex(16), secrets.token_hex(16), secrets.token_urlsafe(12))


def make_keys(path: Path) -> bool:
    """Write keys for every account unless the file is there; True when it had to be made."""
    if path.exists():
        return False
    keys = {name: PaperKey.random() for name in ACCOUNTS}
    text = {name: {"api_key": k.api_key, "secret": k.secret, "passphrase": k.passphrase} for name, k in keys.items()}
    write_private(path, json.dumps(text, indent=1))
    return True


def read_keys(path: Path) -> Mapping[str, PaperKey]:
    """The keys by account; raises ConfigError when the file is missing or damaged."""
    remedy = "move it away, and 'kontor up' makes a new one"
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        return {name: PaperKey(**key) for name, key in data.items()}
    except FileNotFoundError:
        raise ConfigError("there is no such file; 'kontor up' makes one", where=str(path)) from None
    except (OSError, ValueError, TypeError, AttributeError):
        raise ConfigError(f"does not hold the paper exchange's keys; {remedy}", where=str(path)) from None
