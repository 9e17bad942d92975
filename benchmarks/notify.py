"""What alerts cost an order: enqueue to ack with a webhook in trouble, against the same with a healthy one.

    python -m benchmarks notify [--quick]

The executor's own process alerts on every change of an order, which no real desk does: the worst case. For each fault,
rounds with and without it take turns in one run; the figure is the median of the rounds' ratios of medians. Prints one
JSON object and writes it to benchmarks/results/notify.json.
"""

import argparse
import asyncio
import json
import signal
import statistics
import tempfile
from collections.abc import Sequence
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

    async def outlets() -> Sequence[Outlet]:
        return [Outlet(Discord(address(Path(mode_file).read_text(), int(port))), LOUD)]  # noqa: ASYNC240 - a tiny file

    sender = BackgroundSender(outlets, refresh_seconds=0.0)
    record = store.orders.record

    async def record_and_tell(changes: Any, **how: Any) -> Any:
        done = await record(changes, **how)
        for _, order in changes:
            title = f"{order.state}: {order.side} {order.quantity} {order.symbol} {order.client_order_id}"
            sender.notify(Alert(title, order.reason or "", "info", datetime.now(UTC), ACCOUNT, side=str(order.side)))
        return done

    store.orders.record = record_and_tell  # pyright: ignore[reportAttributeAccessIssue]
    executor = Executor(ACCOUNT, store, exchange, CLOCK, OrderSettings(), "bench", notifier=sender)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, executor.stop)
    print("ready", flush=True)
    await executor.run()
    await sender.close(seconds=0.1)
    await exchange.close()
    await store.close()


async def compare(bench: Bench, mode_file: Path, fault: str, rounds: int, count: int) -> dict[str, Any]:
    """Rounds with a fault and without it in turns; the order within a pair changes, so that neither is always first."""
    medians: dict[str, list[float]] = {"healthy": [], fault: []}
    for number in range(rounds):
        for mode in ("healthy", fault) if number % 2 else (fault, "healthy"):
            mode_file.write_text(mode)  # noqa: ASYNC240 - likewise
            # The sender takes note with the next alert, and has something to fail on.
            await bench.ours([bench.order(bench.markets[0])])
            taken = [(await bench.ours([bench.order(bench.markets[n % BURST])]))[0] for n in range(count)]
            medians[mode].append(statistics.median(taken))
        await bench.clear()
    ratios = [bad / good for good, bad in zip(medians["healthy"], medians[fault], strict=True)]
    return {
        "healthy_p50_ms": round(statistics.median(medians["healthy"]) * 1000, 2),
        "fault_p50_ms": round(statistics.median(medians[fault]) * 1000, 2),
        "ratio": round(statistics.median(ratios), 3),
    }


async def main(*, quick: bool) -> None:
    """Every fault, at a round trip of 20 ms."""
    rounds, count = (3, 5) if quick else (20, 20)
    with tempfile.TemporaryDirectory(prefix="kontor-bench-notify-") as folder:
        mode_file = Path(folder) / "mode"
        mode_file.write_text("healthy")
        async with Helper("-m", "benchmarks.notify", "webhook") as server:
            port = await server.line()

            async def work(bench: Bench) -> dict[str, Any]:
                return {fault: await compare(bench, mode_file, fault, rounds, count) for fault in FAULTS}

            executor = ("-m", "benchmarks.notify", "execute", port, str(mode_file))
            results = {"enqueue_to_ack_20_ms": await with_bench(20, work, executor=executor)}
    RESULTS.parent.mkdir(exist_ok=True)
    text = json.dumps(results, indent=2)
    RESULTS.write_text(f"{text}\n")
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", nargs="?", choices=["webhook", "execute"], help=argparse.SUPPRESS)
    parser.add_argument("places", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    given = parser.parse_args()
    if given.role == "webhook":
        asyncio.run(webhook())
    elif given.role == "execute":
        asyncio.run(execute(*given.places))
    else:
        asyncio.run(main(quick=given.quick))
