"""A desk from a backup, in a new home: it looks before it trades."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from deployments.backup import MANIFEST, Manifest, Say, databases, read_backup, secrets
from deployments.home import Home
from deployments.sqlite_files import accounts_in, damage_in
from deployments.stores import opened
from kontor.errors import KontorError
from kontor.execution.halt import halt
from kontor.resilience.clock import SystemClock

ACTOR = "kontor restore"


async def restore(home: Home, backup: Path, say: Say) -> Manifest:
    """Make a home of a backup, with trading halted on every account; the home's lock is held by the caller.

    Raises KontorError when the backup is not whole or the home is in use, and then leaves the home as it was.
    """
    manifest = read_backup(backup)
    _require_empty(home)
    places = {**databases(home), **secrets(home)}
    unknown = sorted(set(manifest.files) - set(places))
    if unknown:
        raise KontorError(f"{backup} holds {unknown[0]}, which this Kontor does not know; update it")
    copied: list[Path] = []
    try:
        for name in manifest.files:
            copied.append(places[name])
            _copy(backup / name, places[name])
            damage = damage_in(places[name], thorough=True) if name in databases(home) else ""
            if damage:
                raise KontorError(f"{backup / name} is damaged: {damage}; use another backup")
        halted = await _halt(home, manifest)
    except BaseException:
        for path in copied:
            path.unlink(missing_ok=True)
        raise
    say(f"restored what was backed up at {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC into {home.path}")
    say(f"trading is halted on {', '.join(halted) or 'no account: there is none yet'}")
    return manifest


async def _halt(home: Home, manifest: Manifest) -> list[str]:
    """Nothing new goes out before a person has seen what happened since the backup."""
    if not home.store_file.exists():
        return []
    accounts = sorted(accounts_in(home.store_file))
    reason = (
        f"restored from a backup of {manifest.made_at:%Y-%m-%d %H:%M} UTC: compare orders and positions with the "
        "exchange, then run resume-trading"
    )
    now = SystemClock().now()
    async with opened(home.default_store_url) as store:
        await store.migrate()
        for account in accounts:
            await halt(store.desk, account, reason, actor=ACTOR, at=now)
    return accounts


def _require_empty(home: Home) -> None:
    there = [path for path in databases(home).values() if path.exists()]
    if there:
        raise KontorError(
            f"{there[0]} is there already; a backup is restored into a new home: set KONTOR_HOME to a folder that does "
            "not exist yet"
        )


def _copy(source: Path, target: Path) -> None:
    """A private copy that is on the disk when this returns."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file, source.open("rb") as saved:
        shutil.copyfileobj(saved, file)
        file.flush()
        os.fsync(file.fileno())


def remedy(newest: Path | None) -> str:
    """What to do about a damaged database."""
    if newest is None:
        return (
            "there is no backup in this home: restore one from elsewhere into a new KONTOR_HOME with 'kontor restore'"
        )
    return f"restore the newest backup into a new home: KONTOR_HOME=new-folder kontor restore {newest} (see {MANIFEST})"
