"""The circuit breakers of one account at one venue: one for each group of requests, and what counts as a failure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kontor.errors import (
    AlreadyPlaced,
    ClockSkewed,
    ExchangeError,
    Incomplete,
    NotSent,
    OrderNotFound,
    RateLimited,
    Rejected,
)
from kontor.ports import Clock
from kontor.resilience.circuit_breaker import BreakerPolicy, BreakerStatus, CircuitBreaker, OnChange, Verdict
from kontor.resilience.deadline import DeadlineExceeded
from kontor.resilience.rate_budget import Priority

GROUPS: Mapping[Priority, str] = {
    Priority.MARKET_DATA: "market data",
    Priority.ACCOUNT: "account",
    Priority.CREATE: "orders",
    Priority.CANCEL: "cancels",
}


class NeverSent(NotSent):
    """Time ran out while the request waited for its turn here: says nothing about the venue."""


class Breakers(Mapping[Priority, CircuitBreaker]):
    """A breaker for each group of requests: one that fails does not hold back the others, cancels least of all."""

    def __init__(
        self, name: str, *, clock: Clock, policy: BreakerPolicy | None = None, on_change: OnChange | None = None
    ) -> None:
        self._breakers = {
            priority: CircuitBreaker(f"{name} {group}", clock=clock, policy=policy, on_change=on_change)
            for priority, group in GROUPS.items()
        }

    def __getitem__(self, priority: Priority) -> CircuitBreaker:
        # Candles are market data as well: they only wait longer for their turn.
        return self._breakers[min(priority, Priority.MARKET_DATA)]

    def __iter__(self) -> Iterator[Priority]:
        return iter(self._breakers)

    def __len__(self) -> int:
        return len(self._breakers)

    @property
    def statuses(self) -> tuple[BreakerStatus, ...]:
        """How each one stands."""
        return tuple(breaker.status for breaker in self._breakers.values())

    def reset(self) -> None:
        """Close them all."""
        for breaker in self._breakers.values():
            breaker.reset()


# The venue is there and has looked at the request: business, not trouble.
ANSWERS = (Rejected, Incomplete, OrderNotFound, AlreadyPlaced, ClockSkewed)
# It asks for patience, which the rate budget gives it; or nothing was sent at all.
NO_SIGN = (RateLimited, NeverSent)


def verdict_on(error: BaseException) -> Verdict:
    """What the failure of one logical call says about the venue."""
    if isinstance(error, ANSWERS):
        return Verdict.SUCCESS
    if isinstance(error, NO_SIGN) or not isinstance(error, (ExchangeError, DeadlineExceeded)):
        return Verdict.NOTHING
    return Verdict.FAILURE


def verdict_on_results(results: Sequence[Any]) -> Verdict:
    """What a batch says about the venue: a failure only when nobody in it got an answer."""
    verdicts = {verdict_on(each) if isinstance(each, ExchangeError) else Verdict.SUCCESS for each in results}
    for verdict in (Verdict.SUCCESS, Verdict.FAILURE):
        if verdict in verdicts:
            return verdict
    return Verdict.NOTHING if verdicts else Verdict.SUCCESS
