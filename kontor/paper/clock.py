"""The venue's time: integer milliseconds that never go backwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class VenueClock(Protocol):
    """What the venue asks of a clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970, never fewer than the last time."""
        ...

    def resume_at(self, at_ms: int) -> None:
        """Go on from `at_ms` if the clock is behind it: a restarted venue must not live through a moment twice."""
        ...


class PaperClock:
    """Wall time, or a clock that runs `factor` times as fast from `start_ms` (default: now)."""

    def __init__(self, factor: float = 1.0, start_ms: int | None = None, wall: Callable[[], float] = time.time) -> None:
        if factor <= 0:
            raise ValueError(f"clock factor {factor}: must be above 0")
        self.factor = factor
        self._wall = wall
        self._wall_origin = wall()
        self._origin_ms = self._wall_origin * 1000 if start_ms is None else float(start_ms)
        self._latest = 0

    def now_ms(self) -> int:
        """Venue time; a wall clock that is set back makes it stand still."""
        self._latest = max(self._latest, int(self._running()))
        return self._latest

    def _running(self) -> float:
        return self._origin_ms + (self._wall() - self._wall_origin) * 1000 * self.factor

    def resume_at(self, at_ms: int) -> None:
        """Shift the origin so that time continues at `at_ms`, unless it is past that already."""
        self._origin_ms += max(0.0, at_ms - self._running())


class ManualClock:
    """A clock that moves only when told to: for tests and for simulated time."""

    def __init__(self, start_ms: int) -> None:
        self._now = start_ms

    def now_ms(self) -> int:
        """The moment it was last moved to."""
        return self._now

    def resume_at(self, at_ms: int) -> None:
        """Move to `at_ms` unless it is past that already."""
        self._now = max(self._now, at_ms)

    def advance(self, seconds: float) -> int:
        """Move on and return the new moment."""
        if seconds < 0:
            raise ValueError(f"a venue's clock cannot go back by {-seconds} s")
        self._now += round(seconds * 1000)
        return self._now
