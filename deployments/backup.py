"""A desk in a folder: its databases as they were at one moment, what opens them, and a list that proves them whole."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from deployments.home import Home
from deployments.instance import write_private
from deployments.sqlite_files import copy_database, damage_in, revision, row_counts
from kontor.errors import KontorError, StoreError

Say = Callable[[str], None]

FORMAT = 1
MANIFEST = "backup.json"
# What must never get fewer: the history of the money.
COUNTED = ("orders", "order_events", "fills", "outside_moves", "ledger_entries")
PREFIX = "kontor-"
PAPER = "paper.sqlite3"


class Entry(BaseModel):
    """One file of a backup."""

    model_config = ConfigDict(frozen=True)

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """The file as it is now."""
        with path.open("rb") as file:
            return cls(bytes=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


class Manifest(BaseModel):
    """What a backup holds; written last, so that a backup without one is none."""

    format: int = FORMAT
    made_at: datetime
    kontor: str
    prefect: str
    files: Mapping[str, Entry]
    revisions: Mapping[str, str]
    counts: Mapping[str, int]
    # The store's own backup is elsewhere: it is in PostgreSQL.
    without_store: bool = False


def databases(home: Home) -> Mapping[str, Path]:
    """The databases of a home by their name in a backup, in the order they are copied.

    Runs first and orders after them, so that no run in the backup knows of an order that the backup lacks; the paper
    exchange last, which like any exchange is ahead of our books.
    """
    return {"prefect.db": home.prefect_database, "kontor.db": home.store_file, PAPER: home.paper_database}


def secrets(home: Home) -> Mapping[str, Path]:
    """What opens the server, the blocks and the paper exchange."""
    return {file.name: file for file in (home.auth_file, home.encryption_key_file, home.paper_keys_file)}


def make_backup(
    home: Home,
    folder: Path,
    say: Say,
    *,
    with_secrets: bool = True,
    with_store: bool = True,
    now: datetime | None = None,
) -> Path:
    """Copy a home into a new folder below `folder`, whether its desk runs or not; returns it.

    Raises KontorError when there is nothing to copy, when a copy is damaged, or when the folder cannot be written.
    """
    moment = now or datetime.now(UTC)
    wanted = {name: path for name, path in databases(home).items() if with_store or name != "kontor.db"}
    found = {name: path for name, path in wanted.items() if path.exists()}
    if "prefect.db" not in found or (with_store and "kontor.db" not in found):
        raise KontorError(f"no desk has ever run on {home.path}: there is nothing to back up")
    target = folder / f"{PREFIX}{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z"
    draft = target.with_name(f".{target.name}.partial")
    try:
        _make_folder(draft, target)
        for name, path in found.items():
            if name == PAPER and not _copy_paper(path, draft / name):
                say(f"{name}: left out, the paper exchange is using it; its books are no more ours than any exchange's")
                continue
            if name != PAPER:
                copy_database(path, draft / name)
            if damage := damage_in(draft / name, thorough=True):
                raise KontorError(f"{path} is damaged, and so would be its backup: {damage}; restore an older one")
            say(f"{name}: {(draft / name).stat().st_size / 1e6:.1f} MB")
        for name, path in secrets(home).items() if with_secrets else ():
            if path.exists():
                write_private(draft / name, path.read_text(encoding="utf-8"))
        manifest = _describe(draft, moment, without_store=not with_store)
        write_private(draft / MANIFEST, manifest.model_dump_json(indent=1))
        draft.rename(target)
    except OSError as error:
        raise KontorError(f"no backup in {folder}: {error.strerror}; name a folder with enough room") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def read_backup(folder: Path) -> Manifest:
    """The manifest of a backup whose files are all there and as they were; raises KontorError for anything else."""
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise KontorError(f"{folder} is no backup: it has no {MANIFEST}") from None
    except (ValidationError, OSError):
        raise KontorError(f"{folder / MANIFEST} cannot be read; use another backup") from None
    if manifest.format > FORMAT:
        raise KontorError(f"{folder} was made by a newer Kontor, {manifest.kontor}; update this one")
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file() or Entry.of(path) != entry:
            raise KontorError(f"{path} is missing or not as it was when the backup was made; use another backup")
    return manifest


def newest_backup(home: Home) -> Path | None:
    """The newest backup where `kontor backup` puts them by itself."""
    found = sorted(home.backups.glob(f"{PREFIX}*/{MANIFEST}"))
    return found[-1].parent if found else None


def prune_backups(folder: Path, keep: int) -> Sequence[Path]:
    """Remove all but the newest `keep` backups in a folder; returns those that went."""
    old = sorted(folder.glob(f"{PREFIX}*/{MANIFEST}"))[:-keep]
    for manifest in old:
        shutil.rmtree(manifest.parent)
    return [manifest.parent for manifest in old]


def _copy_paper(source: Path, target: Path) -> bool:
    """Copy the paper exchange's books; False while it runs, because it keeps them to itself."""
    try:
        copy_database(source, target, patience=0.2)
    except StoreError:
        target.unlink(missing_ok=True)
        return False
    return True


def _make_folder(draft: Path, target: Path) -> None:
    if target.exists():
        raise KontorError(f"{target} is there already; another backup is being made")
    shutil.rmtree(draft, ignore_errors=True)
    draft.parent.mkdir(parents=True, exist_ok=True)
    os.mkdir(draft, 0o700)  # noqa: PTH102 - private from its first moment, whatever the umask


def _describe(folder: Path, moment: datetime, *, without_store: bool) -> Manifest:
    files = sorted(folder.iterdir())
    kept = [file for file in files if file.suffix in {".db", ".sqlite3"}]
    store = folder / "kontor.db"
    return Manifest(
        made_at=moment,
        kontor=version("kontor"),
        prefect=version("prefect"),
        files={file.name: Entry.of(file) for file in files},
        revisions={file.name: found for file in kept if (found := revision(file))},
        counts=row_counts(store, COUNTED) if store.exists() else {},
        without_store=without_store,
    )
