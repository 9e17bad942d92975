"""Results as JSON: what a callable or an exchange returned, in the form an attribute has."""

import dataclasses
import json
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np

from kontor.errors import StoreError

# An attribute is one row, written whole each time.
MOST_BYTES = 4 * 1024 * 1024


def jsonable(value: Any) -> Any:
    """The value in JSON's types: money as numbers, moments as ISO 8601, durations in seconds; raises StoreError."""
    if isinstance(value, Enum):
        return jsonable(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return jsonable(value.tolist())
    return _number_or_moment(value) if isinstance(value, float | Decimal | datetime | timedelta) else _container(value)


def bounded(name: str, value: Any) -> Any:
    """The value as JSON, small enough for one row; raises StoreError with the remedy when it is not."""
    found = jsonable(value)
    size = len(json.dumps(found))
    if size > MOST_BYTES:
        raise StoreError(
            f"{name}: a result of {size / 1024**2:.1f} MiB is more than the {MOST_BYTES // 1024**2} MiB that one name "
            "holds; ask for fewer symbols or set a limit"
        )
    return found


def _number_or_moment(value: float | Decimal | datetime | timedelta) -> float | str | None:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return float(value) if math.isfinite(value) else None


def _container(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: jsonable(getattr(value, each.name)) for each in dataclasses.fields(value) if each.repr}
    if isinstance(value, Mapping):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [jsonable(inner) for inner in value]
    raise StoreError(f"a {type(value).__name__} cannot be stored; return numbers, texts, lists and objects")
