"""The connection budget: how many connections may be opened within a window, whoever wants them.

A sliding window, not a bucket that refills: venues ban for the count within their window (Kraken: about 150 in 10
minutes), and a full bucket plus its refill would be twice that.
"""

import asyncio
from collections import deque

from kontor.ports import Clock

CONNECTIONS, WINDOW_SECONDS = 150, 600.0
# One in so many is kept for the end of an outage.
SPARED = 15
# The sockets of a stream beside the one that tries for all.
OTHERS = 2


class ConnectionBudget:
    """At most `limit` connections within any `seconds`; waiters are served in the order they came."""

    def __init__(self, *, clock: Clock, limit: int = CONNECTIONS, seconds: float = WINDOW_SECONDS) -> None:
        if limit < 1 or seconds <= 0:
            raise ValueError(f"{limit} connections in {seconds} s allow none")
        self._clock, self.limit, self.seconds = clock, limit, seconds
        self._opened: deque[float] = deque()
        self._turn = asyncio.Lock()

    @property
    def left(self) -> int:
        """How many could be opened now."""
        self._forget()
        return self.limit - len(self._opened)

    @property
    def seconds_until_free(self) -> float:
        """How long until one may be opened; 0 when there is one left."""
        return 0.0 if self.left > 0 else self._opened[0] + self.seconds - self._clock.monotonic()

    @property
    def seconds_until_probe(self) -> float:
        """How long to wait before a try that will probably fail; 0 while there are plenty.

        The last ones are spread over the time until more is to be had: an outage that outlasts the budget must not be
        followed by minutes of blindness, and whoever gets through leaves some for the other sockets.
        """
        left = self.left
        if left == 0 or left > self.limit // SPARED:
            return 0.0
        newest, more_at = self._opened[-1], self._opened[0] + self.seconds
        due = newest + (more_at - newest) / max(left - OTHERS + 1, 1)
        return max(due - self._clock.monotonic(), 0.0)

    def seconds_until_more_than(self, reserve: int) -> float:
        """How long until more than `reserve` are left; 0 when there are."""
        missing = reserve + 1 - self.left
        if missing <= 0:
            return 0.0
        return max(self._opened[min(missing, len(self._opened)) - 1] + self.seconds - self._clock.monotonic(), 0.0)

    async def acquire(self) -> None:
        """Take one, waiting until there is one; a waiter that is canceled has taken nothing."""
        async with self._turn:
            while (wait := self.seconds_until_free) > 0:
                await self._clock.sleep(wait)
            self._opened.append(self._clock.monotonic())

    def give_back(self) -> None:
        """Return the newest one: it never reached the other side."""
        if self._opened:
            self._opened.pop()

    def _forget(self) -> None:
        now = self._clock.monotonic()
        # The same sum as in `seconds_until_free`: rounded otherwise, a place could seem free that is not.
        while self._opened and self._opened[0] + self.seconds <= now:
            self._opened.popleft()
