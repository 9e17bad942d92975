"""What exactly-once costs: our durable way of an order against a bare ccxt `create_order` on the same paper exchange.

    python benchmarks/orders.py [--quick]

The executor and the candle refresh run in processes of their own, as on a desk; orders are enqueued from a third, on
SQLite. Prints one JSON object and writes it to benchmarks/results/orders.json. Ratios are ours / bare in the same run.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import ccxt.async_support as ccxt

from deployments.lineup import NICENESS
from kontor.config import OrderSettings
from kontor.domain.market import Market
from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.exchange.opening import open_exchange
from kontor.execution.executor import Executor
from kontor.ports import Exchange, ExchangeSettings, Store
from kontor.resilience.clock import SystemClock
from kontor.store import open_store

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "orders.json"
ACCOUNT = "paper"
BURST = 20
UNANSWERED = frozenset({OrderState.INITIALIZED, OrderState.SUBMITTED})
CLOCK = SystemClock()


def settings(url: str) -> ExchangeSettings:
    """The paper exchange's own account."""
    return ExchangeSettings(
        exchange_id="okx",
        account=ACCOUNT,
        api_key=f"{ACCOUNT}-key",
        secret=f"{ACCOUNT}-secret",
        password=f"{ACCOUNT}-passphrase",
        urls={"rest": url, "ws": url.replace("http", "ws") + "/ws/v5"},
        requests_per_second=5000,
    )


async def execute(url: str, store_url: str) -> None:
    """The process that executes orders, until it is told to stop."""
    store, exchange = open_store(store_url), open_exchange(settings(url), clock=CLOCK)
    await exchange.load_markets()
    executor = Executor(ACCOUNT, store, exchange, CLOCK, OrderSettings(), "bench")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, executor.stop)
    print("ready", flush=True)
    await executor.run()
    await exchange.close()
    await store.close()


async def refresh(url: str, store_url: str) -> None:
    """The process of the updaters: 200 markets x 1000 candles, over and over, into the same store.

    It gives way as the worker of the updates does that `kontor up` starts.
    """
    os.nice(NICENESS["updates"])
    store, exchange = open_store(store_url), open_exchange(settings(url), clock=CLOCK)
    symbols = sorted(await exchange.load_markets())[:200]
    slots = asyncio.Semaphore(10)

    async def one(symbol: str) -> None:
        async with slots:
            candles = await exchange.fetch_candles(symbol, "1m", limit=1000)
            await store.market.save_candles(ACCOUNT, "1m", {symbol: candles})

    print("ready", flush=True)
    while True:
        await asyncio.gather(*(one(symbol) for symbol in symbols))


class Helper:
    """A process of the benchmark; `line` waits for the first thing it says."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
        )

    async def line(self) -> str:
        assert self.process.stdout
        return (await asyncio.to_thread(self.process.stdout.readline)).strip()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            await asyncio.to_thread(self.process.communicate, timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


@dataclass
class Bench:
    """A venue with some round trip, a bare client of it, and our store with its executor at work."""

    url: str
    bare: Any
    exchange: Exchange
    store: Store
    store_url: str
    markets: Sequence[Market]
    prices: dict[str, Decimal]
    made: int = 0

    def order(self, market: Market) -> Order:
        """A limit order that rests far below the price."""
        self.made += 1
        price = market.round_price(self.prices[market.symbol] * Decimal("0.95"))
        smallest = max(market.min_quantity, market.quantity_step)
        now = CLOCK.now()
        return Order(
            client_order_id=f"bench{int(now.timestamp() * 1000)}n{self.made}",
            account=ACCOUNT,
            symbol=market.symbol,
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            quantity=smallest,
            created_at=now,
            price=price,
            good_until=now + timedelta(minutes=5),
        )

    async def ours(self, orders: Sequence[Order]) -> list[float]:
        """Seconds from the call of enqueue to the venue's answer, for each order."""
        began = CLOCK.now()
        await self.store.orders.enqueue(orders, "bench")
        # Nothing is read before something has been committed: this process must not compete with those it measures.
        while await self.store.orders.find(ACCOUNT, states=UNANSWERED, limit=1):
            await self.store.orders.wait_for_change(ACCOUNT, seconds=1)
        return [(await self._answered_at(order) - began).total_seconds() for order in orders]

    async def _answered_at(self, order: Order) -> datetime:
        """When the executor had the venue's answer in hand."""
        events = await self.store.orders.events(order.client_order_id)
        return next(event.at for event in events if event.new_state not in UNANSWERED)

    async def bare_create(self, order: Order) -> float:
        """Seconds that one bare create takes."""
        began = time.perf_counter()
        contracts = float(order.quantity / next(m.contract_size for m in self.markets if m.symbol == order.symbol))
        assert order.price is not None
        await self.bare.create_order(order.symbol, "limit", "buy", contracts, float(order.price))
        return time.perf_counter() - began

    async def clear(self) -> None:
        """Cancel everything, so that margin and lists stay small."""
        for report in await self.exchange.fetch_open_orders():
            await self.exchange.cancel_order(report.symbol, venue_order_id=report.venue_order_id)


def figures(values: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile in milliseconds."""
    ordered = sorted(values)
    return {
        "p50_ms": round(statistics.median(ordered) * 1000, 2),
        "p99_ms": round(ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)] * 1000, 2),
    }


def ratio(ours: dict[str, float], bare: dict[str, float], name: str) -> float:
    """Ours / bare."""
    return round(ours[name] / bare[name], 2)


@asynccontextmanager
async def venue(rtt_ms: int, *, niceness: int = 0) -> AsyncGenerator[str]:
    """A paper exchange as a process, by its address."""
    options = ("--port", "0", "--no-persist", "--markets", "220", "--rate-limit-factor", "0")
    with tempfile.TemporaryDirectory(prefix="kontor-bench-") as home:
        async with Helper("-m", "kontor.paper", *options, "--rtt-ms", str(rtt_ms), "--home", home) as paper:
            os.setpriority(os.PRIO_PROCESS, paper.process.pid, niceness)
            yield (await paper.line()).split()[-1]


async def with_bench(
    rtt_ms: int,
    work: Callable[[Bench], Awaitable[dict[str, Any]]],
    *,
    executor: Sequence[str] = (__file__, "execute"),
) -> dict[str, Any]:
    """Set everything up for one round-trip time, and take it down again."""
    async with AsyncExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="kontor-bench-"))
        url = await stack.enter_async_context(venue(rtt_ms))
        store_url = f"sqlite:///{home}/kontor.db"
        store = open_store(store_url)
        stack.push_async_callback(store.close)
        await store.migrate()
        exchange = open_exchange(settings(url), clock=CLOCK)
        stack.push_async_callback(exchange.close)
        keys = {"apiKey": "paper-sub-key", "secret": "paper-sub-secret", "password": "paper-sub-passphrase"}
        config: Any = {**keys, "urls": {"api": {"rest": url}}, "enableRateLimit": False}
        bare = ccxt.okx(config)
        stack.push_async_callback(bare.close)
        await bare.load_markets()
        markets = [m for m in (await exchange.load_markets()).values() if m.settle]
        tickers = await exchange.fetch_tickers()
        prices = {symbol: ticker.last for symbol, ticker in tickers.items() if ticker.last is not None}
        process = await stack.enter_async_context(Helper(*executor, url, store_url))
        assert await process.line() == "ready"
        cheap = sorted(markets, key=lambda m: prices[m.symbol] * max(m.min_quantity, m.quantity_step))
        bench = Bench(url, bare, exchange, store, store_url, cheap, prices)
        for _ in range(3):
            await bench.ours([bench.order(cheap[0])])
            await bench.bare_create(bench.order(cheap[0]))
        return await work(bench)


async def latency(bench: Bench, count: int) -> dict[str, Any]:
    """One order at a time, ours and bare taking turns."""
    ours: list[float] = []
    bare: list[float] = []
    for number in range(count):
        market = bench.markets[number % BURST]
        ours += await bench.ours([bench.order(market)])
        bare.append(await bench.bare_create(bench.order(market)))
    mine, theirs = figures(ours), figures(bare)
    ratios = {"p50_ratio": ratio(mine, theirs, "p50_ms"), "p99_ratio": ratio(mine, theirs, "p99_ms")}
    return {"ours": mine, "bare": theirs, **ratios}


async def burst(bench: Bench, rounds: int) -> dict[str, Any]:
    """20 orders over 20 symbols at once, until the last is answered."""
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(rounds):
        ours.append(max(await bench.ours([bench.order(market) for market in bench.markets[:BURST]])))
        began = time.perf_counter()
        await asyncio.gather(*(bench.bare_create(bench.order(market)) for market in bench.markets[:BURST]))
        bare.append(time.perf_counter() - began)
        await bench.clear()
    mine, theirs = figures(ours), figures(bare)
    return {"ours": mine, "bare_gather": theirs, "p50_ratio": ratio(mine, theirs, "p50_ms")}


async def sustained(bench: Bench, count: int) -> dict[str, Any]:
    """Durable orders a second with a full queue, against bare creates one after the other."""
    symbols = bench.markets[:100]
    durations = await bench.ours([bench.order(symbols[number % len(symbols)]) for number in range(count)])
    ours = count / max(durations)
    few = min(count, 100)
    began = time.perf_counter()
    for number in range(few):
        await bench.bare_create(bench.order(symbols[number % len(symbols)]))
    bare = few / (time.perf_counter() - began)
    return {"ours_per_second": round(ours, 1), "bare_per_second": round(bare, 1), "ratio": round(ours / bare, 1)}


async def beside_refresh(bench: Bench, count: int) -> dict[str, Any]:
    """Latency while the updaters' process fetches and stores 200 markets x 1000 candles, by where they come from.

    A real venue serves candles and orders with different machines, and never with ours: there a process of its own
    does, which takes only what processor time nobody else wants. With one paper exchange for both, its own queue is
    measured too; bare creates beside it tell how much that is.
    """
    async with venue(20, niceness=19) as candles:
        apart = await _beside(bench, candles, count)
    return {"candles_from_another_venue": apart, "candles_from_the_same_venue": await _beside(bench, bench.url, count)}


async def _beside(bench: Bench, candles: str, count: int) -> dict[str, Any]:
    quiet = await latency(bench, count)
    async with Helper(__file__, "refresh", candles, bench.store_url) as updaters:
        assert await updaters.line() == "ready"
        await asyncio.sleep(1)
        busy = await latency(bench, count)
    mine = {"quiet": quiet["ours"], "during_refresh": busy["ours"]}
    theirs = {"quiet": quiet["bare"], "during_refresh": busy["bare"]}
    return {
        **mine,
        "p99_ratio": ratio(busy["ours"], quiet["ours"], "p99_ms"),
        "bare": {**theirs, "p99_ratio": ratio(busy["bare"], quiet["bare"], "p99_ms")},
    }


async def main(*, quick: bool) -> None:
    count, rounds, many = (20, 3, 200) if quick else (200, 20, 2000)

    async def at_20_ms(bench: Bench) -> dict[str, Any]:
        found = {"enqueue_to_ack_20_ms": await latency(bench, count), "burst_20_ms": await burst(bench, rounds)}
        found["sustained_20_ms"] = await sustained(bench, many)
        await bench.clear()
        found["beside_candle_refresh_20_ms"] = await beside_refresh(bench, count)
        return found

    async def at_0_ms(bench: Bench) -> dict[str, Any]:
        return {"enqueue_to_ack_0_ms": await latency(bench, count)}

    results = await with_bench(20, at_20_ms) | await with_bench(0, at_0_ms)
    RESULTS.parent.mkdir(exist_ok=True)
    text = json.dumps(results, indent=2)
    RESULTS.write_text(f"{text}\n")
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", nargs="?", choices=["execute", "refresh"], help=argparse.SUPPRESS)
    parser.add_argument("url", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("store_url", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    given = parser.parse_args()
    if given.role:
        asyncio.run({"execute": execute, "refresh": refresh}[given.role](given.url, given.store_url))
    else:
        asyncio.run(main(quick=given.quick))
