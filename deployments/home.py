"""Where a desk keeps what it must remember, which ports it listens on, and the lock that keeps it single."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kontor.errors import ConfigError, KontorError

HOME_VARIABLE = "KONTOR_HOME"
PREFECT_PORT_VARIABLE = "KONTOR_PREFECT_PORT"
PAPER_PORT_VARIABLE = "KONTOR_PAPER_PORT"
# Where the paper exchange takes its prices from, as `kontor paper --source` takes it.
PAPER_SOURCE_VARIABLE = "KONTOR_PAPER_SOURCE"
WEB_PORT_VARIABLE = "KONTOR_WEB_PORT"
DEFAULT_HOME = ".kontor"
DEFAULT_PREFECT_PORT = 4200
DEFAULT_PAPER_PORT = 8400
DEFAULT_WEB_PORT = 8410
# What the variable of the page's port says when there is to be no page.
OFF = "off"
LAST_PORT = 65535
LOOPBACK = "127.0.0.1"


class DeskRunning(KontorError):
    """Another process holds the home."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one desk: databases, logs, keys of the paper exchange, and the record of what runs."""

    path: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """The folder KONTOR_HOME names, else `.kontor` in the working directory; absolute, not yet made."""
        named = (os.environ if environment is None else environment).get(HOME_VARIABLE) or DEFAULT_HOME
        return cls(Path(named).expanduser().absolute())

    @property
    def logs(self) -> Path:
        """One file for each child process."""
        return self.path / "logs"

    @property
    def lock_file(self) -> Path:
        """Locked while a desk runs on this home; what it holds means nothing."""
        return self.path / "desk.lock"

    @property
    def record_file(self) -> Path:
        """Which processes the running desk consists of, or the last one consisted of."""
        return self.path / "desk.json"

    @property
    def paper_keys_file(self) -> Path:
        """The API keys the paper exchange of this home accepts."""
        return self.path / "paper-keys.json"

    @property
    def auth_file(self) -> Path:
        """What opens this home's Prefect server: user:password."""
        return self.path / "prefect-auth"

    @property
    def encryption_key_file(self) -> Path:
        """The key that block secrets are encrypted with; Prefect would keep it beside them."""
        return self.path / "encryption-key"

    @property
    def prefect_database(self) -> Path:
        """What Prefect's server remembers: deployments, runs, blocks."""
        return self.path / "prefect" / "prefect.db"

    @property
    def paper_database(self) -> Path:
        """The paper exchange's own books."""
        return self.path / "paper.sqlite3"

    @property
    def metrics(self) -> Path:
        """One file for each process that serves figures, as Prometheus reads them."""
        return self.path / "metrics"

    @property
    def backups(self) -> Path:
        """Where backups go unless another folder is named."""
        return self.path / "backups"

    @property
    def store_file(self) -> Path:
        """The embedded state store."""
        return self.path / "kontor.db"

    @property
    def default_store_url(self) -> str:
        """The store a new desk gets: an SQLite file in the home."""
        return f"sqlite:///{self.store_file}"

    def make(self) -> None:
        """Create the folder, readable by its owner alone; raises ConfigError where that is impossible."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.logs.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"{self.path} cannot be used ({error.strerror}); name a folder you may write to", where=HOME_VARIABLE
            ) from None
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise ConfigError(f"{self.path} cannot be written to; name another folder", where=HOME_VARIABLE)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home for oneself; raises DeskRunning while another process does. The lock ends with the process."""
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                    raise
                raise DeskRunning(f"a desk is running on {self.path}") from None
            yield
        finally:
            os.close(descriptor)

    def is_locked(self) -> bool:
        """Whether a desk runs on this home, or is just being brought up or down."""
        if not self.lock_file.exists():
            return False
        try:
            with self.locked():
                return False
        except DeskRunning:
            return True


@dataclass(frozen=True, slots=True)
class Ports:
    """Where Prefect's server, the paper exchange and the desk's page listen, all on loopback."""

    prefect: int = DEFAULT_PREFECT_PORT
    paper: int = DEFAULT_PAPER_PORT
    # 0 is no page.
    web: int = DEFAULT_WEB_PORT

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """The ports the variables name; raises ConfigError when one is no port number, or two are the same."""
        environment = os.environ if environment is None else environment
        no_page = environment.get(WEB_PORT_VARIABLE) == OFF
        wanted = {
            PREFECT_PORT_VARIABLE: read_port(environment, PREFECT_PORT_VARIABLE, DEFAULT_PREFECT_PORT),
            PAPER_PORT_VARIABLE: read_port(environment, PAPER_PORT_VARIABLE, DEFAULT_PAPER_PORT),
            WEB_PORT_VARIABLE: 0 if no_page else read_port(environment, WEB_PORT_VARIABLE, DEFAULT_WEB_PORT),
        }
        owners: dict[int, str] = {}
        for variable, port in wanted.items():
            owner = owners.setdefault(port, variable)
            if owner != variable:
                raise ConfigError(f"{port} is the port of {owner} already; choose another", where=variable)
        return cls(*wanted.values())

    @property
    def prefect_url(self) -> str:
        """The address of Prefect's UI."""
        return f"http://{LOOPBACK}:{self.prefect}"

    @property
    def paper_url(self) -> str:
        """The address of the paper exchange."""
        return f"http://{LOOPBACK}:{self.paper}"

    @property
    def web_url(self) -> str:
        """The address of the desk's page; empty when there is none."""
        return f"http://{LOOPBACK}:{self.web}" if self.web else ""

    def check_free(self) -> None:
        """Raises ConfigError naming the variable of the first port that something else listens on."""
        require_free(self.prefect, PREFECT_PORT_VARIABLE)
        require_free(self.paper, PAPER_PORT_VARIABLE)
        if self.web:
            require_free(self.web, WEB_PORT_VARIABLE)


def read_port(environment: Mapping[str, str], variable: str, default: int) -> int:
    """The port a variable names; raises ConfigError when that is no port number."""
    text = environment.get(variable) or str(default)
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= LAST_PORT):
        raise ConfigError(f"must be a port number from 1 to {LAST_PORT}, not {text!r}", where=variable)
    return int(text)


def require_free(port: int, variable: str, host: str = LOOPBACK) -> None:
    """Raises ConfigError naming the variable when the port cannot be listened on."""
    with socket.socket() as probe:
        # What a server of ours left in TIME_WAIT is free: they listen with the same option.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            reason = (
                "is taken by another program"
                if error.errno == errno.EADDRINUSE
                else f"cannot be used ({error.strerror})"
            )
            raise ConfigError(f"port {port} {reason}; set {variable} to a free one", where=variable) from None
