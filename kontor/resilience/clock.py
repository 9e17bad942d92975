"""Time as an argument: the wall clock of a desk, and a virtual one that tests and replays move by hand."""

import asyncio
import heapq
import time
from datetime import UTC, datetime, timedelta

# A woken task may hand on to others before it sleeps again; each hand-over takes one turn of the loop.
TURNS = 20


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The current moment, aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait in real time."""
        await asyncio.sleep(seconds)


class VirtualClock:
    """A clock that stands still until `advance` moves it; sleepers wake in the order of their moments."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        """The current moment, aware UTC."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed

    @property
    def next_wake(self) -> float | None:
        """The monotonic moment of the earliest sleeper, None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._elapsed + seconds, self._count, waiter))
        await waiter

    async def advance(self, seconds: float) -> None:
        """Move time on, letting everyone who wakes on the way run before the next one wakes."""
        target = self._elapsed + seconds
        await self._settle()
        while (wake := self.next_wake) is not None and wake <= target:
            self._elapsed = max(self._elapsed, wake)
            _, _, waiter = heapq.heappop(self._sleepers)
            waiter.set_result(None)
            await self._settle()
        self._elapsed = target
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)
