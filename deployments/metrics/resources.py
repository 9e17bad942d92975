"""What the runs of one process share, as figures: rate budgets and circuit breakers of its exchange sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from deployments.metrics.endpoint import on_loop
from deployments.metrics.families import gauge
from kontor.resilience.circuit_breaker import BreakerState

STATES = {BreakerState.CLOSED: 0.0, BreakerState.HALF_OPEN: 0.5, BreakerState.OPEN: 1.0}


@dataclass(frozen=True, slots=True)
class SessionFigures:
    """One account's session: tokens in its rate budget, and its breakers by name."""

    account: str
    tokens: float
    burst: float
    waiting: int
    breakers: Sequence[tuple[str, float]]


class ResourcesCollector(Collector):
    """Reads the session pool on its own loop: a rate budget is counted on as it is read."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Look once, in the thread of a scrape."""
        found = on_loop(self._loop, look, [])
        who = [[each.account] for each in found]
        tokens = [(name, each.tokens) for name, each in zip(who, found, strict=True)]
        yield gauge("kontor_rate_budget_tokens", "Requests that could be sent at once.", ["account"], tokens)
        burst = [(name, each.burst) for name, each in zip(who, found, strict=True)]
        yield gauge("kontor_rate_budget_burst", "As many as there can be.", ["account"], burst)
        waiting = [(name, float(each.waiting)) for name, each in zip(who, found, strict=True)]
        yield gauge("kontor_rate_budget_waiting", "Requests that wait for their turn.", ["account"], waiting)
        states = [([each.account, name], state) for each in found for name, state in each.breakers]
        yield gauge("kontor_breaker_state", "0 closed, 0.5 half-open, 1 open.", ["account", "breaker"], states)


def look() -> list[SessionFigures]:
    """Every session of this loop; called on it."""
    from tasks.resources import Resources

    pool = Resources.here().opened
    if pool is None:
        return []
    from kontor.exchange.opening import budget_of

    found = []
    for account, session in pool.opened.items():
        budget = budget_of(session.client.exchange)
        if budget is not None:
            breakers = [(status.name, STATES[status.state]) for status in pool.statuses(account)]
            found.append(SessionFigures(account, budget.tokens, budget.burst, budget.waiting, breakers))
    return found
