"""A campaign against the order's way: real processes, real crashes, a venue that lies; then both books are compared.

`python -m tests.chaos.campaign --orders 1000 --seed 7` prints one line, and every difference found below it.
"""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import aiohttp

from kontor.config import KontorConfig
from kontor.domain.identity import client_order_id
from kontor.domain.intent import OrderIntent
from kontor.domain.order import LIVE, OPEN, OrderState, OrderType, Side, TimeInForce
from kontor.errors import ExchangeError, KontorError
from kontor.execution.cancel import request_cancels
from kontor.execution.lease import lease_name
from kontor.execution.reconcile import reconcile
from kontor.execution.submit import place
from kontor.execution.track import track
from kontor.resilience.clock import SystemClock
from kontor.store.opening import open_store
from tests.chaos.books import Verdict, compare, read_books
from tests.chaos.executors import Spec
from tests.chaos.processes import ExecutorProcesses, VenueProcess

CREATE, CANCEL = "/api/v5/trade/batch-orders", "/api/v5/trade/cancel*"
LOOKUP, OPEN_ORDERS, FILLS = "/api/v5/trade/order", "/api/v5/trade/orders-pending", "/api/v5/trade/fills*"
PATHS = (CREATE, CREATE, CREATE, LOOKUP, LOOKUP, CANCEL, CANCEL, OPEN_ORDERS, FILLS)
KINDS = (
    "delay",
    "hang",
    "drop_before",
    "drop_after",
    "http_500",
    "http_502",
    "http_503",
    "http_429",
    "html_200",
    "truncated_json",
    "empty_body",
)
EITHER_WAY = {"hang", "http_500", "http_502", "http_503", "html_200"}


@dataclass(frozen=True)
class Plan:
    """How much of everything; a campaign ends when all of it has happened."""

    orders: int
    seed: int
    kills: int
    faults: int
    venue_restarts: int
    stops: int
    orders_per_second: float = 8.0
    seconds_per_kill: float = 2.0
    seconds_per_fault: float = 0.4


@dataclass
class Tally:
    """What has happened so far."""

    orders: int = 0
    kills: int = 0
    faults: int = 0
    venue_restarts: int = 0
    stops: int = 0
    seconds: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)

    def __str__(self) -> str:
        done = f"orders={self.orders} kills={self.kills} faults={self.faults}"
        more = f"stops={self.stops} venue_restarts={self.venue_restarts} seconds={self.seconds:.0f}"
        return f"{done} {self.verdict.figures} {more}"


class Campaign:
    """One desk, one venue, and everything that can befall them."""

    def __init__(self, plan: Plan, home: Path) -> None:
        self._plan, self._home = plan, home
        self._rng = random.Random(plan.seed)
        self.tally = Tally()
        self._venue = VenueProcess(home, markets=10, seed=plan.seed)
        self._is_raging = True

    async def run(self) -> Tally:
        """Rage, let it settle, compare."""
        began = time.monotonic()
        await self._venue.start()
        self._spec = Spec(
            store_url=f"sqlite:///{self._home / 'kontor.db'}",
            rest_url=self._venue.url,
            log_file=str(self._home / "executors.log"),
        )
        self.account, self.clock = self._spec.account, SystemClock()
        self.config = KontorConfig.model_construct(**{**dict(KontorConfig()), "orders": self._spec.settings})
        self.store = open_store(self._spec.store_url)
        await self.store.migrate()
        self.exchange = self._spec.open_exchange()
        self._executors = ExecutorProcesses(self._spec)
        try:
            await self._executors.open()
            async with aiohttp.ClientSession() as self._http:
                await self._rage()
                await self._settle()
            markets = await self.exchange.load_markets()
            await self._executors.close()
            await self._venue.stop()
            theirs, their_fills = read_books(self._venue.books, self.account, markets)
            ours = await self.store.orders.find(self.account, limit=1_000_000)
            fills = await self.store.orders.fills(self.account, limit=1_000_000)
            self.tally.verdict = compare(theirs, their_fills, ours, fills)
        finally:
            await self._executors.close()
            await self._venue.stop(signal.SIGKILL)
            await self.exchange.close()
            await self.store.close()
        self.tally.seconds = time.monotonic() - began
        return self.tally

    async def _rage(self) -> None:
        self._symbols = sorted(await self.exchange.load_markets())
        await self._executors.spawn()
        await self._executors.spawn()
        async with asyncio.TaskGroup() as tasks:
            chaos = [
                tasks.create_task(work())
                for work in (self._kill_executors, self._inject_faults, self._restart_venue, self._stop_executors)
            ]
            orders = tasks.create_task(self._place_orders())
            upkeep = tasks.create_task(self._keep_up())
            await asyncio.wait([*chaos, orders])
            upkeep.cancel()
        self._is_raging = False

    async def _place_orders(self) -> None:
        prefix = await self.store.desk.desk_prefix()
        while self.tally.orders < self._plan.orders:
            await asyncio.sleep(self._rng.expovariate(self._plan.orders_per_second))
            self.tally.orders += 1
            name = client_order_id(prefix, "chaos", self._plan.seed, self.tally.orders)
            try:
                intent = await self._intent()
                await place(self, intent, client_order_id=name, actor="chaos")
                if self._rng.random() < 0.1:
                    # A flow that is retried places the same intent again.
                    await place(self, intent, client_order_id=name, actor="chaos again")
            except ExchangeError:
                continue
            if self._rng.random() < 0.3:
                await self._cancel_some()

    async def _intent(self) -> OrderIntent:
        rng = self._rng
        symbol = rng.choice(self._symbols)
        market = (await self.exchange.load_markets())[symbol]
        ticker = (await self.exchange.fetch_tickers([symbol]))[symbol]
        assert ticker.last is not None
        side = rng.choice([Side.BUY, Side.SELL]) if market.settle else Side.BUY
        worth = Decimal(rng.choice([20, 60, 300]))
        quantity = max(worth / ticker.last, market.min_quantity)
        if rng.random() < 0.4:
            return OrderIntent(symbol, side, OrderType.MARKET, quantity)
        away = Decimal(rng.choice(["-0.01", "0.0005", "0.02"]))
        price = ticker.last * (1 - away if side is Side.BUY else 1 + away)
        force = rng.choice([TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC])
        return OrderIntent(symbol, side, OrderType.LIMIT, quantity, price=price, time_in_force=force)

    async def _cancel_some(self) -> None:
        live = await self.store.orders.find(self.account, states=OPEN, limit=50)
        chosen = [order.client_order_id for order in live if self._rng.random() < 0.3]
        if chosen:
            await request_cancels(self, actor="chaos", client_order_ids=chosen)

    async def _kill_executors(self) -> None:
        while self.tally.kills < self._plan.kills:
            await asyncio.sleep(self._rng.expovariate(1 / self._plan.seconds_per_kill))
            self._executors.kill(await self._victim())
            self.tally.kills += 1
            await self._executors.spawn()

    async def _victim(self) -> int:
        """Mostly the executor that is at work: the one that waits has nothing to lose."""
        lease = await self.store.desk.lease(lease_name(self.account))
        at_work = [pid for pid in self._executors.pids if lease is not None and f"chaos {pid}:" in lease.owner]
        return self._rng.choice(at_work if at_work and self._rng.random() < 0.8 else self._executors.pids)

    async def _stop_executors(self) -> None:
        while self.tally.stops < self._plan.stops:
            await asyncio.sleep(self._rng.uniform(2, 6))
            pid = await self._victim()
            self._executors.signal(pid, signal.SIGSTOP)
            await asyncio.sleep(self._rng.uniform(0.5, 3) * self._spec.lease_seconds)
            self._executors.signal(pid, signal.SIGCONT)
            self.tally.stops += 1

    async def _restart_venue(self) -> None:
        while self.tally.venue_restarts < self._plan.venue_restarts:
            await asyncio.sleep(self._rng.uniform(6, 12))
            await self._count_faults()
            await self._venue.restart(self._rng.choice([signal.SIGTERM, signal.SIGKILL]))
            self.tally.venue_restarts += 1

    async def _inject_faults(self) -> None:
        rng = self._rng
        while self.tally.faults < self._plan.faults:
            await asyncio.sleep(rng.expovariate(1 / self._plan.seconds_per_fault))
            kind = rng.choice(KINDS)
            rule: dict[str, object] = {"path": rng.choice(PATHS), "kind": kind, "times": rng.choice([1, 1, 2, 4])}
            if kind in EITHER_WAY:
                rule["when"] = rng.choice(["before", "after"])
            if kind in {"delay", "hang", "http_429"}:
                rule["seconds"] = rng.choice([0.3, 1.2, 2.5])
            await self._admin("POST", json=rule)
            await self._count_faults()

    async def _count_faults(self) -> None:
        """Count those that have happened, and forget them."""
        plan = await self._admin("GET")
        spent = [fault for fault in plan if fault["hits"] >= fault.get("times", 1)]
        for fault in spent:
            await self._admin("DELETE", f"/{fault['id']}")
            self.tally.faults += fault["hits"]

    async def _admin(self, method: str, path: str = "", **body: object) -> list[dict[str, int]]:
        try:
            async with self._http.request(method, f"{self._venue.url}/admin/faults{path}", **body) as reply:  # type: ignore[arg-type]
                found = await reply.json(content_type=None)
                assert reply.status == 200, found
                return found if isinstance(found, list) else found.get("faults", [])
        except aiohttp.ClientError:
            return []

    async def _keep_up(self) -> None:
        """What the desk's flows do beside the executor."""
        while True:
            await asyncio.sleep(2)
            try:
                await (reconcile(self) if self._rng.random() < 0.2 else track(self))
            except ExchangeError:
                continue

    async def _settle(self) -> None:
        """No more faults: everything has to come to its end, at the venue and here."""
        await self._count_faults()
        await self._admin("DELETE")
        await self._until(lambda: self._none({OrderState.INITIALIZED, OrderState.SUBMITTED}))
        await request_cancels(self, actor="chaos")
        await self._until(lambda: self._none(LIVE))
        for _ in range(10):
            await reconcile(self)
            if not await self.store.orders.short_of_fills(self.account):
                return
            await asyncio.sleep(1)

    async def _none(self, states: set[OrderState] | frozenset[OrderState]) -> bool:
        return not await self.store.orders.find(self.account, states=states, limit=1)

    async def _until(self, holds: Callable[[], Awaitable[bool]], seconds: float = 45) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not await holds():
            try:
                await track(self)
            except ExchangeError:
                continue
            finally:
                await asyncio.sleep(1)


def plan_of(arguments: list[str] | None = None) -> Plan:
    """The plan on the command line."""
    options = argparse.ArgumentParser(prog="python -m tests.chaos.campaign", description=__doc__)
    options.add_argument("--orders", type=int, default=1000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--kills", type=int, help="default: as many as orders")
    options.add_argument("--faults", type=int, help="default: as many as orders")
    given = options.parse_args(arguments)
    return Plan(
        orders=given.orders,
        seed=given.seed,
        kills=given.orders if given.kills is None else given.kills,
        faults=given.orders if given.faults is None else given.faults,
        venue_restarts=max(given.orders // 50, 1),
        stops=max(given.orders // 20, 2),
        orders_per_second=0.5 if given.kills is None else 8.0,
    )


def main() -> int:
    """Run a campaign; 0 when both books agree."""
    with tempfile.TemporaryDirectory(prefix="kontor-chaos-") as home:
        campaign = Campaign(plan_of(), Path(home))
        try:
            tally = asyncio.run(campaign.run())
        except KontorError as error:
            print(f"the campaign could not be run: {error}", file=sys.stderr)
            return 2
        print(tally)
        verdict = tally.verdict
        for name in ("lost", "duplicated", "untracked", "stuck"):
            for sentence in getattr(verdict, name):
                print(f"  {name}: {sentence}")
        if not verdict.is_clean:
            kept = Path(tempfile.mkdtemp(prefix="kontor-chaos-kept-"))
            for file in Path(home).iterdir():
                file.rename(kept / file.name)
            print(f"  logs and books: {kept}")
        return 0 if verdict.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
