"""SQLite tables made from dataclasses: one column a field, decimals as exact text; a field added later is a column
added later.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, fields
from decimal import Decimal
from operator import attrgetter
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_SQL = {"int": "INTEGER", "bool": "INTEGER"}


def _decimal(value: Any) -> Any:
    return None if value is None else Decimal(value)


_DECODERS: dict[str, Callable[[Any], Any]] = {"Decimal": _decimal, "bool": bool}


class Table(Generic[T]):
    """The rows of one dataclass, whose fields are text, integers, booleans and decimals, each perhaps None."""

    def __init__(self, name: str, row: type[T], key: tuple[str, ...]) -> None:
        self.name, self._row, self._key = name, row, key
        self._kinds = {field.name: str(field.type).removesuffix(" | None") for field in fields(row)}  # pyright: ignore[reportArgumentType]
        self._optional = {field.name for field in fields(row) if field.default is not MISSING}  # pyright: ignore[reportArgumentType]
        self._names = list(self._kinds)
        self._values = attrgetter(*self._names)
        self._decimals = [place for place, kind in enumerate(self._kinds.values()) if kind == "Decimal"]
        others = [column for column in self._names if column not in key]
        self._write = (
            f"INSERT INTO {name} ({', '.join(self._names)}) VALUES ({', '.join('?' * len(self._names))}) "  # noqa: S608 names are ours
            f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in others)}"
        )

    def create(self, database: sqlite3.Connection) -> None:
        """Make the table, or add the columns it lacks."""
        columns = [f"{column} {_SQL.get(kind, 'TEXT')}" for column, kind in self._kinds.items()]
        primary = f"PRIMARY KEY ({', '.join(self._key)})"
        database.execute(f"CREATE TABLE IF NOT EXISTS {self.name} ({', '.join(columns)}, {primary}) WITHOUT ROWID")
        present = {row[1] for row in database.execute(f"PRAGMA table_info({self.name})")}
        for column, declaration in zip(self._names, columns, strict=True):
            if column not in present:
                database.execute(f"ALTER TABLE {self.name} ADD COLUMN {declaration}")

    def write(self, database: sqlite3.Connection, rows: Iterable[T]) -> None:
        """Insert or replace rows."""
        encoded = [self._encoded(row) for row in rows]
        if encoded:
            database.executemany(self._write, encoded)

    def _encoded(self, row: T) -> list[Any]:
        values = list(self._values(row))
        for place in self._decimals:
            if values[place] is not None:
                values[place] = str(values[place])
        return values

    def read(self, database: sqlite3.Connection, rest: str = "", parameters: tuple[Any, ...] = ()) -> Iterator[T]:
        """Rows; `rest` is what follows the table's name in the SELECT."""
        for values in database.execute(f"SELECT {', '.join(self._names)} FROM {self.name} {rest}", parameters):  # noqa: S608 names are ours
            given = {
                column: _DECODERS.get(self._kinds[column], _same)(value)
                for column, value in zip(self._names, values, strict=True)
                if value is not None or column not in self._optional
            }
            yield self._row(**given)


def _same(value: Any) -> Any:
    return value
