"""From one version's databases to the next one's: backed up, migrated, verified, and put back when that fails."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deployments.backup import COUNTED, Say, databases, make_backup
from deployments.block_secrets import settle_key
from deployments.home import Home, Ports
from deployments.lineup import without_shells_prefect
from deployments.server_settings import server_environment
from deployments.sqlite_files import damage_in, revision, row_counts
from deployments.stores import opened
from kontor.errors import KontorError

PREFECT_LIMIT = 600.0


class UpgradeFailed(KontorError):
    """The databases could not be brought up to date; they are as they were before."""


async def upgrade(home: Home, say: Say) -> bool:
    """Bring a home's databases to this version; True when something had to be done.

    The home's lock is held by the caller, so that no desk works on it. Raises UpgradeFailed when a step failed, once
    the databases are back as they were.
    """
    before = _revisions(home)
    say(f"before: {_say_revisions(before)}")
    kept = make_backup(home, home.backups, lambda _: None)
    say(f"backed up to {kept}")
    counts = row_counts(home.store_file, COUNTED)
    try:
        if done := settle_key(home):
            say(done)
        await _migrate_store(home)
        await _migrate_prefect(home)
        _verify(home, counts)
    except BaseException as error:
        _put_back(home, kept)
        if not isinstance(error, Exception):
            raise
        raise UpgradeFailed(f"{error}; the databases are as they were before, and {kept} has them too") from error
    after = _revisions(home)
    say(f"after: {_say_revisions(after)}; orders, their history and fills are all there")
    return before != after


async def _migrate_store(home: Home) -> None:
    async with opened(home.default_store_url) as store:
        await store.migrate()


async def _migrate_prefect(home: Home) -> None:
    """Prefect's own command, with the settings of the desk's server."""
    environment = without_shells_prefect() | server_environment(home.path, Ports().prefect)
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "prefect", "--no-prompt", "server", "database", "upgrade", "--yes"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PREFECT_LIMIT):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
        raise KontorError(f"Prefect's database was not migrated: {said[-1] if said else 'it did not say why'}")


def _verify(home: Home, counts: Mapping[str, int]) -> None:
    """Raises KontorError when a database is damaged, or history has become shorter."""
    for name, path in databases(home).items():
        if damage := damage_in(path, thorough=True):
            raise KontorError(f"{name} is damaged after the migration: {damage}")
    for table, count in row_counts(home.store_file, COUNTED).items():
        if count < counts.get(table, 0):
            raise KontorError(f"{table} had {counts[table]} rows and has {count} after the migration")


def _put_back(home: Home, backup: Path) -> None:
    for name, path in databases(home).items():
        if (backup / name).exists():
            for beside in _companions(path):
                beside.unlink(missing_ok=True)
            draft = path.with_name(f".{path.name}.back")
            shutil.copy2(backup / name, draft)
            draft.replace(path)
    if not (backup / home.encryption_key_file.name).exists():
        # It was made for blocks that are now under the old key again.
        home.encryption_key_file.unlink(missing_ok=True)


def _companions(path: Path) -> Sequence[Path]:
    return [path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm", "-journal")]


def _revisions(home: Home) -> Mapping[str, str]:
    return {name: found for name, path in databases(home).items() if path.exists() and (found := revision(path))}


def _say_revisions(revisions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} at {found}" for name, found in revisions.items()) or "nothing migrated yet"
