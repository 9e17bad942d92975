"""This machine's clock against the venue's: beyond a limit no new order goes out, and everybody can see why."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from kontor.errors import ExchangeError
from kontor.execution.halt import CLOCK, halt, resume
from kontor.execution.parts import Parts

log = logging.getLogger(__name__)

CLOCK_DRIFT = "clock_drift"
ACTOR = CLOCK
TITLE = "Trading halted: the clock is wrong"
# Of several measurements the one with the shortest round trip tells most.
SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Drift:
    """How far our clock is ahead of the venue's (negative: behind), give or take `uncertainty`."""

    ahead: timedelta
    uncertainty: timedelta
    at: datetime

    def exceeds(self, limit: timedelta) -> bool:
        """Whether it is more than `limit` for sure: a slow answer proves nothing."""
        return abs(self.ahead) - self.uncertainty > limit


async def measure_drift(parts: Parts) -> Drift:
    """Ask the venue for its time; errors of the venue pass through."""
    best: Drift | None = None
    for _ in range(SAMPLES):
        began, began_at = parts.clock.monotonic(), parts.clock.now()
        venue_time = await parts.exchange.fetch_time()
        trip = timedelta(seconds=parts.clock.monotonic() - began)
        drift = Drift(began_at + trip / 2 - venue_time, trip / 2, began_at)
        if best is None or drift.uncertainty < best.uncertainty:
            best = drift
    assert best is not None  # noqa: S101 - there is at least one sample
    return best


async def check_clock(parts: Parts) -> Drift | None:
    """Measure, note it, and halt trading beyond the limit; a halt of ours ends when the clock is right again.

    None when the venue does not tell its time, or nobody wants to know.
    """
    seconds = parts.config.orders.max_clock_drift_seconds
    if seconds is None or not parts.exchange.profile.capabilities.get("fetchTime", False):
        return None
    try:
        drift = await measure_drift(parts)
    except ExchangeError as error:
        log.warning("clock_not_checked account=%s error=%s", parts.account, error)
        return None
    limit = timedelta(seconds=seconds)
    refuses = drift.exceeds(limit)
    state, now = parts.store.desk, parts.clock.now()
    value = {"seconds": drift.ahead.total_seconds(), "limit_seconds": seconds, "refuses_orders": refuses}
    await state.set_attribute(parts.account, CLOCK_DRIFT, value, now)
    if refuses:
        sentence = describe(drift, parts.exchange.profile.exchange_id, limit)
        await halt(state, parts.account, sentence, actor=ACTOR, at=now, title=TITLE)
    else:
        await resume(state, parts.account, actor=ACTOR, at=now, only_of=ACTOR)
    return drift


def describe(drift: Drift, exchange_id: str, limit: timedelta) -> str:
    """Why no order goes out, and what to do about it."""
    way = "ahead of" if drift.ahead > timedelta(0) else "behind"
    return (
        f"this machine's clock is {abs(drift.ahead.total_seconds()):.1f} s {way} that of {exchange_id}, more than "
        f"{limit.total_seconds():g} s; set the clock (chrony, systemd-timesyncd), then trading goes on by itself"
    )
