"""The gate before every new connection of a stream: breakers, backoff and budget, whoever connects.

Three tries at once, then pauses that double with jitter up to a few seconds: a desk must notice within seconds that the
venue is back. Each address has a breaker of its own, so that one that is dead holds back no other; all share one
budget. While no address comes through, one socket tries for all, and whoever gets through wakes the others. A
connection that was made and soon lost counts like one that could not be made: a clean close is no invitation to come
back at once.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from kontor.errors import CircuitOpen
from kontor.ports import Clock
from kontor.resilience.circuit_breaker import (
    BreakerPolicy,
    BreakerState,
    BreakerStatus,
    CircuitBreaker,
    OnChange,
    Permit,
    Verdict,
)
from kontor.resilience.connection_budget import ConnectionBudget

logger = logging.getLogger(__name__)

INSTANT_TRIES = 3
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 3.5
# A connection that has lasted this long was a good one: the next loss gets its instant tries again.
STEADY_SECONDS = 30.0
# What is added to a breaker's pause at most, so that many desks do not come back at the same moment.
JITTER = 0.1
POLICY = BreakerPolicy(
    failures=INSTANT_TRIES, pause=1.0, longest_pause=LONGEST_PAUSE, probes=1, successes=1, pause_from_start=True
)


# An address that alone is dead leaves this part of the budget to the others.
OTHERS_SHARE = 3
# While the venue is away, the address that was up last tries for all; each so many-th turn is another one's.
TURNS = 8
LOOK_SECONDS = 0.1
# A try is under way for so long at most.
CONNECT_SECONDS = 5.0
# Longer parts of an address are keys of a session (Binance, KuCoin): new ones each time, and nobody's business.
LONGEST_PART = 24


@dataclass(slots=True)
class _Address:
    breaker: CircuitBreaker
    losses: int = 0
    connected_at: float | None = None
    # When a connection was made last, and whether the newest try has come through.
    up_at: float = float("-inf")
    came_through: bool = True
    tried_at: float = float("-inf")
    # No new connection before this moment.
    due: float = float("-inf")


class ConnectionGate:
    """Decides when a connection may be tried, and remembers how the last ones went; one for all sockets of a stream."""

    def __init__(
        self,
        name: str,
        *,
        clock: Clock,
        budget: ConnectionBudget | None = None,
        on_change: OnChange | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.name, self.on_change = name, on_change
        self._clock, self._rng = clock, rng or random.Random()
        self.budget = budget or ConnectionBudget(clock=clock)
        self._addresses: dict[str, _Address] = {}
        self.connects = 0
        # Who wants in now, by address; whose turn it was, and when the next one is, while nobody comes through.
        self._trying: Counter[str] = Counter()
        self._turns, self._turn_due = 0, float("-inf")
        self._came_back = asyncio.Event()

    @property
    def breakers(self) -> Iterable[CircuitBreaker]:
        """One for each address that was ever connected to, named after gate and address."""
        return [address.breaker for address in self._addresses.values()]

    def reset(self) -> None:
        """Close every breaker: somebody knows that the venue is well again."""
        for breaker in self.breakers:
            breaker.reset()
        self._wake()

    async def enter(self, url: str) -> Permit:
        """Wait until a connection to `url` may be tried; the permit must be ended with how it went."""
        name = address_of(url)
        self._trying[name] += 1
        try:
            return await self._enter(url)
        finally:
            self._trying[name] -= 1

    async def _enter(self, url: str) -> Permit:
        address = self._address(url)
        await self._clock.sleep(self.pause_before(url))
        while True:
            try:
                permit = address.breaker.admit()
            except CircuitOpen as held:
                await self._wait(held.retry_after.total_seconds() * self._jitter())
                continue
            try:
                if not address.came_through and (permit.is_probe or self._another_tries(address)):
                    await self._wait_for_turn(address)
                await self.budget.acquire()
                address.tried_at = self._clock.monotonic()
            except BaseException:
                permit.end(Verdict.NOTHING)
                raise
            return permit

    async def _wait_for_turn(self, address: _Address) -> None:
        """Before a try that will probably fail; returns at once when another address has come through meanwhile."""
        while True:
            if not self._is_away:
                wait = self.budget.seconds_until_more_than(self.budget.limit // OTHERS_SHARE)
            elif self._whose_turn() is address:
                wait = max(self._turn_due - self._clock.monotonic(), self.budget.seconds_until_probe)
            else:
                wait = max(self._turn_due - self._clock.monotonic(), 0.0) + LOOK_SECONDS
            if wait <= 0:
                break
            if await self._wait(wait):
                return
        if not self._is_away:
            return
        pause = min(FIRST_PAUSE * 2.0 ** min(self._turns + 1, 60), LONGEST_PAUSE)
        self._turns += 1
        self._turn_due = self._clock.monotonic() + pause * self._jitter()

    def _whose_turn(self) -> _Address:
        """Of those who want in: the one that was up last, now and then the one that has waited longest for it."""
        since = self._clock.monotonic() - CONNECT_SECONDS
        trying = [each for name, each in self._addresses.items() if self._trying[name] > 0 or each.tried_at > since]
        trying.sort(key=lambda each: each.up_at, reverse=True)
        number = self._turns // TURNS % max(len(trying) - 1, 1) + 1 if self._turns % TURNS == TURNS - 1 else 0
        return trying[min(number, len(trying) - 1)]

    def _another_tries(self, address: _Address) -> bool:
        """The three tries at once are made by one for all as well."""
        return self._is_away and self._whose_turn() is not address

    @property
    def _is_away(self) -> bool:
        return not any(address.came_through for address in self._addresses.values())

    def pause_before(self, url: str) -> float:
        """Seconds still to wait because connections to `url` were soon lost: 0 after the first losses."""
        return max(self._address(url).due - self._clock.monotonic(), 0.0)

    def connected(self, url: str, permit: Permit) -> None:
        """The connection stands."""
        self.connects += 1
        address, was_away = self._address(url), self._is_away
        address.came_through = True
        address.connected_at = address.up_at = self._clock.monotonic()
        permit.end(Verdict.SUCCESS)
        if was_away:
            # What kept the others out is over, as far as one can see.
            self._turns = 0
            self.reset()

    def failed(self, url: str, permit: Permit, reason: str, *, reached: bool = True) -> None:
        """The connection could not be made; one that never `reached` the venue counts for nothing there."""
        self._address(url).came_through = False
        if not reached:
            self.budget.give_back()
        permit.end(Verdict.FAILURE, reason)

    def lost(self, url: str, reason: str) -> None:
        """A connection that stood is gone, cleanly or not."""
        address = self._address(url)
        if address.connected_at is None:
            return
        now = self._clock.monotonic()
        lasted = now - address.connected_at
        address.connected_at = None
        address.losses = 1 if lasted >= STEADY_SECONDS else address.losses + 1
        # From the loss on: what the breaker or the venue makes us wait meanwhile is not added to it.
        address.due = now + self._pause_after(address.losses)
        logger.warning(
            "stream_lost name=%s url=%s lasted=%.1f in_a_row=%d reason=%s",
            self.name,
            address_of(url),
            lasted,
            address.losses,
            reason,
        )

    def _pause_after(self, losses: int) -> float:
        if losses < INSTANT_TRIES:
            return 0.0
        bound = min(FIRST_PAUSE * 2.0 ** min(losses - INSTANT_TRIES, 60), LONGEST_PAUSE)
        return self._rng.uniform(bound / 2, bound)

    def _jitter(self) -> float:
        return self._rng.uniform(1.0, 1.0 + JITTER)

    async def _wait(self, seconds: float) -> bool:
        """Wait that long, or until somebody has come through who did not before; whether it was that."""
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        waking = asyncio.ensure_future(self._came_back.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
            return waking.done()
        finally:
            for task in (sleeping, waking):
                task.cancel()
            await asyncio.gather(sleeping, waking, return_exceptions=True)

    def _wake(self) -> None:
        """Whoever waits now looks again; who comes later waits for the next time."""
        came_back, self._came_back = self._came_back, asyncio.Event()
        came_back.set()

    def _address(self, url: str) -> _Address:
        name = address_of(url)
        if name not in self._addresses:
            breaker = CircuitBreaker(f"{self.name} {name}", clock=self._clock, policy=POLICY, on_change=self._changed)
            self._addresses[name] = _Address(breaker)
        return self._addresses[name]

    def _changed(self, status: BreakerStatus) -> None:
        """Tell of a breaker's change; people are told of the stream: that a part of it is away, and that none is."""
        if self.on_change is None:
            return
        is_well = all(breaker.state is BreakerState.CLOSED for breaker in self.breakers)
        is_news = is_well or status.state is not BreakerState.CLOSED
        self.on_change(replace(status, whole=self.name, is_news=is_news))


def address_of(url: str) -> str:
    """Host and path without what is only for one session: how an address is told, and known again."""
    parts = urlsplit(url)
    path = "/".join("..." if len(part) > LONGEST_PART else part for part in parts.path.split("/"))
    return f"{parts.netloc.rpartition('@')[2]}{path}".rstrip("/")
