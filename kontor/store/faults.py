"""Driver errors to ours: what is wrong with the store, where, and what to do about it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, SQLAlchemyError

from kontor.errors import StoreError, StoreUnavailable

NO_SCHEMA = "its tables are missing or old: run `kontor up`, which migrates the store"

SQLITE: dict[int, str] = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space, the desk then goes on by itself",
    sqlite3.SQLITE_READONLY: "it is read-only: give this user write access to the file and its folder",
    sqlite3.SQLITE_BUSY: "another process has kept it locked: end the program that holds a transaction open",
    sqlite3.SQLITE_LOCKED: "another process has kept it locked: end the program that holds a transaction open",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: check that its folder exists and may be written to",
    sqlite3.SQLITE_PERM: "access was refused: give this user write access to the file and its folder",
    sqlite3.SQLITE_IOERR: "reading or writing the disk failed: check the disk and its free space",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: stop the desk and restore a backup",
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database: check the path",
}

# SQLite has one code for every mistake in a statement; ours are all known to be right.
SQLITE_NO_SCHEMA = ("no such table", "no such column", "has no column named")

# By SQLSTATE, or by its class (the first two characters).
POSTGRES: dict[str, str] = {
    "53100": "the server's disk is full: free some space, the desk then goes on by itself",
    "53": "the server is short of resources: raise its limits or close other clients",
    "25006": "the server is read-only: connect to the primary",
    "28": "the server refused the user or password: correct the StateStore block",
    "3D000": "the server has no such database: create it",
    "3F000": NO_SCHEMA,
    "42P01": NO_SCHEMA,
    "42703": NO_SCHEMA,
    "42501": "the user lacks a permission: grant it",
    "08": "the connection broke: check the server and the network",
    "57": "the server is shutting down or starting up: wait for it or start it",
    "55P03": "another session has kept it locked: end the one that holds a transaction open",
    "57014": "a statement took too long and was canceled: look for sessions that hold locks",
}

# A transaction that lost a race on PostgreSQL may simply run again: it then sees what the other one did.
RACES = frozenset({"40001", "40P01"})


def is_locked(error: BaseException) -> bool:
    """Whether SQLite said that somebody else is writing now."""
    code = _sqlite_code(error.orig) if isinstance(error, DBAPIError) else _sqlite_code(error)
    return code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def lost_a_race(error: DBAPIError) -> bool:
    """Whether PostgreSQL gave up this transaction for another's sake."""
    return getattr(error.orig, "sqlstate", None) in RACES


@contextmanager
def translated(place: str, *drivers: type[Exception]) -> Iterator[None]:
    """Turn a driver's errors into StoreUnavailable or StoreError; `place` names the store without secrets.

    `drivers` are the errors that a driver may raise past SQLAlchemy, while it connects for instance.
    """
    try:
        yield
    except DBAPIError as error:
        raise _translate(place, error) from error
    except SQLAlchemyError as error:
        raise StoreError(f"store {place}: {error}") from error
    except sqlite3.Error as error:
        raise _unavailable(place, _sqlite_remedy(error) or str(error)) from error
    except drivers as error:
        raise _unavailable(place, _postgres_remedy(error) or str(error)) from error
    except (OSError, TimeoutError) as error:
        raise _unavailable(
            place, f"it cannot be reached ({error}): check that it is running and the address"
        ) from error


def _translate(place: str, error: DBAPIError) -> StoreError:
    original = error.orig
    remedy = _sqlite_remedy(original) or _postgres_remedy(original)
    if remedy is None and (isinstance(error, InterfaceError) or error.connection_invalidated):
        remedy = POSTGRES["08"]
    if remedy is None:
        return StoreError(f"store {place}: {original}")
    return _unavailable(place, remedy)


def _unavailable(place: str, remedy: str) -> StoreUnavailable:
    return StoreUnavailable(f"store {place}: {remedy}")


def _sqlite_code(error: BaseException | None) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    # The low byte is the kind of error, the rest its variety.
    return None if code is None else code & 0xFF


def _sqlite_remedy(error: BaseException | None) -> str | None:
    code = _sqlite_code(error)
    if code == sqlite3.SQLITE_ERROR and any(words in str(error) for words in SQLITE_NO_SCHEMA):
        return NO_SCHEMA
    return None if code is None else SQLITE.get(code)


def _postgres_remedy(error: BaseException | None) -> str | None:
    state = getattr(error, "sqlstate", None)
    return None if state is None else POSTGRES.get(state) or POSTGRES.get(state[:2])
