"""Other processes on the same store: `python -m tests.contract.store.processes ROLE URL [NUMBER]`."""

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from kontor.domain.order import OrderState
from kontor.ports import Store
from kontor.store import open_store
from tests.contract.store.builders import NOW, make_candles, make_order

ROOT = Path(__file__).parents[3]
STRESS_SECONDS = 2.0


def start(role: str, url: str, *arguments: str) -> subprocess.Popen[str]:
    """Such a process, with its output on a pipe."""
    command = [sys.executable, "-W", "error", "-m", "tests.contract.store.processes", role, url, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def migrate(store: Store, _: str) -> None:
    """Migrate at the same moment as the others: when a line comes in."""
    say("ready")
    sys.stdin.readline()
    await store.migrate()
    say(await store.desk.desk_prefix())


async def enqueue_forever(store: Store, name: str) -> None:
    """Say each order's id once it is committed, until killed."""
    for i in range(1_000_000):
        order = make_order(f"{name}{i}", symbol=f"S{i % 5}")
        await store.orders.enqueue([order], name)
        submitted = replace(order, state=OrderState.SUBMITTED, attempts=1)
        await store.orders.record([(order, submitted)], actor=name, at=NOW)
        say(order.client_order_id)


async def stress(store: Store, name: str) -> None:
    """Write orders, candles and attributes side by side, and tell how long the event loop stood still."""
    end = time.monotonic() + STRESS_SECONDS
    pauses, count = [0.0], 0

    async def feel_the_pulse() -> None:
        last = time.monotonic()
        while last < end:
            await asyncio.sleep(0.005)
            # What the garbage collector finalizes must never wait for a lock that needs this thread to go on.
            gc.collect(0)
            now = time.monotonic()
            pauses.append(now - last)
            last = now

    async def order() -> None:
        nonlocal count
        new = make_order(f"{name}{count}", symbol=f"S{count % 5}")
        count += 1
        await store.orders.enqueue([new], name)
        await store.orders.record([(new, replace(new, attempts=1))], actor=name, at=NOW)
        await store.orders.pending("paper")

    async def candles() -> None:
        await store.market.save_candles("paper", "1m", {f"M{i}": make_candles(0, 300) for i in range(20)})

    async def attribute() -> None:
        await store.desk.increment("paper", "total", NOW)
        increments.append(1)

    async def repeat(work: Callable[[], Awaitable[None]]) -> None:
        while time.monotonic() < end:
            await work()
            await asyncio.sleep(0.002)

    increments: list[int] = []
    await asyncio.gather(feel_the_pulse(), *map(repeat, (order, order, candles, attribute)))
    say(json.dumps({"orders": count, "increments": len(increments), "longest_pause": max(pauses)}))


def say(line: str) -> None:
    """One line for the parent, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


ROLES = {"migrate": migrate, "enqueue": enqueue_forever, "stress": stress}


async def main(role: str, url: str, name: str = "x") -> None:
    """Play a role."""
    store = open_store(url)
    try:
        await ROLES[role](store, name)
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
