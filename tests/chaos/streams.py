"""The streams' fault campaign and soak: a desk's executor and streams on a paper exchange that misbehaves on purpose.

`python -m tests.chaos.streams --minutes 4`: every fault in turn, over and over until the time is up, while orders go
through. Then everything is held against the venue's own books: an order sent twice, a fill missed, a channel that was
not fresh 5 s after a fault, a connection beyond the budget or a leak is told and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil

from kontor.config import KontorConfig
from kontor.domain.order import FINISHED, Order, OrderType, Side
from kontor.errors import KontorError
from kontor.exchange.opening import open_exchange
from kontor.exchange.streams import CcxtStreams
from kontor.execution.executor import Executor
from kontor.execution.track import track
from kontor.paper.faults import FaultRule
from kontor.paper.server import PaperServer
from kontor.paper.settings import PaperSettings
from kontor.resilience.clock import SystemClock
from kontor.resilience.connection_budget import CONNECTIONS, ConnectionBudget
from kontor.resilience.connection_gate import ConnectionGate
from kontor.store import open_store
from kontor.streams.account import AccountStreamer
from kontor.streams.freshness import load_channels
from kontor.streams.market import MarketStreamer
from kontor.streams.streamer import Streamer, StreamParts
from tasks.streams import SHARES
from tests.chaos.faults import CHANNELS, CLOSED_SECONDS, FAULTS, FRESH_WITHIN
from tests.support.streaming import ACCOUNT, SYMBOLS, closed_port, settings_of

# Between two faults: the connections of ten minutes are for ten minutes, and two rounds without a rest use them up.
CALM_SECONDS = 30.0


@dataclass
class Figures:
    """What one looks at for leaks."""

    rss_mb: float
    tasks: int
    handles: int
    sockets: int

    @classmethod
    def now(cls) -> Figures:
        process = psutil.Process()
        return cls(
            process.memory_info().rss / 1e6,
            len(asyncio.all_tasks()),
            sum(1 for _ in Path("/proc/self/fd").iterdir()),
            len(process.net_connections(kind="tcp")),
        )


@dataclass
class Campaign:
    """One desk, its venue, and what went wrong."""

    paper: PaperServer
    parts: dict[str, StreamParts]
    gates: list[ConnectionGate]
    rng: random.Random
    problems: list[str] = field(default_factory=list)
    placed: int = 0
    slowest: dict[str, float] = field(default_factory=dict)

    @property
    def any_parts(self) -> StreamParts:
        return self.parts["account"]

    async def stale(self) -> list[str]:
        parts = self.any_parts
        found = await load_channels(parts.store.desk, ACCOUNT, parts.clock.now())
        return [name for name in CHANNELS if name not in found or not found[name].is_fresh]

    async def until_fresh(self, name: str, patience: float = 30.0) -> float:
        """Seconds until every channel is fresh; a problem when that is too long."""
        began = time.monotonic()
        while left := await self.stale():
            if time.monotonic() - began > patience:
                self.problems.append(f"{name}: {', '.join(left)} still stale after {patience:.0f} s")
                break
            await asyncio.sleep(0.05)
        took = time.monotonic() - began
        self.slowest[name] = max(took, self.slowest.get(name, 0.0))
        return took

    async def suffer(self, name: str, seconds: float, rules: tuple[dict[str, Any], ...]) -> None:
        """One fault, its end, and how long the desk needs to be well again."""
        plan = self.paper.services.plan
        for rule in rules:
            seeded: dict[str, Any] = {"seed": self.rng.randrange(1000)} if "probability" in rule else {}
            plan.add(FaultRule.model_validate({**rule, **seeded}))
        for connection in list(self.paper._hub.connections):
            connection.befall()
        await asyncio.sleep(seconds)
        plan.remove()
        self.paper._injection.let_go()
        await self._recover(name)

    async def lose_the_port(self) -> None:
        """Connections that are refused before they reach the venue, REST's too: they count for nothing there."""
        before = self.paper.services.stats.connected
        async with closed_port(self.paper):
            await asyncio.sleep(CLOSED_SECONDS)
            if self.paper.services.stats.connected != before:
                self.problems.append("somebody connected to a closed port")
        await self._recover("refused connections")

    async def _recover(self, name: str) -> None:
        took = await self.until_fresh(name)
        verdict = "ok" if took <= FRESH_WITHIN else "LATE"
        if took > FRESH_WITHIN:
            self.problems.append(f"{name}: fresh only {took:.1f} s after its end")
        print(f"  {name:22} fresh {took:4.1f} s after its end   {verdict}", flush=True)

    async def place(self) -> None:
        """Small orders, market and limit, twice a second."""
        parts, numbers = self.any_parts, itertools.count(1)
        while True:
            await asyncio.sleep(0.5)
            with suppress(KontorError):
                number = next(numbers)
                order = self._order(f"soak{number:08d}")
                await parts.store.orders.enqueue([order], "soak")
                self.placed += 1
                if number % 4 == 0:
                    await parts.store.orders.request_cancel(
                        [f"soak{number - 2:08d}"], actor="soak", at=parts.clock.now()
                    )

    def _order(self, name: str) -> Order:
        ticker = self.paper.venue.ticker("BTC-USD-SWAP")
        price = (ticker.last * Decimal(str(self.rng.choice([0.95, 0.999, 1.001])))).quantize(Decimal("0.1"))
        is_market = self.rng.random() < 0.5
        return Order(
            name,
            ACCOUNT,
            "BTC/USD:USD",
            self.rng.choice([Side.BUY, Side.SELL]),
            OrderType.MARKET if is_market else OrderType.LIMIT,
            Decimal("0.01"),
            self.any_parts.clock.now(),
            price=None if is_market else price,
        )

    async def audit(self) -> None:
        """Hold our books against the venue's, once what was under way has come to rest."""
        parts = self.any_parts
        for _ in range(20):
            with suppress(KontorError):
                await track(parts)
            if not await parts.store.orders.short_of_fills(ACCOUNT):
                break
            await asyncio.sleep(1)
        doubled = {name: count for name, count in self.paper.services.stats.accepted.items() if count > 1}
        if doubled:
            self.problems.append(f"sent twice: {doubled}")
        orders = await parts.store.orders.find(ACCOUNT, limit=100_000)
        fills = await parts.store.orders.fills(ACCOUNT, limit=1_000_000)
        ours = {(fill.symbol, fill.trade_id) for fill in fills}
        venue_fills = await parts.exchange.fetch_fills("BTC/USD:USD", since=parts.clock.now().replace(year=2020))
        missed = {(fill.symbol, fill.trade_id) for fill in venue_fills} - ours
        if missed:
            self.problems.append(f"{len(missed)} fills of the venue are not in our books: {sorted(missed)[:3]}")
        finished = sum(order.state in FINISHED for order in orders)
        print(f"orders {len(orders)}, finished {finished}, fills {len(fills)} of {len(venue_fills)} at the venue")

    def count_connections(self, minutes: float) -> None:
        """No ten minutes may hold more connections than the budget."""
        moments = [at for at, _ in self.paper.services.stats.connects]
        most = max((sum(1 for at in moments if start <= at < start + 600) for start in moments), default=0)
        print(f"connections {len(moments)} in {minutes:.1f} min, most within 10 min {most} of {CONNECTIONS}")
        if most > CONNECTIONS:
            self.problems.append(f"{most} connections within 10 minutes")


@asynccontextmanager
async def campaign(home: Path, seed: int) -> AsyncIterator[Campaign]:
    """A desk at work: executor, both streams, each with a connection of its own."""
    settings = PaperSettings(
        port=0, persist=False, markets=12, tick_ms=50, price_tick_ms=200, rate_limit_factor=0, seed=seed
    )
    config = KontorConfig.model_validate(
        {"candles": {"keep": 100}, "orders": {"request_timeout_seconds": 5, "good_for_seconds": 30}}
    )
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        paper = await stack.enter_async_context(PaperServer(settings))
        store = open_store(f"sqlite:///{home}/store.db")
        stack.push_async_callback(store.close)
        await store.migrate()
        await store.market.save_watchlist(ACCOUNT, SYMBOLS, clock.now())
        parts, gates, workers = {}, [], []
        for name, kind in (("market", MarketStreamer), ("account", AccountStreamer)):
            exchange = open_exchange(settings_of(paper), clock=clock)
            stack.push_async_callback(exchange.close)
            gate = ConnectionGate(
                f"okx {name}",
                clock=clock,
                budget=ConnectionBudget(clock=clock, limit=int(CONNECTIONS * SHARES[kind.name])),
            )
            streams = CcxtStreams(settings_of(paper), clock=clock, gate=gate)
            stack.push_async_callback(streams.close)
            parts[name] = StreamParts(ACCOUNT, config, store, exchange, streams, clock)
            gates.append(gate)
            workers.append(_streaming(kind(parts[name])))
        executor = Executor(ACCOUNT, store, parts["account"].exchange, clock, config.orders, "soak")
        made = Campaign(paper, parts, gates, random.Random(seed))
        tasks = [asyncio.create_task(work) for work in (*workers, executor.run(), _tracking(parts["account"]))]
        try:
            await made.until_fresh("start")
            yield made
            for task in tasks:
                if task.done():
                    made.problems.append(f"died: {task.get_coro()} {task.exception()!r}")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _streaming(streamer: Streamer) -> None:
    await streamer.run()


async def _tracking(parts: StreamParts) -> None:
    """The safety net, as track-orders is."""
    while True:
        await asyncio.sleep(10)
        with suppress(KontorError):
            await track(parts)


async def run(minutes: float, seed: int, home: Path) -> int:
    """The campaign; returns the exit code."""
    until = time.monotonic() + minutes * 60
    async with campaign(home, seed) as made:
        placing = asyncio.create_task(made.place())
        warm: Figures | None = None
        rounds = 0
        while time.monotonic() < until or rounds == 0:
            rounds += 1
            print(f"round {rounds}", flush=True)
            await made.lose_the_port()
            for fault in FAULTS:
                await made.suffer(*fault)
                if time.monotonic() >= until and rounds > 1:
                    break
                await asyncio.sleep(CALM_SECONDS)
            now = Figures.now()
            warm = warm or now
            growth = 100 * (now.rss_mb / warm.rss_mb - 1)
            print(
                f"memory {now.rss_mb:.0f} MB ({growth:+.1f} % since the first round), tasks {now.tasks}, "
                f"file handles {now.handles}, sockets {now.sockets}",
                flush=True,
            )
        placing.cancel()
        await asyncio.gather(placing, return_exceptions=True)
        await made.audit()
        made.count_connections(minutes)
        end = Figures.now()
        if warm is not None and rounds > 1:
            if end.rss_mb > warm.rss_mb * 1.05:
                made.problems.append(f"memory grew from {warm.rss_mb:.0f} to {end.rss_mb:.0f} MB")
            if end.handles > warm.handles + 5 or end.tasks > warm.tasks + 10:
                made.problems.append(f"handles or tasks leak: {warm} -> {end}")
        problems = made.problems
    for problem in problems:
        print(f"PROBLEM {problem}", flush=True)
    print("the streams stood it" if not problems else f"{len(problems)} problems", flush=True)
    return 1 if problems else 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kontor-streams-") as folder:
        return asyncio.run(run(given.minutes, given.seed, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
