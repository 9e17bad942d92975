"""A whole desk under faults for an hour or more: server, paper exchange, both workers, streams, executor, updaters.

`python -m tests.chaos.desk_soak --minutes 60`: `kontor up` on a home and ports of its own; then every fault in turn,
over and over, while orders are placed through Prefect and through the store. These are told, and make the exit code 1:
a process that died, a channel that was stale 5 s after a fault, too many connections, an order sent twice, a fill
missed, memory that grew by 5 % after the warm-up, tasks, sockets or file handles that leaked.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from kontor.domain.order import FINISHED, Order, OrderType, Side
from kontor.errors import KontorError
from kontor.exchange.opening import open_exchange
from kontor.ports import Exchange, ExchangeSettings, Store
from kontor.resilience.clock import SystemClock
from kontor.store.opening import open_store
from kontor.streams.freshness import load_channels
from tests.chaos.desk_grounds import DeskGrounds
from tests.chaos.faults import CHANNELS, FAULTS, FRESH_WITHIN, Fault
from tests.chaos.watcher import Judge, Watcher
from tests.support.desk import RunningDesk

ACCOUNT, SYMBOL = "paper", "BTC/USD:USD"
SAMPLE_SECONDS, CENSUS_SECONDS = 15.0, 120.0
# What a desk fills its caches with; longer soaks warm up for a quarter of their time.
WARM_SECONDS = 900.0
CONNECTIONS = 150
QUEUES = ("updates", "orders")
# Between two faults: without a rest the faults alone would use up every connection that may be opened in 10 minutes.
CALM_SECONDS = 90.0


@dataclass
class Soak:
    """The desk, its venue and store, and what went wrong."""

    desk: RunningDesk
    store: Store
    exchange: Exchange
    watcher: Watcher
    census_file: Path
    rng: random.Random
    clock: SystemClock = field(default_factory=SystemClock)
    problems: list[str] = field(default_factory=list)
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    placed: Counter[str] = field(default_factory=Counter)
    missed_requests: int = 0
    # Of client order ids; another soak of the same desk needs another one.
    prefix: str = "soak"

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the operator's side of the paper exchange."""
        url = f"http://127.0.0.1:{self.desk.paper_port}/admin/{path}"
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            return (await client.request(method, url, json=body)).raise_for_status().json()

    async def until_fresh(self, name: str, patience: float = 60.0) -> float:
        """Seconds until every channel is fresh; a problem when that is too long."""
        began = time.monotonic()
        while stale := await self._stale():
            if time.monotonic() - began > patience:
                self.problems.append(f"{name}: {', '.join(stale)} still stale after {patience:.0f} s")
                break
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def _stale(self) -> list[str]:
        found = await load_channels(self.store.desk, ACCOUNT, self.clock.now())
        return [name for name in CHANNELS if name not in found or not found[name].is_fresh]

    async def suffer(self, fault: Fault) -> None:
        """One fault, its end, and how long the desk needs to be well again."""
        name, seconds, rules = fault
        for rule in rules:
            seeded: dict[str, Any] = {"seed": self.rng.randrange(1000)} if "probability" in rule else {}
            await self.admin("POST", "faults", {**rule, **seeded})
        await asyncio.sleep(seconds)
        await self.admin("DELETE", "faults")
        took = await self.until_fresh(name)
        self.took[name].append(took)
        print(f"  {name:22} fresh {took:4.1f} s after its end", flush=True)
        if took > FRESH_WITHIN:
            self.problems.append(f"{name}: fresh only {took:.1f} s after its end")

    async def place(self) -> None:
        """Small orders every two seconds; each tenth as a user places it, through Prefect."""
        number = 0
        while True:
            await asyncio.sleep(2)
            number += 1
            side = self.rng.choice([Side.BUY, Side.SELL])
            try:
                if number % 10 == 0:
                    parameters = {"symbol": SYMBOL, "side": side.value, "quantity": 0.01, "order_type": "market"}
                    await asyncio.to_thread(self.desk.start, "place-order/paper", **parameters)
                    self.placed["by Prefect"] += 1
                else:
                    await self._enqueue(number, side)
                    self.placed["by the store"] += 1
            except (KontorError, httpx.HTTPError) as error:
                self.missed_requests += 1
                print(f"  not placed: {type(error).__name__}: {error}", flush=True)

    async def _enqueue(self, number: int, side: Side) -> None:
        ticker = (await self.store.market.tickers(ACCOUNT, [SYMBOL])).get(SYMBOL)
        is_limit = number % 3 == 0 and ticker is not None and ticker.last is not None
        away = Decimal("0.995") if side is Side.BUY else Decimal("1.005")
        price = (ticker.last * away).quantize(Decimal("0.1")) if is_limit and ticker and ticker.last else None
        kind = OrderType.LIMIT if price is not None else OrderType.MARKET
        name = f"{self.prefix}{number:08d}"
        order = Order(name, ACCOUNT, SYMBOL, side, kind, Decimal("0.01"), self.clock.now(), price=price)
        await self.store.orders.enqueue([order], "soak")
        if number % 9 == 0:
            await self.store.orders.request_cancel(
                [f"{self.prefix}{number - 6:08d}"], actor="soak", at=self.clock.now()
            )

    async def watch(self) -> None:
        """Samples from outside, and now and then a census from inside each worker."""
        counted_at = float("-inf")
        while True:
            await asyncio.to_thread(self.watcher.look)
            if time.monotonic() - counted_at >= CENSUS_SECONDS:
                counted_at = time.monotonic()
                for queue in QUEUES:
                    with suppress(httpx.HTTPError):
                        await asyncio.to_thread(self.desk.start, f"census/{queue}", file=str(self.census_file))
            await asyncio.sleep(SAMPLE_SECONDS)

    def tell(self, title: str) -> None:
        """One line about every process."""
        parts = [
            f"{name} {samples[-1].rss_mb:.0f} MB {samples[-1].handles} handles"
            for name, samples in self.watcher.samples.items()
            if samples
        ]
        print(f"{time.strftime('%H:%M:%S')} {title}: {'; '.join(parts)}", flush=True)

    async def audit(self) -> None:
        """Hold the desk's books against the venue's."""
        since = self.clock.now().replace(year=2020)
        for _ in range(60):
            if not await self.store.orders.short_of_fills(ACCOUNT):
                break
            await asyncio.sleep(1)
        stats = await self.admin("GET", "stats")
        doubled = {name: count for name, count in stats["accepted_by_client_id"].items() if count > 1}
        if doubled:
            self.problems.append(f"sent twice: {doubled}")
        fills = await self.store.orders.fills(ACCOUNT, limit=1_000_000)
        ours = {(fill.symbol, fill.trade_id) for fill in fills}
        theirs = await self.exchange.fetch_fills(SYMBOL, since=since)
        missed = {(fill.symbol, fill.trade_id) for fill in theirs} - ours
        if missed:
            self.problems.append(f"{len(missed)} fills of the venue are not in our books: {sorted(missed)[:3]}")
        orders = await self.store.orders.find(ACCOUNT, limit=1_000_000)
        finished = sum(order.state in FINISHED for order in orders)
        print(f"orders {len(orders)}, finished {finished}, fills {len(fills)} of {len(theirs)} at the venue")
        print("states", dict(Counter(order.state.value for order in orders)))
        moments = [each["at"] for each in stats["websockets"]["connects"]]
        most = max((sum(1 for at in moments if start <= at < start + 600) for start in moments), default=0)
        print(f"connections {len(moments)}, most within 10 min {most} of {CONNECTIONS}")
        if most > CONNECTIONS:
            self.problems.append(f"{most} connections within 10 minutes")


class SoakGrounds(DeskGrounds):
    """The desk of the other campaigns as users have it: real leases, and a flow of ours that counts tasks."""

    def settings(self, text: str) -> str:
        return text

    def prepare(self, project: Path) -> None:
        shutil.copy(Path(__file__).with_name("census.py"), project)
        entrypoint = f"{project / 'census.py'}:census"
        deployments = "".join(
            f"\n  - name: {queue}\n    entrypoint: {entrypoint}\n    parameters: {{account: paper}}\n"
            f"    work_pool: *{queue}\n    tags: [ad-hoc]\n"
            for queue in QUEUES
        )
        file = project / "prefect.yaml"
        file.write_text(file.read_text(encoding="utf-8") + deployments, encoding="utf-8")


@asynccontextmanager
async def soaking(home: Path, seed: int) -> AsyncIterator[Soak]:
    """A desk that is up, and hands on its venue and its store."""
    grounds, clock = SoakGrounds(home), SystemClock()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(grounds.stop)
        await grounds.start()
        spec = grounds.spec
        store = open_store(spec.store_url)
        stack.push_async_callback(store.close)
        assert spec.key is not None
        key, secret, passphrase = spec.key
        urls = {"rest": spec.rest_url, "ws": spec.rest_url.replace("http", "ws") + "/ws/v5"}
        exchange = open_exchange(
            ExchangeSettings("okx", ACCOUNT, api_key=key, secret=secret, password=passphrase, urls=urls), clock=clock
        )
        stack.push_async_callback(exchange.close)
        watcher = Watcher(grounds.desk)
        yield Soak(grounds.desk, store, exchange, watcher, home / "census.jsonl", random.Random(seed))


async def run(minutes: float, seed: int, home: Path) -> int:
    """The soak; returns the exit code."""
    async with soaking(home, seed) as soak:
        print(f"{time.strftime('%H:%M:%S')} the desk is up", flush=True)
        return await suffer(soak, minutes)


async def suffer(soak: Soak, minutes: float) -> int:
    """Faults and orders for so long, and then the verdict."""
    print(f"every channel is fresh after {await soak.until_fresh('start', 120):.1f} s", flush=True)
    began = time.monotonic()
    until, warm_at = began + minutes * 60, began + min(WARM_SECONDS, minutes * 15)
    chores = [asyncio.create_task(soak.place()), asyncio.create_task(soak.watch())]
    rounds = 0
    while time.monotonic() < until:
        rounds += 1
        for fault in FAULTS:
            if time.monotonic() < until:
                await soak.suffer(fault)
                await asyncio.sleep(min(CALM_SECONDS, max(until - time.monotonic(), 0)))
        soak.tell(f"round {rounds}, {(time.monotonic() - began) / 60:.0f} min")
    chores[0].cancel()
    # What is under way comes to rest before the last look.
    await asyncio.sleep(SAMPLE_SECONDS)
    await soak.audit()
    for chore in chores:
        chore.cancel()
    for ended in await asyncio.gather(*chores, return_exceptions=True):
        if isinstance(ended, Exception):
            soak.problems.append(f"a chore of the soak ended: {ended!r}")
    print(f"{minutes:.0f} minutes, {rounds} rounds; placed {dict(soak.placed)}, not placed {soak.missed_requests}")
    for name, times in soak.took.items():
        print(f"  {name:22} fresh after {statistics.median(times):4.1f} s, at most {max(times):4.1f} s")
    problems = [*soak.problems, *Judge(soak.watcher, soak.census_file).problems(warm_at)]
    for problem in problems:
        print(f"PROBLEM {problem}", flush=True)
    print("the desk stood it" if not problems else f"{len(problems)} problems", flush=True)
    return 1 if problems else 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kontor-soak-") as folder:
        return asyncio.run(_stoppable(run(given.minutes, given.seed, Path(folder))))


async def _stoppable(work: Coroutine[Any, Any, int]) -> int:
    """A soak that is told to end puts its desk away first."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


if __name__ == "__main__":
    sys.exit(main())
