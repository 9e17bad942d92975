"""The gate before every new connection of a stream: breaker, backoff and budget, whoever connects.

Three tries at once, then pauses that double with jitter up to a few seconds: a desk must notice within seconds that the
venue is back. While the venue is away one socket tries for all. A connection that was made and soon lost counts like
one that could not be made: a clean close is no invitation to come back at once.
"""

import logging
import random
from dataclasses import dataclass

from kontor.errors import CircuitOpen
from kontor.ports import Clock
from kontor.resilience.circuit_breaker import BreakerPolicy, CircuitBreaker, OnChange, Permit, Verdict
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


@dataclass(slots=True)
class _Address:
    losses: int = 0
    connected_at: float | None = None
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
        self.name = name
        self._clock, self._rng = clock, rng or random.Random()
        self.budget = budget or ConnectionBudget(clock=clock)
        self.breaker = CircuitBreaker(name, clock=clock, policy=POLICY, on_change=on_change)
        self._addresses: dict[str, _Address] = {}
        self.connects = 0
        # How the newest try went.
        self._came_through = True

    async def enter(self, url: str) -> Permit:
        """Wait until a connection to `url` may be tried; the permit must be ended with how it went."""
        await self._clock.sleep(self.pause_before(url))
        while True:
            try:
                permit = self.breaker.admit()
            except CircuitOpen as held:
                await self._clock.sleep(held.retry_after.total_seconds() * self._rng.uniform(1.0, 1.0 + JITTER))
                continue
            try:
                if permit.is_probe and not self._came_through:
                    await self._clock.sleep(self.budget.seconds_until_probe)
                await self.budget.acquire()
            except BaseException:
                permit.end(Verdict.NOTHING)
                raise
            return permit

    def pause_before(self, url: str) -> float:
        """Seconds still to wait because connections to `url` were soon lost: 0 after the first losses."""
        return max(self._address(url).due - self._clock.monotonic(), 0.0)

    def connected(self, url: str, permit: Permit) -> None:
        """The connection stands."""
        self.connects += 1
        self._came_through = True
        self._address(url).connected_at = self._clock.monotonic()
        permit.end(Verdict.SUCCESS)

    def failed(self, permit: Permit, reason: str) -> None:
        """The connection could not be made."""
        self._came_through = False
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
            url,
            lasted,
            address.losses,
            reason,
        )

    def _pause_after(self, losses: int) -> float:
        if losses < INSTANT_TRIES:
            return 0.0
        bound = min(FIRST_PAUSE * 2.0 ** min(losses - INSTANT_TRIES, 60), LONGEST_PAUSE)
        return self._rng.uniform(bound / 2, bound)

    def _address(self, url: str) -> _Address:
        return self._addresses.setdefault(url, _Address())
