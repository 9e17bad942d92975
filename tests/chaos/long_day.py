"""A long day of the core on the virtual clock: executor, streams, breakers and gates under faults, 24 h in minutes.

`python -m tests.chaos.long_day --hours 24`: an order every simulated minute on a venue that fails now and then, both
streams losing their connections; at the end nothing is doubled, missed or leaked, and memory has not grown since the
first simulated hours.
"""

import argparse
import asyncio
import gc
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import psutil

from kontor.config import KontorConfig
from kontor.domain.order import FINISHED, Side
from kontor.errors import KontorError
from kontor.exchange.guarded import GuardedExchange
from kontor.execution.track import track
from kontor.resilience.connection_budget import ConnectionBudget
from kontor.resilience.connection_gate import ConnectionGate
from kontor.streams.account import AccountStreamer
from kontor.streams.freshness import load_channels
from kontor.streams.market import MarketStreamer
from kontor.streams.streamer import StreamParts
from tests.fakes.desk import ACCOUNT, SETTINGS, SYMBOLS, FakeDesk
from tests.fakes.exchange import AMBIGUOUS, Fault
from tests.fakes.streams import FakeStreams
from tests.fakes.virtual_time import in_virtual_time

HOUR = 3600.0
WARM_HOURS = 4
GROWTH_PERCENT = 5.0
# How soon the streams must be well once nothing but their own losses happens any more.
FRESH_SECONDS = 120.0
# What a wire does to any request; an adapter turns garbage into errors of ours before anybody here sees it.
FAULTS = (*(fault for fault in AMBIGUOUS if fault is not Fault.GARBAGE), Fault.NO_CONNECTION, Fault.RATE_LIMITED)
# The desk's history grows with its orders; what is older than this is dropped, as a store's retention does.
KEPT_ORDERS = 500
# A second's news at once: what comes more often costs a simulated day hours.
CONFIG = KontorConfig.model_validate(
    {
        "streams": {"flush_milliseconds": 1000, "trades_kept": 20},
        "candles": {"keep": 60},
        "history": {"balances_days": 1},
    }
).model_copy(update={"orders": SETTINGS})


@dataclass(frozen=True)
class Figures:
    """What one looks at for leaks."""

    rss_mb: float
    tasks: int
    handles: int
    sockets: int

    @classmethod
    def now(cls) -> "Figures":
        gc.collect()
        process = psutil.Process()
        sockets = len(process.net_connections())
        return cls(process.memory_info().rss / 1e6, len(asyncio.all_tasks()), process.num_fds(), sockets)


@asynccontextmanager
async def streaming(desk: FakeDesk, rng: random.Random) -> AsyncIterator[list[ConnectionGate]]:
    """Both streams at work, each with a socket of its own."""
    gates, tasks = [], []
    for kind in (MarketStreamer, AccountStreamer):
        gate = ConnectionGate(kind.name, clock=desk.clock, budget=ConnectionBudget(clock=desk.clock, limit=75), rng=rng)
        streams = FakeStreams(desk.venue, desk.clock, gate, rng)
        parts = StreamParts(ACCOUNT, desk.config, desk.store, desk.exchange, streams, desk.clock)
        gates.append(gate)
        tasks.append(asyncio.create_task(kind(parts).run(), name=kind.name))
    try:
        yield gates
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        died = [each for each in ended if isinstance(each, Exception)]
        if died:
            raise ExceptionGroup("a stream died", died)


@in_virtual_time
async def day(hours: int, seed: int) -> int:
    """The day; returns the exit code."""
    rng, desk = random.Random(seed), FakeDesk(config=CONFIG)
    fake = desk.exchange
    await desk.store.market.save_watchlist(ACCOUNT, SYMBOLS, desk.clock.now())
    before, problems = Figures.now(), list[str]()
    fake.random_faults = (rng, 0.1, FAULTS)
    desk.exchange = GuardedExchange(fake, clock=desk.clock)  # pyright: ignore[reportAttributeAccessIssue]
    async with desk.executing(), streaming(desk, rng) as gates:
        warm = base = Figures.now()
        for hour in range(hours):
            await _one_hour(desk, rng)
            now = Figures.now()
            warm = now if hour + 1 == min(WARM_HOURS, hours) else warm
            connects = sum(gate.connects for gate in gates)
            print(
                f"hour {hour + 1:2}: memory {now.rss_mb:.1f} MB, tasks {now.tasks}, file handles {now.handles}, "
                f"sockets {now.sockets}, connections {connects}",
                flush=True,
            )
            if now.tasks > base.tasks + 30:
                problems.append(f"{now.tasks} tasks after hour {hour + 1}, {base.tasks} at the beginning")
        fake.random_faults = None
        await desk.clock.sleep(300)
        await track(desk)
        with suppress(TimeoutError):
            await desk.until(lambda: _all_fresh(desk), seconds=FRESH_SECONDS)
        if not await _all_fresh(desk):
            problems.append(f"not every channel was fresh within {FRESH_SECONDS:.0f} s of quiet")
        end = Figures.now()
    after = Figures.now()
    problems += _verdicts(before, warm, end, after)
    doubled = {name: count for name, count in fake.venue.accepted.items() if count > 1}
    if doubled:
        problems.append(f"accepted twice: {doubled}")
    orders = await desk.store.orders.find(ACCOUNT, limit=100_000)
    open_still = [order.client_order_id for order in orders if order.state not in FINISHED]
    if open_still:
        problems.append(f"{len(open_still)} market orders are not finished: {open_still[:3]}")
    kept = {order.client_order_id for order in orders}
    booked = {fill.trade_id for fill in await desk.store.orders.fills(ACCOUNT, limit=1_000_000)}
    missed = [
        fill.trade_id for fill in fake.venue.fills if fill.client_order_id in kept and fill.trade_id not in booked
    ]
    if missed:
        problems.append(f"{len(missed)} fills of the venue are not in our books: {missed[:3]}")
    growth = 100 * (end.rss_mb / warm.rss_mb - 1)
    print(f"{hours} simulated hours: {fake.requests.total()} requests, memory {growth:+.1f} % since hour {WARM_HOURS}")
    for problem in problems:
        print(f"PROBLEM {problem}")
    return 1 if problems else 0


async def _all_fresh(desk: FakeDesk) -> bool:
    found = await load_channels(desk.store.desk, ACCOUNT, desk.clock.now())
    return len(found) == len(FakeStreams.channels) and all(each.is_fresh for each in found.values())


async def _one_hour(desk: FakeDesk, rng: random.Random) -> None:
    for minute in range(60):
        with suppress(KontorError):
            await desk.want(rng.choice(SYMBOLS), rng.choice(list(Side)), "0.1")
        await desk.clock.sleep(HOUR / 60)
        if minute % 10 == 0:
            with suppress(KontorError):
                await track(desk)
    _forget_old(desk)


def _verdicts(before: Figures, warm: Figures, end: Figures, after: Figures) -> list[str]:
    problems = []
    if end.rss_mb > warm.rss_mb * (1 + GROWTH_PERCENT / 100):
        problems.append(f"memory grew from {warm.rss_mb:.1f} to {end.rss_mb:.1f} MB")
    if end.handles > warm.handles or end.sockets > warm.sockets:
        problems.append(f"file handles or sockets leak: {warm} -> {end}")
    if after.tasks > before.tasks or after.handles > before.handles:
        problems.append(f"left behind at the end: {before} -> {after}")
    return problems


def _forget_old(desk: FakeDesk) -> None:
    """The fake venue and the memory store keep everything for ever; a day of it is not what is measured."""
    venue, queue = desk.venue, desk.store.orders
    for name in list(venue.orders)[: max(len(venue.orders) - KEPT_ORDERS, 0)]:
        if venue.orders[name].state in FINISHED:
            del venue.orders[name]
    known = list(queue._orders)
    for name in known[: max(len(known) - KEPT_ORDERS, 0)]:
        if queue._orders[name].state in FINISHED:
            del queue._orders[name], queue._events[name]
    queue._history[:] = [event for event in queue._history if event.client_order_id in queue._orders]
    for key in [key for key, fill in queue._fills.items() if fill.client_order_id not in queue._orders]:
        del queue._fills[key]


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    return day(given.hours, given.seed)


if __name__ == "__main__":
    sys.exit(main())
