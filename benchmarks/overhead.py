"""What being looked at costs an order: enqueue to ack with metrics and page, against the same without.

    python -m benchmarks overhead [--quick]

With: the executor's process serves its figures, the page's process serves a browser that is connected and its own
figures, and both are scraped every second, fifteen times as often as a Prometheus does. Without: none of them runs (the
page and who looks at it are stopped by signal, the executor's endpoint is closed). Both take turns in one run;
the figure is the median of the rounds' ratios of medians. Prints one JSON object and writes it to
benchmarks/results/overhead.json.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from benchmarks.orders import ACCOUNT, BURST, CLOCK, Bench, Helper, settings, with_bench
from deployments.credentials import make_auth, read_auth
from deployments.exposure import Exposure
from deployments.home import Home
from deployments.lineup import NICENESS
from deployments.metrics.endpoint import new_registry, serving, targets
from deployments.metrics.resources import ResourcesCollector
from deployments.metrics.runs import RunFigures
from deployments.project import Project
from kontor.config import OrderSettings
from kontor.exchange.opening import open_exchange
from kontor.execution.executor import Executor
from kontor.store import open_store

RESULTS = Path(__file__).parent / "results" / "overhead.json"
SCRAPE_SECONDS = 1.0
# What was stopped has to get going again, and what goes on has to have stopped.
SETTLE_SECONDS = 0.3
ON, OFF = signal.SIGUSR1, signal.SIGUSR2


async def execute(folder: str, url: str, store_url: str) -> None:
    """The process that executes orders until it is told to stop, and serves its figures between two signals."""
    store, exchange = open_store(store_url), open_exchange(settings(url), clock=CLOCK)
    await exchange.load_markets()
    executor = Executor(ACCOUNT, store, exchange, CLOCK, OrderSettings(), "bench")
    loop = asyncio.get_running_loop()
    registry = new_registry()
    registry.register(ResourcesCollector(loop))
    RunFigures(registry)
    home = Home(Path(store_url.removeprefix("sqlite:///")).parent)
    with contextlib.ExitStack() as endpoint:

        def serve() -> None:
            endpoint.close()
            endpoint.enter_context(serving(home.metrics, "orders", registry))

        loop.add_signal_handler(ON, serve)
        loop.add_signal_handler(OFF, endpoint.close)
        loop.add_signal_handler(signal.SIGTERM, executor.stop)
        Path(folder, "executor").write_text(str(os.getpid()))  # noqa: ASYNC240 - a tiny file
        print("ready", flush=True)
        await executor.run()
    await exchange.close()
    await store.close()


async def page(home: str) -> None:
    """The page's process, as `kontor up` starts it."""
    from deployments.page import serve_page

    os.nice(NICENESS["page"])
    await serve_page(Home(Path(home)), Project.find(), Exposure(), 0)


async def look(url: str, home: str, symbol: str) -> None:
    """A browser that looks at a market, and a Prometheus that asks every process, for as long as they are let."""
    there = Home(Path(home))
    jar, origin = aiohttp.CookieJar(unsafe=True), {"Origin": url}
    async with aiohttp.ClientSession(cookie_jar=jar, trust_env=False) as session:
        await session.post(f"{url}/login", data={"password": read_auth(there)}, headers=origin)
        live = await session.ws_connect(f"{url}/live?account={ACCOUNT}&symbol={symbol}", headers=origin, max_msg_size=0)
        assert (await live.receive_json())["kind"] == "hello"

        async def scrape() -> None:
            while True:
                for target in targets(there.metrics):
                    with contextlib.suppress(aiohttp.ClientError):
                        async with session.get(target.url) as answer:
                            await answer.read()
                await asyncio.sleep(SCRAPE_SECONDS)

        scraping = asyncio.create_task(scrape())
        print("ready", flush=True)
        async for _ in live:
            pass
        scraping.cancel()


class Onlookers:
    """All that looks at an order, switched on and off together."""

    def __init__(self, executor: int, *others: Helper) -> None:
        self._executor, self._others = executor, others

    async def switch(self, *, on: bool) -> None:
        """Let them look, or not."""
        os.kill(self._executor, ON if on else OFF)
        for each in self._others:
            assert each.process.poll() is None, "who looks has ended"
            each.process.send_signal(signal.SIGCONT if on else signal.SIGSTOP)
        await asyncio.sleep(SETTLE_SECONDS)


async def rest_candles(bench: Bench) -> None:
    """As many candles as a desk keeps, so that the page has something to read."""
    now = CLOCK.now().timestamp() * 1000 // 60_000 * 60_000
    rows = np.ones((1000, 6))
    rows[:, 0] = now - 60_000 * np.arange(1000)[::-1]
    await bench.store.market.save_candles(ACCOUNT, "1m", {m.symbol: rows for m in bench.markets[:BURST]})
    for minute in range(500):
        at = CLOCK.now() - timedelta(minutes=minute)
        await bench.store.account.save_equity(ACCOUNT, bench.prices[bench.markets[0].symbol], at)


async def compare(bench: Bench, onlookers: Onlookers, rounds: int, count: int) -> dict[str, Any]:
    """Rounds with and without them in turns; the order within a pair changes, so that neither is always first."""
    medians: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds):
        for on in (True, False) if number % 2 else (False, True):
            await onlookers.switch(on=on)
            await bench.ours([bench.order(bench.markets[0])])
            taken = [(await bench.ours([bench.order(bench.markets[n % BURST])]))[0] for n in range(count)]
            medians[on].append(statistics.median(taken))
        await bench.clear()
    await onlookers.switch(on=True)
    ratios = [seen / unseen for seen, unseen in zip(medians[True], medians[False], strict=True)]
    return {
        "without_p50_ms": round(statistics.median(medians[False]) * 1000, 2),
        "with_p50_ms": round(statistics.median(medians[True]) * 1000, 2),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": {"lowest": round(min(ratios), 3), "highest": round(max(ratios), 3), "rounds": rounds},
    }


async def main(*, quick: bool) -> None:
    """At a round trip of 20 ms, and with an exchange that answers at once."""
    rounds, count = (3, 5) if quick else (30, 20)
    with tempfile.TemporaryDirectory(prefix="kontor-bench-overhead-") as folder:

        async def work(bench: Bench) -> dict[str, Any]:
            home = Home(Path(bench.store_url.removeprefix("sqlite:///")).parent)
            make_auth(home)
            await rest_candles(bench)
            async with Helper("-m", "benchmarks.overhead", "page", str(home.path)) as server:
                url = (await server.line()).split()[-1]
                symbol = bench.markets[0].symbol
                async with Helper("-m", "benchmarks.overhead", "look", url, str(home.path), symbol) as browser:
                    assert await browser.line() == "ready"
                    executor = int(Path(folder, "executor").read_text())  # noqa: ASYNC240 - a tiny file
                    return await compare(bench, Onlookers(executor, server, browser), rounds, count)

        executor = ("-m", "benchmarks.overhead", "execute", folder)
        results = {
            "enqueue_to_ack_20_ms": await with_bench(20, work, executor=executor),
            "enqueue_to_ack_0_ms": await with_bench(0, work, executor=executor),
        }
    RESULTS.parent.mkdir(exist_ok=True)
    text = json.dumps(results, indent=2)
    RESULTS.write_text(f"{text}\n")
    print(text)


ROLES: dict[str, Any] = {"execute": execute, "page": page, "look": look}


def run_role(role: str, places: Sequence[str]) -> None:
    """Be one of the processes."""
    asyncio.run(ROLES[role](*places))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", nargs="?", choices=sorted(ROLES), help=argparse.SUPPRESS)
    parser.add_argument("places", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    given = parser.parse_args()
    if given.role:
        run_role(given.role, given.places)
    else:
        asyncio.run(main(quick=given.quick))
