"""The rate budget: a token bucket in which a cancel never waits behind a candle poll."""

import asyncio
from bisect import insort
from dataclasses import dataclass, field
from enum import IntEnum

from kontor.ports import Clock


class Priority(IntEnum):
    """Who goes first; lower goes first."""

    CANCEL = 0
    CREATE = 1
    ACCOUNT = 2
    MARKET_DATA = 3


# The share of a full bucket that each priority leaves for those before it, so that a cancel finds a token at once.
RESERVE = {Priority.CANCEL: 0.0, Priority.CREATE: 0.05, Priority.ACCOUNT: 0.15, Priority.MARKET_DATA: 0.25}

# Shorter waits are rounding errors: slept again and again, they would never move the clock.
NEGLIGIBLE = 1e-9


@dataclass(slots=True, order=True)
class _Waiter:
    priority: Priority
    number: int
    cost: float = field(compare=False)
    woken: asyncio.Event = field(compare=False, default_factory=asyncio.Event)


class RateBudget:
    """Tokens that come back at `per_second`, at most `burst` of them; waiters are served by priority, then in order.

    A waiter that is canceled has taken nothing. A cost above the bucket's size is granted when the bucket is as full
    as that priority may use it, and paid off afterwards.
    """

    def __init__(self, per_second: float, burst: float, clock: Clock) -> None:
        if per_second <= 0 or burst <= 0:
            raise ValueError(f"a budget of {per_second} tokens a second and a burst of {burst} grants nothing")
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._at = clock.monotonic()
        self._paused_until = self._at
        self._waiters: list[_Waiter] = []
        self._numbers = 0

    @property
    def tokens(self) -> float:
        """What is in the bucket now; negative while a large cost is paid off."""
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        return self._tokens

    @property
    def left(self) -> float:
        """What is in the bucket now, as a share of a full one."""
        return self.tokens / self._burst

    @property
    def per_second(self) -> float:
        """How many tokens come back within a second."""
        return self._per_second

    @property
    def burst(self) -> float:
        """What a full bucket holds."""
        return self._burst

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return len(self._waiters)

    def pause(self, seconds: float) -> None:
        """Grant nothing for `seconds`: the other side asked for it. A longer pause already running stays."""
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)

    async def acquire(self, priority: Priority, cost: float = 1.0) -> None:
        """Take `cost` tokens, waiting until they are there and nobody more urgent wants them."""
        self._numbers += 1
        waiter = _Waiter(priority, self._numbers, cost)
        if (not self._waiters or waiter < self._waiters[0]) and self._seconds_until(waiter) <= 0:
            self._tokens -= cost
            return
        insort(self._waiters, waiter)
        try:
            await self._wait(waiter)
        finally:
            self._waiters.remove(waiter)
            if self._waiters:
                self._waiters[0].woken.set()

    async def _wait(self, waiter: _Waiter) -> None:
        while True:
            if self._waiters[0] is not waiter:
                waiter.woken.clear()
                await waiter.woken.wait()
            elif (seconds := self._seconds_until(waiter)) > 0:
                # Somebody more urgent may come meanwhile: who is first is asked again afterwards.
                await self._clock.sleep(seconds)
            else:
                self._tokens -= waiter.cost
                return

    def _seconds_until(self, waiter: _Waiter) -> float:
        reserve = RESERVE[waiter.priority] * self._burst
        missing = min(waiter.cost, self._burst - reserve) + reserve - self.tokens
        pause = self._paused_until - self._at
        seconds = max(missing / self._per_second, pause)
        return seconds if seconds > NEGLIGIBLE else 0.0
