"""The port of time."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time: the wall clock in a desk, a virtual one in a replay."""

    def now(self) -> datetime:
        """The current moment, aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait in this clock's time."""
        ...
