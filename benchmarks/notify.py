"""What alerts cost an order: enqueue to ack with a webhook in trouble, against the same with a healthy one.

    python -m benchmarks notify [--quick]

Two executors, each in a process of its own, work for the same paper exchange and alert on every change of an order,
which no real desk's executor does: the worst case. One has a healthy webhook and one the fault. They get an order each
in turn, whose difference is one figure, and change roles halfway: what the machine does meanwhile befalls both. The
ratio is 1 + median difference / median with the healthy one, with a 95 % interval of it by resampling the pairs. Two
controls say what the figures are worth: nothing changed must give 1, and an executor that waits must be seen to.
Takes about eight minutes. Prints one JSON object and writes it to benchmarks/results/notify.json.
"""

import argparse
import asyncio
import json
import random
import signal
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from benchmarks.orders import ACCOUNT, BURST, CLOCK, Bench, Helper, settings, with_bench
from kontor.config import OrderSettings
from kontor.config.alerts import ChannelRules, Grouping
from kontor.exchange.opening import open_exchange
from kontor.execution.executor import Executor
from kontor.notify import BackgroundSender, Discord, Outlet
from kontor.ports import Alert
from kontor.store import open_store

RESULTS = Path(__file__).parent / "results" / "notify.json"
# The webhook's number says how it behaves.
ANSWERS = {"healthy": 1, "stalled": 2, "429": 3, "500": 4}
FAULTS = ("stalled", "refused", "429", "500", "dns", "tls")
LOUD = ChannelRules(grouping=Grouping(burst=1000))
RTT_MS = 20
# What the second control adds to the way of an order: about 5 % of it.
ADDED_SECONDS = 0.0013
# So many pairs between two times of canceling what rests.
PAIRS_PER_BLOCK = 25
SETTLE_SECONDS = 1.0
RESAMPLED = 2000


def address(mode: str, port: int) -> str:
    """Where the webhook of a mode is; port 1 is nobody's."""
    number = ANSWERS.get(mode, 1)
    places = {"refused": "http://127.0.0.1:1", "dns": "https://nowhere.invalid", "tls": f"https://127.0.0.1:{port}"}
    return f"{places.get(mode, f'http://127.0.0.1:{port}')}/api/webhooks/{number}/{'x' * 60}"


async def webhook() -> None:
    """The process of the webhooks."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        number = int(request.match_info["number"])
        if number == ANSWERS["stalled"]:
            await asyncio.sleep(3600)
        if number == ANSWERS["429"]:
            return web.json_response({"retry_after": 1.0}, status=429, headers={"Retry-After": "1"})
        return web.json_response({"id": "1"}, status=500 if number == ANSWERS["500"] else 200)

    app = web.Application()
    app.router.add_post("/api/{version}/webhooks/{number}/{token}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def execute(port: str, mode_file: str, url: str, store_url: str) -> None:
    """The process that executes orders and alerts on each of their changes, until it is told to stop."""
    store, exchange = open_store(store_url), open_exchange(settings(url), clock=CLOCK)
    await exchange.load_markets()
    mode = Path(mode_file)

    async def outlets() -> Sequence[Outlet]:
        told = mode.read_text()  # noqa: ASYNC240 - a tiny file
        return [] if told == "off" else [Outlet(Discord(address(told, int(port))), LOUD)]

    # As on a desk, where it is once a minute: what is read anew at each alert would be part of what is measured.
    sender = BackgroundSender(outlets, refresh_seconds=SETTLE_SECONDS / 2)
    record = store.orders.record

    async def record_and_tell(changes: Any, **how: Any) -> Any:
        done = await record(changes, **how)
        for _, order in changes:
            title = f"{order.state}: {order.side} {order.quantity} {order.symbol} {order.client_order_id}"
            sender.notify(Alert(title, order.reason or "", "info", datetime.now(UTC), ACCOUNT, side=str(order.side)))
        if mode.read_text() == "added":  # noqa: ASYNC240 - likewise
            await asyncio.sleep(ADDED_SECONDS)
        return done

    store.orders.record = record_and_tell  # pyright: ignore[reportAttributeAccessIssue]
    executor = Executor(ACCOUNT, store, exchange, CLOCK, OrderSettings(), "bench", notifier=sender)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, executor.stop)
    print("ready", flush=True)
    await executor.run()
    await sender.close(seconds=0.1)
    await exchange.close()
    await store.close()


@dataclass(frozen=True, slots=True)
class Side:
    """One executor with its store, and the file that says how its webhook behaves."""

    bench: Bench
    mode: Path

    async def take(self, mode: str) -> None:
        """Behave like this from now on; the sender takes note, and has something to fail on."""
        self.mode.write_text(mode)
        for _ in range(2):
            await asyncio.sleep(SETTLE_SECONDS)
            await self.send(0)

    async def send(self, number: int) -> float:
        """Seconds from enqueue to ack of one order."""
        return (await self.bench.ours([self.bench.order(self.bench.markets[number % BURST])]))[0]


@asynccontextmanager
async def another(bench: Bench, folder: Path, command: Sequence[str]) -> AsyncIterator[Bench]:
    """A second executor with a store of its own, on the same venue and account."""
    async with AsyncExitStack() as stack:
        store_url = f"sqlite:///{folder}/second.db"
        store = open_store(store_url)
        stack.push_async_callback(store.close)
        await store.migrate()
        process = await stack.enter_async_context(Helper(*command, bench.url, store_url))
        assert await process.line() == "ready"
        # Ids of orders that the first one does not reach.
        yield replace(bench, store=store, store_url=store_url, made=10**9)


async def compare(sides: tuple[Side, Side], usual: str, fault: str, pairs: int) -> dict[str, Any]:
    """Pairs of orders, one with the usual mode and one with the fault; who has which changes halfway."""
    taken: list[tuple[float, float]] = []
    for healthy, broken in (sides, sides[::-1]):
        await asyncio.gather(healthy.take(usual), broken.take(fault))
        for number in range(-(-pairs // 2)):
            if number % PAIRS_PER_BLOCK == 0:
                await clear(healthy.bench)
            # Neither is always first.
            if number % 2:
                good = await healthy.send(number)
                taken.append((good, await broken.send(number)))
            else:
                bad = await broken.send(number)
                taken.append((await healthy.send(number), bad))
    return figures(taken)


async def clear(bench: Bench) -> None:
    """Cancel everything that rests, of both."""
    while reports := await bench.exchange.fetch_open_orders():
        cancels = (bench.exchange.cancel_order(each.symbol, venue_order_id=each.venue_order_id) for each in reports)
        await asyncio.gather(*cancels)


def figures(taken: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Medians in milliseconds, and the ratio of the paired differences with its 95 % interval."""
    usual = statistics.median(good for good, _ in taken)
    differences = [bad - good for good, bad in taken]
    rng = random.Random(1)
    again = sorted(statistics.median(rng.choices(differences, k=len(differences))) for _ in range(RESAMPLED))
    low, high = again[int(0.025 * RESAMPLED)], again[int(0.975 * RESAMPLED)]
    return {
        "usual_p50_ms": round(usual * 1000, 2),
        "fault_p50_ms": round(statistics.median(bad for _, bad in taken) * 1000, 2),
        "difference_ms": round(statistics.median(differences) * 1000, 3),
        "ratio": round(1 + statistics.median(differences) / usual, 3),
        "ratio_95": [round(1 + low / usual, 3), round(1 + high / usual, 3)],
        "pairs": len(taken),
    }


async def main(*, quick: bool) -> None:
    """Every fault, at a round trip of 20 ms, between the controls."""
    pairs = 20 if quick else 400
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kontor-bench-notify-") as name:
        folder = Path(name)
        modes = [folder / "mode-1", folder / "mode-2"]
        for mode in modes:
            mode.write_text("healthy")
        async with Helper("-m", "benchmarks.notify", "webhook") as server:
            port = await server.line()
            first, second = (("-m", "benchmarks.notify", "execute", port, str(mode)) for mode in modes)

            async def work(bench: Bench) -> dict[str, Any]:
                async with another(bench, folder, second) as other:
                    sides = Side(bench, modes[0]), Side(other, modes[1])
                    nothing = await compare(sides, "healthy", "healthy", pairs)
                    found = {fault: await compare(sides, "healthy", fault, pairs) for fault in FAULTS}
                    return {
                        "enqueue_to_ack_20_ms": found,
                        "healthy_against_no_channel": await compare(sides, "off", "healthy", pairs),
                        "controls": {
                            "nothing_changed": nothing,
                            f"waits_{ADDED_SECONDS * 1000:g}_ms": await compare(sides, "healthy", "added", pairs),
                        },
                    }

            results = await with_bench(RTT_MS, work, executor=first)
    results["seconds"] = round(time.monotonic() - began)
    text = json.dumps(results, indent=2)
    if not quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(f"{text}\n")
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", nargs="?", choices=["webhook", "execute"], help=argparse.SUPPRESS)
    parser.add_argument("places", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="few repetitions, no file: shows that it works, no more")
    given = parser.parse_args()
    if given.role == "webhook":
        asyncio.run(webhook())
    elif given.role == "execute":
        asyncio.run(execute(*given.places))
    else:
        asyncio.run(main(quick=given.quick))
