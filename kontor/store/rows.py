"""Frozen dataclasses to rows and back: a column bears the name of its field."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")

# Below the 32,766 parameters that SQLite and PostgreSQL take in one statement, whatever they stand for.
MAX_NAMES = 5000


def columns_of(table: Table, kind: type[Any], *, without: Iterable[str] = ()) -> list[Column[Any]]:
    """The table's columns for the fields of a dataclass, in their order: `kind(*row)` builds it again."""
    left_out = set(without)
    return [table.c[field.name] for field in fields(kind) if field.name not in left_out]


def values_of(value: Any, *, without: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of a dataclass by name, one level deep."""
    left_out = set(without)
    return {field.name: getattr(value, field.name) for field in fields(value) if field.name not in left_out}


def insert(conn: Connection, table: Table) -> Any:
    """An INSERT that knows `on_conflict_...`: both dialects spell it alike, SQLAlchemy keeps it in two places."""
    return postgresql.insert(table) if conn.dialect.name == "postgresql" else sqlite.insert(table)


def replace_on_conflict(statement: Any) -> Insert:
    """The INSERT as an upsert by primary key: a row that is there takes all the new values."""
    table: Table = statement.table
    keys = [column.name for column in table.primary_key]
    news = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=news)


def chunks(values: Sequence[T], size: int = MAX_NAMES) -> Iterable[Sequence[T]]:
    """The values in pieces that fit into one statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
