"""`kontor backup`, `restore`, `upgrade` and `systemd`."""

from __future__ import annotations

import asyncio
import getpass
import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.progress import console
from deployments.home import DeskRunning, Home
from deployments.instance import DeskRecord, leftovers
from deployments.project import Project
from kontor.errors import KontorError


def backup(
    folder: Path | None = None,
    *,
    keep: int | None = None,
    without_secrets: Annotated[bool, Parameter(negative="")] = False,
    without_store: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Copy the desk into a folder of its own, whether it runs or not, and check the copy.

    Parameters
    ----------
    folder
        Where backups are kept. Default: KONTOR_HOME/backups.
    keep
        Remove all but this many backups there afterwards.
    without_secrets
        Leave out what opens the server and the blocks; who has the backup then has no keys. Keep the file
        encryption-key elsewhere, a restored desk needs it.
    without_store
        Leave out the state store, because it is in PostgreSQL and pg_dump saves it.

    """
    from deployments.backup import make_backup, prune_backups

    if keep is not None and keep < 1:
        raise KontorError("--keep must be at least 1: the backup just made stays")
    home = Home.from_environment()
    if not without_store:
        _require_embedded_store(home, "kontor backup --without-store saves the rest")
    place = folder.expanduser().absolute() if folder else home.backups
    made = make_backup(home, place, console.print, with_secrets=not without_secrets, with_store=not without_store)
    console.print(f"backed up to {made}")
    if without_secrets:
        console.print(f"not in it: {home.encryption_key_file.name}; a restored desk cannot read its blocks without it")
    for gone in prune_backups(place, keep) if keep else ():
        console.print(f"removed {gone}")


def restore(backup: Path) -> None:
    """Make a new home of a backup; trading is halted on every account until a person resumes it.

    Parameters
    ----------
    backup
        The folder that `kontor backup` made. KONTOR_HOME names the new home.

    """
    from deployments.restore import restore as make_home

    home = Home.from_environment()
    home.make()
    try:
        with home.locked():
            asyncio.run(make_home(home, backup.expanduser().absolute(), console.print))
    except DeskRunning:
        raise KontorError(f"a desk is running on {home.path}: restore into a home of its own") from None
    console.print(
        "never let the old desk and this one run at the same time; 'kontor up', look at orders and positions, then run "
        "the flow resume-trading"
    )


def upgrade() -> None:
    """Bring the databases of a desk that is down to this version: backed up, migrated, verified, or put back."""
    from deployments.upgrade import upgrade as bring_up_to_date

    home = Home.from_environment()
    if not home.store_file.exists():
        raise KontorError(f"no desk has ever run on {home.path}; 'kontor up' starts one, with the newest databases")
    _require_embedded_store(home, "'kontor up' migrates it, in one transaction: save it before")
    try:
        with home.locked():
            if leftovers(DeskRecord.load(home)):
                raise KontorError("processes of an earlier desk are left: 'kontor down' ends them")
            changed = asyncio.run(bring_up_to_date(home, console.print))
    except DeskRunning:
        raise KontorError("the desk is running: 'kontor down', then 'kontor upgrade', then 'kontor up'") from None
    console.print("upgraded; 'kontor up' starts the desk" if changed else "nothing to do: the databases are up to date")


def systemd(*, user: str | None = None) -> None:
    """Print a systemd unit for this home and project: kontor systemd | sudo tee /etc/systemd/system/kontor.service.

    Parameters
    ----------
    user
        Who the desk runs as. Default: you.

    """
    from deployments.systemd import systemd_version, unit

    told = {name: value for name, value in os.environ.items() if name.startswith("KONTOR_") and name != "KONTOR_HOME"}
    text = unit(Home.from_environment(), Project.find(), user or getpass.getuser(), told, systemd_version())
    print(text, end="")  # noqa: T201 - for a file


def _require_embedded_store(home: Home, hint: str) -> None:
    from deployments.stores import known_store_url

    url = known_store_url(home)
    if url.startswith("postgres"):
        raise KontorError(
            "the state store of this desk is in PostgreSQL, which saves it best: pg_dump --format=custom "
            f"--file=kontor.dump (and pg_restore to bring it back); {hint}"
        )
    if url != home.default_store_url:
        # The file in the home, if there is one, is an old store: a copy of it would look like a backup of the orders.
        raise KontorError(
            f"the state store of this desk is not in {home.path} but at {url}: copy it with "
            f"sqlite3 FILE '.backup COPY'; {hint}"
        )
