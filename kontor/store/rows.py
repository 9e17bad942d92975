"""Frozen dataclasses to rows and back, and the upsert: a column bears the name of its field."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Column, ColumnElement, Table, TextClause, bindparam, text

T = TypeVar("T")

# Well below the 32,766 parameters that SQLite and PostgreSQL take in one statement.
MAX_NAMES = 1024


def columns_of(table: Table, kind: type[Any], *, without: Iterable[str] = ()) -> list[Column[Any]]:
    """The table's columns for the fields of a dataclass, in their order: `kind(*row)` builds it again."""
    left_out = set(without)
    return [table.c[field.name] for field in fields(kind) if field.name not in left_out]


def values_of(value: Any, *, without: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of a dataclass by name, one level deep."""
    left_out = set(without)
    return {field.name: getattr(value, field.name) for field in fields(value) if field.name not in left_out}


@functools.cache
def upsert(table: Table, action: str | None = None, *, columns: tuple[str, ...] | None = None) -> TextClause:
    """An INSERT that replaces the row with the same primary key, or does `action` instead.

    As text, because SQLAlchemy compiles its own ON CONFLICT anew each time, at a millisecond of CPU.
    """
    given = tuple(column.name for column in table.c) if columns is None else columns
    keys = tuple(column.name for column in table.primary_key)
    if action is None:
        action = "DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in given if name not in keys)
    target = "" if action == "DO NOTHING" else f"({', '.join(keys)}) "
    statement = text(
        f"INSERT INTO {table.name} ({', '.join(given)}) VALUES ({', '.join(f':{name}' for name in given)}) "  # noqa: S608, names of our own tables
        f"ON CONFLICT {target}{action}"
    )
    return statement.bindparams(*(bindparam(name, type_=table.c[name].type) for name in given))


def one_of(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """`column IN (...)` for a list given at execution under `name`."""
    values: BindParameter[Any] = bindparam(name, expanding=True, type_=column.type)
    return column.in_(values)


def chunks(values: Sequence[T], size: int = MAX_NAMES) -> Iterable[Sequence[T]]:
    """The values in pieces that fit into one statement, the last one said again and again up to a power of two.

    For `IN` alone, where that changes nothing: each length is a statement of its own to the database, and a driver
    keeps more than a hundred of them prepared: a worker's SQLite held 16 MB after three quarters of an hour.
    """
    for start in range(0, len(values), size):
        piece = values[start : start + size]
        missing = min(1 << (len(piece) - 1).bit_length(), size) - len(piece)
        yield [*piece, *[piece[-1]] * missing]
