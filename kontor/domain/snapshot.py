"""A value together with the moment it was true."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[T]):
    """What was known, and when."""

    value: T
    at: datetime

    def age(self, now: datetime) -> timedelta:
        """How old the value is; never negative."""
        return max(now - self.at, timedelta(0))
