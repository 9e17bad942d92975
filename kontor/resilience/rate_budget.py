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
    # Prices are asked for before candles that have just ended, and those before long series of them.
    CANDLES = 4
    HISTORY = 5


# The share of a full bucket that each priority leaves for those before it, so that a cancel finds a token at once.
RESERVE = {
    Priority.CANCEL: 0.0,
    Priority.CREATE: 0.05,
    Priority.ACCOUNT: 0.15,
    Priority.MARKET_DATA: 0.25,
    Priority.CANDLES: 0.3,
    Priority.HISTORY: 0.35,
}

# Shorter waits are rounding errors: slept again and again, they would never move the clock.
NEGLIGIBLE = 1e-9
# A longer wait is looked at again meanwhile: the share of this budget may have grown.
LONGEST_SLEEP = 0.25
FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Share:
    """What part of a limit one of several budgets may spend: of the rate, and of a full bucket."""

    rate: float = 1.0
    burst: float = 1.0


@dataclass(frozen=True, slots=True)
class Spending:
    """What was spent in some time, and whether anybody had to wait: for orders and account, and for market data."""

    urgent: float
    data: float
    urgent_waited: bool
    data_waited: bool


@dataclass(slots=True, order=True)
class _Waiter:
    priority: Priority
    number: int
    cost: float = field(compare=False)
    woken: asyncio.Event = field(compare=False, default_factory=asyncio.Event)


class RateBudget:
    """Tokens that come back at `per_second`, at most `burst` of them; waiters are served by priority, then in order.

    A waiter that is canceled has taken nothing. A cost above the bucket's size is granted when the bucket is as full
    as that priority may use it, and paid off afterwards. Where several processes spend one limit, each may spend its
    share: see `grant`.
    """

    def __init__(self, per_second: float, burst: float, clock: Clock) -> None:
        self._clock = clock
        self._share, self._floor, self._granted_until = Share(), 1.0, FOREVER
        self.set_limit(per_second, burst)
        self._tokens = burst
        self._at = clock.monotonic()
        self._paused_until = self._at
        self._waiters: list[_Waiter] = []
        self._numbers = 0
        # By "is for market data".
        self._spent, self._had_to_wait = [0.0, 0.0], [False, False]

    def set_limit(self, per_second: float, burst: float) -> None:
        """What the other side allows, to all who share it together; what is in the bucket stays."""
        if per_second <= 0 or burst <= 0:
            raise ValueError(f"a budget of {per_second} tokens a second and a burst of {burst} grants nothing")
        self._limit, self._limit_burst = per_second, burst

    @property
    def share(self) -> Share:
        """The part of the limit that may be spent here now."""
        self._settle()
        return self._share

    def grant(self, share: Share, *, seconds: float = FOREVER, floor: float = 0.0) -> None:
        """Spend at most `share` of the limit from now on; after `seconds` without a new grant, `floor` of its rate.

        A smaller bucket spills over, a larger one is no fuller than before.
        """
        self._settle()
        self._share, self._floor = share, floor
        self._granted_until = self._at + seconds
        self._tokens = min(self._tokens, self.burst)

    def fill(self) -> None:
        """Fill the bucket: nobody has spent anything of this limit lately."""
        self._settle()
        self._tokens = self.burst

    @property
    def tokens(self) -> float:
        """What is in the bucket now; negative while a large cost is paid off."""
        self._settle()
        return self._tokens

    @property
    def left(self) -> float:
        """What is in the bucket now, as a share of a full one."""
        burst = self.burst
        return self.tokens / burst if burst else 0.0

    @property
    def limit(self) -> float:
        """How many tokens come back within a second to all who share them."""
        return self._limit

    @property
    def per_second(self) -> float:
        """How many tokens come back within a second."""
        return self._limit * self._share.rate

    @property
    def burst(self) -> float:
        """What a full bucket holds."""
        return self._limit_burst * self._share.burst

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return len(self._waiters)

    @property
    def paused_for(self) -> float:
        """How many seconds nothing is granted; 0 when nobody has asked for a pause."""
        return max(self._paused_until - self._clock.monotonic(), 0.0)

    def pause(self, seconds: float) -> None:
        """Grant nothing for `seconds`: the other side asked for it. A longer pause already running stays."""
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)

    def take_spending(self) -> Spending:
        """What was spent since this was asked last."""
        for waiter in self._waiters:
            self._had_to_wait[waiter.priority >= Priority.MARKET_DATA] = True
        (urgent, data), (urgent_waited, data_waited) = self._spent, self._had_to_wait
        found = Spending(urgent, data, urgent_waited, data_waited)
        self._spent, self._had_to_wait = [0.0, 0.0], [False, False]
        return found

    async def acquire(self, priority: Priority, cost: float = 1.0) -> None:
        """Take `cost` tokens, waiting until they are there and nobody more urgent wants them."""
        self._numbers += 1
        waiter = _Waiter(priority, self._numbers, cost)
        if (not self._waiters or waiter < self._waiters[0]) and self._seconds_until(waiter) <= 0:
            self._take(waiter)
            return
        insort(self._waiters, waiter)
        try:
            await self._wait(waiter)
        finally:
            self._waiters.remove(waiter)
            if self._waiters:
                self._waiters[0].woken.set()

    async def _wait(self, waiter: _Waiter) -> None:
        self._had_to_wait[waiter.priority >= Priority.MARKET_DATA] = True
        while True:
            if self._waiters[0] is not waiter:
                waiter.woken.clear()
                await waiter.woken.wait()
            elif (seconds := self._seconds_until(waiter)) > 0:
                # Somebody more urgent may come meanwhile: who is first is asked again afterwards.
                await self._clock.sleep(min(seconds, LONGEST_SLEEP))
            else:
                self._take(waiter)
                return

    def _take(self, waiter: _Waiter) -> None:
        self._tokens -= waiter.cost
        self._spent[waiter.priority >= Priority.MARKET_DATA] += waiter.cost

    def _seconds_until(self, waiter: _Waiter) -> float:
        self._settle()
        burst, per_second = self.burst, self.per_second
        reserve = RESERVE[waiter.priority] * burst
        missing = min(waiter.cost, burst - reserve) + reserve - self._tokens
        pause = self._paused_until - self._at
        if per_second <= 0:
            return FOREVER
        seconds = max(missing / per_second, pause)
        return seconds if seconds > NEGLIGIBLE else 0.0

    def _settle(self) -> None:
        """Bring the bucket up to now, and a grant that has run out down to its floor."""
        now = self._clock.monotonic()
        if now > self._granted_until:
            self._fill(self._granted_until)
            self._share = Share(min(self._share.rate, self._floor), self._share.burst)
            self._granted_until = FOREVER
        self._fill(now)

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.per_second)
            self._at = now
