"""What may be done with the value of a named attribute: pure, the same for every adapter."""

from typing import Any

from kontor.domain.snapshot import Snapshot
from kontor.errors import StoreError


def merged(name: str, stored: Snapshot[Any] | None, value: Any) -> Any:
    """The stored object with the keys of `value`; raises StoreError unless both are objects."""
    if not isinstance(value, dict) or not (stored is None or isinstance(stored.value, dict)):
        raise StoreError(f"attribute {name}: only an object can be merged into an object: set it without merge")
    return {**(stored.value if stored else {}), **value}


def added(name: str, stored: Snapshot[Any] | None) -> int:
    """The stored counter plus one; raises StoreError when it is no counter."""
    value = 0 if stored is None else stored.value
    if not isinstance(value, int) or isinstance(value, bool):
        raise StoreError(f"attribute {name}: {value!r} is no counter, so one cannot be added to it")
    return value + 1
