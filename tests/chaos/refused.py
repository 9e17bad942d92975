"""Connections refused for five minutes of simulated time: both streams, from steady state to steady state.

`python -m tests.chaos.refused --rounds 20`: nobody listens at the venue's port for five minutes, then somebody does
again; with REST refused as well in every other round. Nothing may die, no stream may knock more often than every other
second, no ten minutes may hold more than 150 connections, and every channel must be fresh within 5 s of the end.
"""

import argparse
import asyncio
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise

from kontor.config import KontorConfig
from kontor.resilience.connection_budget import ConnectionBudget
from kontor.resilience.connection_gate import ConnectionGate
from kontor.streams.account import AccountStreamer
from kontor.streams.freshness import load_channels
from kontor.streams.market import MarketStreamer
from kontor.streams.streamer import StreamParts
from tests.chaos.faults import FRESH_WITHIN
from tests.fakes.desk import ACCOUNT, SYMBOLS, FakeDesk
from tests.fakes.exchange import Fault
from tests.fakes.streams import FakeStreams
from tests.fakes.telling import CandleVenue
from tests.fakes.virtual_time import in_virtual_time

OUTAGE_SECONDS = 300.0
CONNECTIONS, WINDOW_SECONDS = 150, 600.0
# As the two streams of a desk share them.
LIMITS = {MarketStreamer: 100, AccountStreamer: 50}
# Three tries at once, and then one in this many seconds at most.
KNOCKS = 3
SOONEST_SECONDS = 1.7
CONFIG = KontorConfig.model_validate({"streams": {"flush_milliseconds": 200}, "candles": {"keep": 60}})


@dataclass(frozen=True)
class Figures:
    """What a round was like."""

    seconds_until_fresh: float
    connections: int
    knocks: int
    problems: tuple[str, ...]


@in_virtual_time
async def suffer(seed: int, *, with_rest: bool) -> Figures:
    """One outage."""
    rng, desk = random.Random(seed), FakeDesk(config=CONFIG)
    desk.exchange = CandleVenue(desk.venue, desk.clock)
    await desk.store.market.save_watchlist(ACCOUNT, SYMBOLS, desk.clock.now())
    async with streaming(desk, rng) as (streams, tasks):
        await desk.until(lambda: _all_fresh(desk))
        await desk.clock.sleep(60 * rng.random())
        began = desk.clock.monotonic()
        for each in streams:
            each.refuse()
        if with_rest:
            desk.exchange.random_faults = (rng, 1.0, (Fault.NO_CONNECTION,))
        await desk.clock.sleep(10)
        was_fresh = await _any_fresh(desk)
        await desk.clock.sleep(OUTAGE_SECONDS - 10)
        desk.exchange.random_faults = None
        for each in streams:
            each.is_refused = False
        ended = desk.clock.monotonic()
        await desk.until(lambda: _all_fresh(desk))
        took = desk.clock.monotonic() - ended
        died = [f"{task.get_name()} died: {task.exception()!r}" for task in tasks if task.done()]
    knocks = [[at for at in each.tries if began <= at < ended] for each in streams]
    connections = sum(each.gate.connects for each in streams)
    problems = [*died, *_problems(knocks, connections, took)]
    if was_fresh:
        problems.append("fresh 10 s after every connection was gone")
    return Figures(took, connections, sum(map(len, knocks)), tuple(problems))


@asynccontextmanager
async def streaming(
    desk: FakeDesk, rng: random.Random
) -> AsyncIterator[tuple[Sequence[FakeStreams], Sequence[asyncio.Task[None]]]]:
    """Both streams at work, each with a socket that lasts."""
    streams, tasks = list[FakeStreams](), list[asyncio.Task[None]]()
    for kind, limit in LIMITS.items():
        budget = ConnectionBudget(clock=desk.clock, limit=limit)
        gate = ConnectionGate(kind.name, clock=desk.clock, budget=budget, rng=rng)
        streams.append(FakeStreams(desk.venue, desk.clock, gate, rng, lasts=1e9, fails=0.0))
        parts = StreamParts(ACCOUNT, desk.config, desk.store, desk.exchange, streams[-1], desk.clock)
        tasks.append(asyncio.create_task(kind(parts).run(), name=kind.name))
    try:
        yield streams, tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _problems(knocks: Sequence[Sequence[float]], connections: int, took: float) -> list[str]:
    problems = []
    for each in knocks:
        soonest = min(later - sooner for sooner, later in pairwise(each[KNOCKS + 1 :]))
        if soonest < SOONEST_SECONDS:
            problems.append(f"two tries within {soonest:.2f} s in the middle of the outage")
    if connections > CONNECTIONS:
        problems.append(f"{connections} connections within {WINDOW_SECONDS:.0f} s")
    if took > FRESH_WITHIN:
        problems.append(f"fresh only {took:.1f} s after its end")
    return problems


async def _states(desk: FakeDesk) -> list[bool]:
    found = await load_channels(desk.store.desk, ACCOUNT, desk.clock.now())
    return [name in found and found[name].is_fresh for name in FakeStreams.channels]


async def _all_fresh(desk: FakeDesk) -> bool:
    return all(await _states(desk))


async def _any_fresh(desk: FakeDesk) -> bool:
    return any(await _states(desk))


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rounds = [suffer(given.seed + number, with_rest=number % 2 == 1) for number in range(given.rounds)]
    problems = [problem for each in rounds for problem in each.problems]
    slowest = max(each.seconds_until_fresh for each in rounds)
    print(
        f"refused for {OUTAGE_SECONDS:.0f} simulated seconds, {len(rounds)} times: fresh {slowest:.1f} s after the end"
        f" at the latest, {max(each.knocks for each in rounds)} tries and {max(each.connections for each in rounds)}"
        " connections at most"
    )
    for problem in problems:
        print(f"PROBLEM {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
