"""Column types: how money, moments, durations, words and JSON lie in a database."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar

import orjson
from sqlalchemy import BigInteger, Dialect, Numeric, Text, TypeDecorator
from sqlalchemy.types import TypeEngine

from kontor.errors import StoreError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

E = TypeVar("E", bound=StrEnum)


def plain(value: Decimal) -> str:
    """The one way to write a number: no exponent and no trailing zeros, so that equal numbers are equal texts."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


class Money(TypeDecorator[Decimal]):
    """A Decimal kept to its last digit: SQLite has no such type, so it is text there, and NUMERIC on PostgreSQL."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """NUMERIC where the database has it."""
        return dialect.type_descriptor(Numeric() if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """The stored form; a float or an infinite number is a mistake of the caller."""
        if value is None:
            return None
        if not isinstance(value, Decimal) or not value.is_finite():
            raise StoreError(f"{value!r} is no finite Decimal: money is converted where it enters the desk")
        return value if dialect.name == "postgresql" else plain(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """A Decimal again."""
        return value if value is None or dialect.name == "postgresql" else Decimal(value)


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime as integer microseconds: exact, short, and sorted as it should be."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002, SQLAlchemy's signature
        """Microseconds since 1970."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise StoreError(f"{value!r} has no time zone: moments are aware UTC")
        return (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002, SQLAlchemy's signature
        """The moment, in UTC."""
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Duration(TypeDecorator[timedelta]):
    """A timedelta as integer microseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: timedelta | None, dialect: Dialect) -> int | None:  # noqa: ARG002, SQLAlchemy's signature
        """Microseconds."""
        return None if value is None else value // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> timedelta | None:  # noqa: ARG002, SQLAlchemy's signature
        """A timedelta again."""
        return None if value is None else timedelta(microseconds=value)


class Word(TypeDecorator[E], Generic[E]):
    """A member of a StrEnum, stored as its word."""

    impl = Text
    cache_ok = True

    def __init__(self, words: type[E]) -> None:
        super().__init__()
        self.words = words
        self._members = {word.value: word for word in words}

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:  # noqa: ARG002, SQLAlchemy's signature
        """Its word."""
        return None if value is None else value.value

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:  # noqa: ARG002, SQLAlchemy's signature
        """The member again."""
        return None if value is None else self._members[value]


class Json(TypeDecorator[Any]):
    """A JSON value as text, keys in their own order."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:  # noqa: ARG002, SQLAlchemy's signature
        """The text; null is a value too."""
        return to_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002, SQLAlchemy's signature
        """The value again."""
        return None if value is None else orjson.loads(value)


def to_json(value: Any) -> str:
    """JSON text of a value; raises StoreError for what JSON cannot say."""
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise StoreError(f"this value cannot be stored as JSON ({error}): turn it into text or numbers first") from None
