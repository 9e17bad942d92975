"""Numbers at the edge: venue payloads in, Decimal and aware moments out."""

import math
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

ZERO = Decimal(0)


def decimal(value: Any) -> Decimal | None:
    """An exact Decimal of a venue's number; None for null, empty, NaN and what is no number.

    A float becomes the shortest decimal that reads back as the same float, which is what the venue wrote.
    """
    if value is None or value == "" or isinstance(value, bool):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    try:
        found = Decimal(repr(value) if isinstance(value, float) else str(value))
    except InvalidOperation:
        return None
    return plain(found) if found.is_finite() else None


def plain(value: Decimal) -> Decimal:
    """The same number without trailing zeros and without an exponent where none is needed."""
    return value.normalize() + ZERO


def positive(value: Any) -> Decimal | None:
    """A Decimal above zero, else None: venues write 0 where they mean "none"."""
    found = decimal(value)
    return found if found is not None and found > 0 else None


def moment(value: Any) -> datetime | None:
    """An aware UTC moment of epoch milliseconds; None when there is none."""
    found = decimal(value)
    return datetime.fromtimestamp(float(found) / 1000, UTC) if found else None
