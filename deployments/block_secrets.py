"""The secrets of Prefect's blocks, kept under a key that is not in the database they are in.

Prefect, left to itself, makes a key and stores it in the same database. A desk that has worked like that is moved over
at its next start: every block is encrypted anew with the key of the home, and the old key is erased.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from deployments.credentials import new_key, read_key
from deployments.home import Home
from deployments.instance import write_private
from kontor.errors import ConfigError, StoreError

STORED_KEY = "ENCRYPTION_KEY"


@dataclass(frozen=True, slots=True)
class Document:
    """A block as the database has it."""

    id: str
    name: str
    data: str


def settle_key(home: Home) -> str | None:
    """Make sure that the home's key opens every block and that the database holds none; nothing else may use it now.

    Returns a sentence when something had to be done. Raises ConfigError when the key that some block needs is lost.
    """
    key, database = read_key(home), home.prefect_database
    if not database.exists():
        if not key:
            write_private(home.encryption_key_file, f"{new_key()}\n")
        return None
    with _open(database) as connection:
        stored, documents = _stored_key(connection), _documents(connection)
        wanted = key or new_key()
        locked = [each for each in documents if _opened(each, wanted) is None]
        moved = {each: clear for each in locked if stored and (clear := _opened(each, stored)) is not None}
        if lost := [each.name for each in locked if each not in moved]:
            raise _lost(home, lost)
        if not key:
            # On the disk before anything is encrypted with it.
            write_private(home.encryption_key_file, f"{wanted}\n")
        if not stored:
            return None
        _move(connection, wanted, moved)
    return (
        f"block secrets are now encrypted with the key in {home.encryption_key_file}; the one in the database is erased"
    )


def unreadable_blocks(home: Home) -> Sequence[str]:
    """Names of the blocks that the home's key does not open; works beside a running desk."""
    if not home.prefect_database.exists():
        return ()
    key = read_key(home)
    with _open(home.prefect_database) as connection:
        return [each.name for each in _documents(connection) if not key or _opened(each, key) is None]


def read_block(home: Home, type_slug: str, name: str) -> Mapping[str, Any] | None:
    """What a block holds, its secrets in clear, without a server; None when there is none, or the key is not known."""
    if not home.prefect_database.exists():
        return None
    with _open(home.prefect_database) as connection:
        found = [each for each in _documents(connection) if each.name == f"{type_slug}/{name}"]
        keys = [key for key in (read_key(home), _stored_key(connection)) if key]
    clear = (_opened(each, key) for each in found for key in keys)
    return next((json.loads(text) for text in clear if text is not None), None)


def stored_key(database: Path) -> str:
    """The key that Prefect has put into its own database; empty, as it should be, when there is none."""
    with _open(database) as connection:
        return _stored_key(connection)


@contextmanager
def _open(database: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as connection:
            yield connection
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"{database} cannot be read ({error}); 'kontor doctor' says more, 'kontor restore' brings back a backup"
        ) from None


def _stored_key(connection: sqlite3.Connection) -> str:
    if not _has_table(connection, "configuration"):
        return ""
    row = connection.execute("SELECT value FROM configuration WHERE key = ?", (STORED_KEY,)).fetchone()
    return json.loads(row[0])["fernet_key"] if row else ""


def _documents(connection: sqlite3.Connection) -> Sequence[Document]:
    if not _has_table(connection, "block_document"):
        return ()
    # Orion's rows hold JSON text: a string in quotes.
    rows = connection.execute(
        "SELECT d.id, coalesce(t.slug, 'block') || '/' || d.name, d.data FROM block_document d "
        "LEFT JOIN block_type t ON t.id = d.block_type_id WHERE d.data IS NOT NULL"
    )
    return [Document(key, name, json.loads(data)) for key, name, data in rows if data and json.loads(data)]


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchone())


def _opened(document: Document, key: str) -> bytes | None:
    try:
        return Fernet(key).decrypt(document.data)
    except (InvalidToken, TypeError):
        return None


def _move(connection: sqlite3.Connection, key: str, documents: dict[Document, bytes]) -> None:
    """Encrypt anew and erase the stored key, in one transaction, leaving no trace of either in the file."""
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("BEGIN IMMEDIATE")
    for document, clear in documents.items():
        data = json.dumps(Fernet(key).encrypt(clear).decode())
        connection.execute("UPDATE block_document SET data = ? WHERE id = ?", (data, document.id))
    connection.execute("DELETE FROM configuration WHERE key = ?", (STORED_KEY,))
    connection.execute("COMMIT")
    # Older pages rest in the log beside the file until it is emptied.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _lost(home: Home, names: Sequence[str]) -> ConfigError:
    return ConfigError(
        f"the key of this desk's blocks is missing or not the right one: {', '.join(sorted(names))} cannot be read; "
        f"put the right one back (a backup holds it), or move {home.prefect_database} away: runs and blocks are lost "
        "with it, orders are not, and keys are then entered anew in the UI",
        where=str(home.encryption_key_file),
    )
