"""The machine and what is installed on it: versions, disk, ports, the folder and its files."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from importlib import metadata

from packaging.requirements import Requirement

from deployments.backup import newest_backup
from deployments.credentials import OTHERS
from deployments.doctor.verdict import Verdict, failed, skipped, warning, well
from deployments.findings import lost_store
from deployments.home import Home, Ports
from deployments.sqlite_files import damage_in, revision
from kontor.errors import ConfigError

ENOUGH_BYTES, LITTLE_BYTES = 2_000_000_000, 300_000_000
PYTHON = ((3, 11), (3, 14))
STALE_BACKUP = timedelta(days=8)
REINSTALL = "install what requirements.lock says: make venv, or pip install --require-hashes -r requirements.lock"


def python_version(found: tuple[int, ...] = sys.version_info[:3]) -> Verdict:
    """Whether this Python is one the project is tested on."""
    said = ".".join(str(part) for part in found)
    if not PYTHON[0] <= tuple(found[:2]) < PYTHON[1]:
        return failed("python", f"Python {said}", "use Python 3.11, 3.12 or 3.13, in a virtual environment of its own")
    return well("python", f"Python {said}")


def pins(installed: Callable[[str], str] = metadata.version) -> Verdict:
    """Whether every library is a version that the project works with: others start, and then schedule nothing."""
    wrong: list[str] = []
    wanted = [Requirement(text) for text in metadata.requires("kontor") or []]
    for each in wanted:
        if each.marker is not None and not each.marker.evaluate({"extra": ""}):
            continue
        try:
            found = installed(each.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{each.name} is missing")
            continue
        if not each.specifier.contains(found, prereleases=True):
            wrong.append(f"{each.name} is {found}, not {each.specifier}")
    if wrong:
        return failed("versions", "; ".join(wrong), REINSTALL)
    return well("versions", f"{len(wanted)} requirements met, Prefect {installed('prefect')}, ccxt {installed('ccxt')}")


def folder(home: Home) -> Verdict:
    """Whether the home can be written to, and by its owner alone."""
    if not home.path.is_dir():
        return failed(
            "home", f"{home.path} does not exist", "'kontor up' makes it; or set KONTOR_HOME to your desk's folder"
        )
    probe = home.path / f".doctor-{os.getpid()}"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return failed(
            "home",
            f"{home.path} cannot be written to ({error.strerror})",
            "mount it writable, and give it to this user",
        )
    if home.path.stat().st_mode & OTHERS:
        return warning("home", f"other users may look into {home.path}", f"chmod 700 {home.path}")
    return well("home", str(home.path))


def disk(home: Home, free_bytes: Callable[[Home], int] = lambda home: shutil.disk_usage(home.path).free) -> Verdict:
    """Whether there is room: an executor that cannot record does not send."""
    free = free_bytes(home)
    said = f"{free / 1e9:.1f} GB free"
    if free < LITTLE_BYTES:
        return failed("disk", said, f"make room on the disk of {home.path}; without it nothing can be recorded or sent")
    if free < ENOUGH_BYTES:
        return warning(
            "disk", said, "make room soon: old logs and backups, or history.prefect_runs_days in kontor.yaml"
        )
    return well("disk", said)


def ports_free(ports: Ports, *, is_running: bool) -> Verdict:
    """Whether the next desk can listen; skipped while this one does."""
    if is_running:
        return skipped("ports", "the desk itself listens on them")
    try:
        ports.check_free()
    except ConfigError as error:
        return failed("ports", str(error), "stop the other program, or set the variable named to a free port")
    names = [str(port) for port in (ports.prefect, ports.paper, ports.web) if port]
    return well("ports", f"{', '.join(names)} are free")


def private_files(home: Home) -> Verdict:
    """Whether others can read what opens the desk."""
    files = [home.auth_file, home.encryption_key_file, home.paper_keys_file]
    there = [file for file in files if file.exists()]
    if open_to_others := [file for file in there if file.stat().st_mode & OTHERS]:
        names = ", ".join(file.name for file in open_to_others)
        paths = " ".join(str(file) for file in open_to_others)
        return failed(
            "secret files", f"other users may read {names}", f"chmod 600 {paths}; then replace what they hold"
        )
    return well("secret files", f"{len(there)} files, readable by their owner alone")


def databases(home: Home) -> Sequence[Verdict]:
    """Whether the files are whole, and the store is one that this version knows."""
    from kontor.store.migrations import HEAD

    verdicts = []
    newest = newest_backup(home)
    backup = f"the newest backup is {newest}" if newest else "restore a backup from elsewhere"
    for name, path in (("state store", home.store_file), ("Prefect database", home.prefect_database)):
        if damage := damage_in(path):
            remedy = f"'kontor down', keep the file, 'kontor restore' into a new KONTOR_HOME; {backup}"
            verdicts.append(failed(name, f"{path} is damaged: {damage}", remedy))
        elif name == "state store" and (lost := lost_store(home)):
            verdicts.append(failed(name, lost, f"'kontor restore' into a new KONTOR_HOME; {backup}"))
        elif not path.exists():
            verdicts.append(skipped(name, f"{path} is not there yet"))
        elif name == "state store" and (found := revision(path)) != HEAD:
            newer = found > HEAD
            remedy = (
                "update Kontor, or restore the backup made before" if newer else "'kontor down', then 'kontor upgrade'"
            )
            verdicts.append(failed(name, f"its schema is {found or 'missing'}, this version's is {HEAD}", remedy))
        else:
            verdicts.append(well(name, f"whole, {path.stat().st_size / 1e6:.1f} MB"))
    return verdicts


def backups(home: Home, now: datetime | None = None) -> Verdict:
    """Whether there is a backup that is not older than a week."""
    newest = newest_backup(home)
    if newest is None:
        return warning("backup", f"none in {home.backups}", "'kontor backup', best every night (docs/lifecycle.md)")
    age = (now or datetime.now(UTC)) - datetime.fromtimestamp(newest.stat().st_mtime, UTC)
    if age > STALE_BACKUP:
        return warning(
            "backup", f"the newest is {age.days} days old", "'kontor backup', best every night (docs/lifecycle.md)"
        )
    return well("backup", f"{newest.name}")
