"""A campaign against the order's way: real processes, real crashes, a venue that lies; then both books are compared.

`python -m tests.chaos.campaign --orders 1000 --seed 7` prints one line, and every difference found below it.
"""

import asyncio
import logging
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import aiohttp

from kontor.config import KontorConfig
from kontor.domain.identity import client_order_id
from kontor.domain.intent import OrderIntent
from kontor.domain.order import LIVE, OPEN, OrderState, OrderType, Side, TimeInForce
from kontor.errors import ExchangeError, KontorError
from kontor.execution.cancel import request_cancels
from kontor.execution.reconcile import reconcile
from kontor.execution.submit import place
from kontor.execution.track import track
from kontor.resilience.clock import SystemClock
from kontor.store.opening import open_store
from tests.chaos.books import compare, read_books
from tests.chaos.desk_grounds import DeskGrounds
from tests.chaos.grounds import BareGrounds, Grounds
from tests.chaos.plan import Plan, Tally, read_options
from tests.chaos.wire import Wire

# How many orders may wait or rest at once: with more, an executor that never lives long would only ever catch up.
MOST_OPEN = 40


class Campaign:
    """One desk, one venue, and everything that can befall them."""

    def __init__(self, plan: Plan, grounds: Grounds) -> None:
        self._plan, self._grounds = plan, grounds
        self._rng = random.Random(plan.seed)
        self.tally = Tally()

    async def run(self) -> Tally:
        """Rage, let it settle, compare."""
        began = time.monotonic()
        try:
            await self._grounds.start()
            await self._open()
            try:
                async with aiohttp.ClientSession() as http:
                    self._wire = Wire(self._rng, http, self._spec.rest_url)
                    await self._rage()
                    await self._settle()
                markets = await self.exchange.load_markets()
                await self._grounds.stop()
                theirs, their_fills = read_books(self._grounds.books, self.account, markets)
                ours = await self.store.orders.find(self.account, limit=1_000_000)
                fills = await self.store.orders.fills(self.account, limit=1_000_000)
                self.tally.at_venue, self.tally.fills = len(theirs), len(their_fills)
                self.tally.verdict = compare(theirs, their_fills, ours, fills)
                # Nobody but this desk trades here: whatever seems to come from outside was booked wrongly.
                moves = await self.store.account.outside_moves(self.account)
                self.tally.verdict.untracked.extend(map(str, moves))
            finally:
                await self.exchange.close()
                await self.store.close()
        finally:
            await self._grounds.stop()
        self.tally.seconds = time.monotonic() - began
        return self.tally

    async def _open(self) -> None:
        self._spec = self._grounds.spec
        self.account, self.clock = self._spec.account, SystemClock()
        self.config = KontorConfig.model_construct(**{**dict(KontorConfig()), "orders": self._spec.settings})
        self.store = open_store(self._spec.store_url)
        await self.store.migrate()
        self.exchange = self._spec.open_exchange()
        self._symbols = sorted(await self.exchange.load_markets())
        # The baseline of holdings, so that the end can be held against it.
        await reconcile(self)

    @property
    def _is_enough(self) -> bool:
        done, plan = self.tally, self._plan
        return done.orders >= plan.orders and done.kills >= plan.kills and done.faults >= plan.faults

    async def _rage(self) -> None:
        """Everything at once, with orders flowing until the last of it has happened."""
        async with asyncio.TaskGroup() as tasks:
            works = (self._kill_executors, self._inject_faults, self._restart_venue, self._stop_executors)
            for work in (*works, self._place_orders):
                tasks.create_task(work())
            upkeep = tasks.create_task(self._keep_up())
            while not self._is_enough:  # noqa: ASYNC110 - a poll of counters, not of an event
                await asyncio.sleep(0.2)
            upkeep.cancel()

    async def _place_orders(self) -> None:
        prefix = await self.store.desk.desk_prefix()
        number = 0
        while not self._is_enough:
            await asyncio.sleep(self._rng.expovariate(self._plan.orders_per_second))
            if len(await self.store.orders.find(self.account, states=OPEN, limit=MOST_OPEN)) < MOST_OPEN:
                number += 1
                await self._place(client_order_id(prefix, "chaos", self._plan.seed, number))
            if self._rng.random() < 0.25:
                await self._cancel_some()

    async def _place(self, name: str) -> None:
        try:
            intent = await self._intent()
            await place(self, intent, client_order_id=name, actor="chaos")
            if self._rng.random() < 0.1:
                # A flow that is retried places the same intent again.
                await place(self, intent, client_order_id=name, actor="chaos again")
        except ExchangeError:
            return
        self.tally.orders += 1

    async def _intent(self) -> OrderIntent:
        rng = self._rng
        symbol = rng.choice(self._symbols)
        market = (await self.exchange.load_markets())[symbol]
        ticker = (await self.exchange.fetch_tickers([symbol]))[symbol]
        assert ticker.last is not None
        side = rng.choice([Side.BUY, Side.SELL])
        worth = Decimal(rng.choice([15, 30, 60]))
        quantity = max(worth / ticker.last, market.min_quantity)
        if rng.random() < 0.4:
            return OrderIntent(symbol, side, OrderType.MARKET, quantity)
        away = Decimal(rng.choice(["-0.01", "0.0005", "0.02"]))
        price = ticker.last * (1 - away if side is Side.BUY else 1 + away)
        force = rng.choice([TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC])
        return OrderIntent(symbol, side, OrderType.LIMIT, quantity, price=price, time_in_force=force)

    async def _cancel_some(self) -> None:
        # Mostly those that the venue may have: one that was never sent is canceled without any danger.
        found = await self.store.orders.find(self.account, states=OPEN, limit=MOST_OPEN)
        chosen = [
            order.client_order_id for order in found if self._rng.random() < (0.15 if order.state in LIVE else 0.01)
        ]
        if chosen:
            await request_cancels(self, actor="chaos", client_order_ids=chosen)

    async def _kill_executors(self) -> None:
        """Mostly the executor that is at work, somewhere in its work: the one that waits has nothing to lose."""
        while self.tally.kills < self._plan.kills or not self._is_enough:
            victim = await self._grounds.at_work(self.store.desk)
            await asyncio.sleep(self._rng.expovariate(1 / self._plan.seconds_of_work))
            if self._rng.random() < 0.1:
                victim = self._rng.choice(self._grounds.waiting())
            await self._grounds.kill(victim)
            self.tally.kills += 1

    async def _stop_executors(self) -> None:
        """A process that is stopped past its lease and goes on knows nothing of the time between."""
        while self.tally.stops < self._plan.stops:
            await asyncio.sleep(self._rng.uniform(2, 20))
            pid = await self._grounds.at_work(self.store.desk)
            self._grounds.signal(pid, signal.SIGSTOP)
            await asyncio.sleep(self._rng.uniform(0.5, 3) * self._spec.lease_seconds)
            self._grounds.signal(pid, signal.SIGCONT)
            self.tally.stops += 1

    async def _restart_venue(self) -> None:
        while self.tally.venue_restarts < self._plan.venue_restarts:
            await asyncio.sleep(self._rng.uniform(*self._plan.seconds_between_venue_restarts))
            self.tally.faults += await self._wire.count()
            await self._grounds.restart_venue(self._rng.choice([signal.SIGTERM, signal.SIGKILL]))
            self.tally.venue_restarts += 1

    async def _inject_faults(self) -> None:
        while not self._is_enough:
            await asyncio.sleep(self._rng.expovariate(1 / self._plan.seconds_per_fault))
            await self._wire.plan_fault()
            self.tally.faults += await self._wire.count()

    async def _keep_up(self) -> None:
        """What the desk's flows do beside the executor."""
        while not self._grounds.tracks_by_itself:
            await asyncio.sleep(2)
            try:
                await (reconcile(self) if self._rng.random() < 0.2 else track(self))
            except ExchangeError:
                continue

    async def _settle(self) -> None:
        """No more faults: everything has to come to its end, at the venue and here."""
        self.tally.faults += await self._wire.count()
        await self._wire.clear()
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

    async def _until(self, holds: Callable[[], Awaitable[bool]], seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not await holds():
            try:
                await track(self)
            except ExchangeError:
                continue
            finally:
                await asyncio.sleep(1)


async def run_all(plans: tuple[Plan, ...], home: Path, *, under_prefect: bool) -> Tally:
    """The campaigns of several desks side by side, counted together."""
    whole = asyncio.current_task()
    assert whole is not None
    # A campaign that is ended early takes its processes along.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, whole.cancel)
    campaigns: list[Campaign] = []
    for number, plan in enumerate(plans):
        folder = home / f"desk-{number}"
        folder.mkdir()
        grounds = DeskGrounds(folder) if under_prefect else BareGrounds(folder, markets=40, seed=plan.seed)
        campaigns.append(Campaign(plan, grounds))
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(campaign.run()) for campaign in campaigns]
    tally = Tally()
    for task in running:
        tally.add(task.result())
    return tally


def main() -> int:
    """Run a campaign; 0 when both books agree."""
    options = read_options()
    home = Path(tempfile.mkdtemp(prefix="kontor-chaos-"))
    # What the desk says meanwhile is for whoever looks for a cause: the output is one line.
    logging.basicConfig(filename=home / "campaign.log", format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        tally = asyncio.run(run_all(options.plans, home, under_prefect=options.under_prefect))
    except asyncio.CancelledError:
        print(f"ended early; logs and books: {home}", file=sys.stderr)
        return 2
    except KontorError as error:
        print(f"the campaign could not be run: {error}; logs and books: {home}", file=sys.stderr)
        return 2
    print(tally)
    verdict = tally.verdict
    for name in ("lost", "duplicated", "untracked", "stuck"):
        for sentence in getattr(verdict, name):
            print(f"  {name}: {sentence}")
    if not verdict.is_clean:
        print(f"  logs and books: {home}")
        return 1
    shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
