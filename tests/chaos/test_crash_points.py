"""Real processes that die, or stop, at every step between claim and recorded result; another one takes over."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

import kontor.execution
from kontor.domain.identity import client_order_id
from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.ports import Store
from kontor.resilience.clock import SystemClock
from kontor.store.opening import open_store
from tests.chaos.books import VenueOrder, read_books
from tests.chaos.executors import Spec
from tests.chaos.processes import ExecutorProcesses, VenueProcess, is_alive

S = OrderState
CREATE_STEPS = ("claimed", "submitted", "before wire", "answered", "before record", "recorded")
CANCEL_STEPS = ("before cancel", "cancel answered", "cancel recorded")
# What goes wrong on the wire first, so that the outcome is unknown.
RESOLVE_STEPS = {"resolved": "drop_after", "proven absent": "drop_before"}
PATIENCE_SECONDS = 90


class Scene:
    """One venue for all, and for each step a store of its own with executors on it."""

    def __init__(
        self, home: Path, venue: VenueProcess, executors: ExecutorProcesses, http: aiohttp.ClientSession
    ) -> None:
        self.home, self.venue, self.executors, self.http = home, venue, executors, http
        self.clock = SystemClock()
        self.order: Order | None = None

    async def template(self, spec: Spec) -> None:
        """An order that rests far below the price."""
        exchange = spec.open_exchange()
        try:
            symbol, market = next((s, m) for s, m in sorted((await exchange.load_markets()).items()) if m.settle)
            last = (await exchange.fetch_tickers([symbol]))[symbol].last
            assert last is not None
            price = market.round_price(last * 9 / 10)
            self.markets = await exchange.load_markets()
            self.order = Order(
                "", spec.account, symbol, Side.BUY, OrderType.LIMIT, market.min_quantity, self.clock.now(), price=price
            )
        finally:
            await exchange.close()

    async def fault(self, kind: str, name: str) -> None:
        rule = {"path": "/api/v5/trade/batch-orders", "kind": kind, "contains": name}
        async with self.http.post(f"{self.venue.url}/admin/faults", json=rule) as reply:
            assert reply.status == 200

    @asynccontextmanager
    async def desk(self, step: str) -> AsyncIterator[tuple[Store, str, Order]]:
        """A store with one order in its queue."""
        url = f"sqlite:///{self.home / step.replace(' ', '-')}.db"
        store = open_store(url)
        try:
            await store.migrate()
            assert self.order is not None
            name = client_order_id(await store.desk.desk_prefix(), step)
            order = replace(self.order, client_order_id=name, good_until=self.clock.now() + timedelta(minutes=5))
            if step in RESOLVE_STEPS:
                await self.fault(RESOLVE_STEPS[step], name)
            yield store, url, (await store.orders.enqueue([order], "test"))[0]
        finally:
            await store.close()

    def books(self) -> dict[str, VenueOrder]:
        """The venue's orders by our ids; each of them once."""
        found, _ = read_books(self.venue.books, "paper", self.markets)
        names = [line.client_order_id for line in found]
        assert len(names) == len(set(names)), f"an order is there twice: {sorted(names)}"
        return {line.client_order_id: line for line in found}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    venue = VenueProcess(tmp_path, markets=8, seed=1)
    await venue.start()
    spec = Spec(store_url="", rest_url=venue.url, log_file=str(tmp_path / "executors.log"), absence_seconds=0.5)
    executors = ExecutorProcesses(spec)
    try:
        await executors.open()
        async with aiohttp.ClientSession() as http:
            scene = Scene(tmp_path, venue, executors, http)
            await scene.template(spec)
            yield scene
    finally:
        await executors.close()
        await venue.stop()


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await holds():  # noqa: ASYNC110 - another process cannot set our event
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"waited {PATIENCE_SECONDS} s for {what}")


async def reaches(store: Store, order: Order, state: OrderState) -> None:
    async def look() -> bool:
        stored = await store.orders.get(order.client_order_id)
        return stored is not None and stored.state is state

    await until(look, f"{order.client_order_id} to be {state}")


async def die_at(scene: Scene, step: str) -> tuple[str, OrderState]:
    """Let one executor die at this step and another finish; the order's id and the state it must be in."""
    async with scene.desk(step) as (store, url, order):
        pid = await scene.executors.spawn(store_url=url, dies_at=step)
        if step in CANCEL_STEPS:
            await reaches(store, order, S.ACCEPTED)
            await store.orders.request_cancel([order.client_order_id], actor="test", at=scene.clock.now())

        async def is_dead() -> bool:
            return not is_alive(pid)

        await until(is_dead, f"the executor to die at {step!r}")
        await scene.executors.spawn(store_url=url)
        state = S.CANCELED if step in CANCEL_STEPS else S.ACCEPTED
        await reaches(store, order, state)
        return order.client_order_id, state


@pytest.mark.timeout(240)
async def test_kill_9_at_each_step_leaves_one_order_whose_fate_is_known(scene: Scene) -> None:
    """For create, lookup and cancel; in real processes on the real adapter, side by side to save time."""
    steps = (*CREATE_STEPS, *RESOLVE_STEPS, *CANCEL_STEPS)
    ends = dict(await asyncio.gather(*(die_at(scene, step) for step in steps)))
    await scene.executors.close()
    await scene.venue.stop()
    assert {name: line.state for name, line in scene.books().items()} == ends


@pytest.mark.timeout(240)
async def test_an_executor_stopped_past_its_lease_sends_no_order_twice(scene: Scene) -> None:
    """SIGSTOP before the check of the lease, and in the moment between that check and the socket; then SIGCONT."""

    async def sleep_through(step: str) -> str:
        async with scene.desk(step) as (store, url, order):
            pid = await scene.executors.spawn(store_url=url, stops_at=step)
            await reaches(store, order, S.SUBMITTED)
            first = await store.desk.lease("executor:paper")
            await scene.executors.spawn(store_url=url)
            await reaches(store, order, S.ACCEPTED)
            scene.executors.signal(pid, signal.SIGCONT)

            async def woke() -> bool:
                log = (scene.home / "executors.log").read_text()
                return re.search(rf" {pid} WARNING kontor.execution.executor executor lost its lease", log) is not None

            await until(woke, f"the executor stopped at {step!r} to notice that its lease is lost")
            second = await store.desk.lease("executor:paper")
            assert first is not None
            assert second is not None
            assert second.fencing > first.fencing
            stored = await store.orders.get(order.client_order_id)
            assert stored is not None
            assert (stored.state, stored.attempts) == (S.ACCEPTED, 2)
            return order.client_order_id

    names = await asyncio.gather(*(sleep_through(step) for step in ("submitted", "before wire")))
    await scene.executors.close()
    await scene.venue.stop()
    assert scene.books().keys() == set(names)


def test_every_step_of_the_code_is_among_those_that_are_tried() -> None:
    """A failpoint added later must be tried too."""
    sources = Path(kontor.execution.__file__).parent.glob("*.py")
    named = {step for source in sources for step in re.findall(r'failpoint\("([^"]+)"\)', source.read_text())}
    assert named == {*CREATE_STEPS, *RESOLVE_STEPS, *CANCEL_STEPS}
