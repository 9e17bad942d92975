"""SQLite files as a whole: copied while they are written, checked for damage."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from kontor.errors import StoreError

PATIENCE_SECONDS = 30.0


def copy_database(source: Path, target: Path, *, patience: float = PATIENCE_SECONDS) -> None:
    """A consistent copy of a database that others may be writing, in one file of its own.

    One step of SQLite's backup holds one snapshot: nobody has to wait, and nobody's commit begins it anew.
    """
    with _connected(source, patience) as reading, closing(sqlite3.connect(target)) as copy:
        # Python's backup waits for ever for a database that somebody keeps to himself; a first read says so in time.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        reading.backup(copy, pages=-1)
        reading.execute("ROLLBACK")
        # One file, without a log beside it that could be left behind.
        copy.execute("PRAGMA journal_mode = DELETE")
    target.chmod(0o600)


def damage_in(path: Path, *, thorough: bool = False) -> str:
    """What is wrong with a database file, in a few words; empty when nothing is, or there is no file."""
    if not path.exists():
        return ""
    try:
        with _connected(path) as connection:
            check = "integrity_check" if thorough else "quick_check"
            found = [str(row[0]) for row in connection.execute(f"PRAGMA {check}(3)")]
    except StoreError as error:
        return str(error)
    return "" if found == ["ok"] else "; ".join(" ".join(line.split()) for line in found)


def revision(path: Path) -> str:
    """Which migration a database was brought to last; empty when none ever was."""
    with _connected(path) as connection:
        if not _tables(connection, "alembic_version"):
            return ""
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else ""


def row_counts(path: Path, tables: Sequence[str]) -> Mapping[str, int]:
    """How many rows each of the tables has; those that are not there are left out."""
    with _connected(path) as connection:
        there = [name for name in tables if _tables(connection, name)]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in there}  # noqa: S608


def accounts_in(path: Path) -> frozenset[str]:
    """Every account that a state store knows anything of."""
    with _connected(path) as connection:
        owned = [
            name
            for name in _tables(connection)
            if "account" in {row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')}
        ]
        found = (connection.execute(f'SELECT DISTINCT account FROM "{name}"') for name in owned)  # noqa: S608
        return frozenset(str(row[0]) for rows in found for row in rows if row[0])


def _tables(connection: sqlite3.Connection, name: str | None = None) -> Sequence[str]:
    wanted = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = coalesce(?, name)"
    rows = connection.execute(wanted, (name,))
    return [str(row[0]) for row in rows]


@contextmanager
def _connected(path: Path, patience: float = PATIENCE_SECONDS) -> Iterator[sqlite3.Connection]:
    try:
        address = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=patience)) as found:
            yield found
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from None
