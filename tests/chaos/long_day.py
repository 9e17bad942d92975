"""A long day of the core on the virtual clock: executor, breakers and gate under faults, 24 h in minutes.

`python -m tests.chaos.long_day --hours 24`: an order every few simulated seconds on a venue that fails now and then;
at the end nothing is doubled, missed or leaked, and memory has not grown since the first simulated hours.
"""

import argparse
import asyncio
import gc
import random
import sys
from contextlib import suppress

import psutil

from kontor.domain.order import FINISHED, Side
from kontor.errors import KontorError
from kontor.exchange.guarded import GuardedExchange
from kontor.execution.track import track
from kontor.resilience.connection_budget import ConnectionBudget
from kontor.resilience.connection_gate import ConnectionGate
from tests.fakes.desk import ACCOUNT, SYMBOLS, FakeDesk
from tests.fakes.exchange import AMBIGUOUS, Fault
from tests.fakes.virtual_time import in_virtual_time

HOUR = 3600.0
WARM_HOURS = 4
# What a wire does to any request; an adapter turns garbage into errors of ours before anybody here sees it.
FAULTS = (*(fault for fault in AMBIGUOUS if fault is not Fault.GARBAGE), Fault.NO_CONNECTION, Fault.RATE_LIMITED)
# The desk's history grows with its orders; what is older than this is dropped, as a store's retention does.
KEPT_ORDERS = 500


@in_virtual_time
async def day(hours: int, seed: int) -> int:
    """The day; returns the exit code."""
    rng, desk = random.Random(seed), FakeDesk()
    fake = desk.exchange
    fake.random_faults = (rng, 0.1, FAULTS)
    desk.exchange = GuardedExchange(fake, clock=desk.clock)  # pyright: ignore[reportAttributeAccessIssue]
    gate = ConnectionGate("okx", clock=desk.clock, budget=ConnectionBudget(clock=desk.clock), rng=rng)
    warm, problems = 0.0, list[str]()
    async with desk.executing():
        sockets = [asyncio.create_task(_socket(gate, f"ws://{number}", desk, rng)) for number in range(3)]
        base_tasks = len(asyncio.all_tasks())
        for hour in range(hours):
            for _ in range(60):
                with suppress(KontorError):
                    await desk.want(rng.choice(SYMBOLS), rng.choice(list(Side)), "0.1")
                await desk.clock.sleep(HOUR / 60)
            with suppress(KontorError):
                await track(desk)
            _forget_old(desk)
            gc.collect()
            memory = psutil.Process().memory_info().rss / 1e6
            if hour + 1 == min(WARM_HOURS, hours):
                warm = memory
            tasks = len(asyncio.all_tasks())
            print(f"hour {hour + 1:2}: memory {memory:.1f} MB, tasks {tasks}, connections {gate.connects}", flush=True)
            if tasks > base_tasks + 30:
                problems.append(f"{tasks} tasks after hour {hour + 1}, {base_tasks} at the beginning")
        fake.random_faults = None
        await desk.clock.sleep(300)
        await track(desk)
        memory = psutil.Process().memory_info().rss / 1e6
        for socket in sockets:
            socket.cancel()
        await asyncio.gather(*sockets, return_exceptions=True)
    doubled = {name: count for name, count in fake.venue.accepted.items() if count > 1}
    if doubled:
        problems.append(f"accepted twice: {doubled}")
    orders = await desk.store.orders.find(ACCOUNT, limit=100_000)
    open_still = [order.client_order_id for order in orders if order.state not in FINISHED]
    if open_still:
        problems.append(f"{len(open_still)} market orders are not finished: {open_still[:3]}")
    growth = 100 * (memory / warm - 1)
    if growth > 5:
        problems.append(f"memory grew by {growth:.1f} %")
    print(f"{hours} simulated hours: {fake.requests.total()} requests, memory {growth:+.1f} % since hour {WARM_HOURS}")
    for problem in problems:
        print(f"PROBLEM {problem}")
    return 1 if problems else 0


async def _socket(gate: ConnectionGate, url: str, desk: FakeDesk, rng: random.Random) -> None:
    """A socket's day: connected for minutes, lost, sometimes not to be had again for a while."""
    while True:
        permit = await gate.enter(url)
        await desk.clock.sleep(0.1)
        if rng.random() < 0.3:
            gate.failed(permit, "reset")
            continue
        gate.connected(url, permit)
        await desk.clock.sleep(rng.expovariate(1 / 600))
        gate.lost(url, "gone")


def _forget_old(desk: FakeDesk) -> None:
    """The fake venue and the memory store keep everything for ever; a day of it is not what is measured."""
    venue = desk.venue
    for name in list(venue.orders)[: max(len(venue.orders) - KEPT_ORDERS, 0)]:
        if venue.orders[name].state in FINISHED:
            del venue.orders[name]


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    return day(given.hours, given.seed)


if __name__ == "__main__":
    sys.exit(main())
