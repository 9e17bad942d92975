"""One executor per account: the others wait, and whoever lost the lease neither writes nor sends."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from kontor.domain.order import Order, OrderState
from kontor.errors import LeaseLost, StoreUnavailable
from kontor.execution.journal import Journal
from kontor.execution.lease import HeldLease, lease_name
from kontor.execution.verdicts import submitted
from kontor.ports import Lease
from tests.fakes.desk import BTC, ETH, FakeDesk
from tests.fakes.virtual_time import LoopClock, in_virtual_time

S = OrderState
TTL = timedelta(seconds=3)


@in_virtual_time
async def test_of_two_executors_one_works_and_the_other_takes_over() -> None:
    """Nothing is sent twice while both run, and nothing waits for long when the first is gone."""
    desk = FakeDesk()
    first = asyncio.create_task(desk.executor("first").run())
    async with desk.executing("second"):
        orders = [await desk.want(symbol, price="90") for symbol in (BTC, ETH) for _ in range(5)]
        for order in orders:
            await desk.until_state(order, S.ACCEPTED)
        lease = await desk.store.desk.lease(lease_name(desk.account))
        assert lease is not None
        assert lease.owner.startswith("first")
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        next_order = await desk.want(price="91")
        await desk.until_state(next_order, S.ACCEPTED, seconds=5)
    lease = await desk.store.desk.lease(lease_name(desk.account))
    assert lease is not None
    assert lease.owner.startswith("second")
    assert len(desk.exchange.sent) == 11
    await desk.agree()


@in_virtual_time
async def test_an_executor_that_cannot_renew_stops_at_once_and_comes_back() -> None:
    """Another one took the lease over after a pause: this one must notice at its next renewal, and then wait."""
    desk = FakeDesk()
    async with desk.executing("first"):
        await desk.until_state(await desk.want(price="90"), S.ACCEPTED)
        name = lease_name(desk.account)
        desk.store.desk._leases.pop(name)
        stolen = await desk.store.desk.acquire_lease(name, "thief", timedelta(seconds=30), desk.clock.now())
        assert stolen is not None
        await asyncio.sleep(2)
        waiting = await desk.want(ETH, price="90")
        await asyncio.sleep(10)
        assert (await desk.order(waiting)).state is S.INITIALIZED
        await desk.store.desk.release_lease(stolen)
        await desk.until_state(waiting, S.ACCEPTED, seconds=5)
    await desk.agree()


@in_virtual_time
async def test_a_write_under_an_old_number_is_refused() -> None:
    """A process that slept through a takeover wakes with an old fencing number: it can claim nothing."""
    desk = FakeDesk()
    order = await desk.want(price="90")
    held = await HeldLease.acquire(desk.store.desk, desk.clock, lease_name(desk.account), "old", TTL)
    assert held is not None
    await asyncio.sleep(4)
    newer = await HeldLease.acquire(desk.store.desk, desk.clock, lease_name(desk.account), "new", TTL)
    assert newer is not None
    journal = Journal(desk.store.orders, desk.clock, "old", held.lease.fencing)
    with pytest.raises(LeaseLost):
        await journal.claim([(order, submitted(order, desk.clock.now()))])
    assert (await desk.order(order)).state is S.INITIALIZED


@in_virtual_time
async def test_an_answer_that_comes_after_a_takeover_is_not_recorded() -> None:
    """The next executor may have decided otherwise by then: the old one writes nothing."""
    desk = FakeDesk()
    order = await desk.want(price="90")
    # The answer comes before the first renewal, which would notice the takeover too.
    desk.exchange.latency = 0.5
    async with desk.executing("first"):
        await desk.until_state(order, S.SUBMITTED)
        name = lease_name(desk.account)
        row = desk.store.desk._leases[name]
        desk.store.desk._leases[name] = replace(row, lease=replace(row.lease, owner="thief", fencing=2))
        await asyncio.sleep(1)
        assert desk.venue.accepted[order.client_order_id] == 1
        assert (await desk.order(order)).state is S.SUBMITTED


@in_virtual_time
async def test_a_lease_about_to_lapse_is_not_relied_on() -> None:
    """Between this check and the socket there is time: some of the lease must be left."""
    desk = FakeDesk()
    held = await HeldLease.acquire(desk.store.desk, desk.clock, lease_name(desk.account), "old", TTL)
    assert held is not None
    held.check()
    await asyncio.sleep(2.5)
    with pytest.raises(LeaseLost, match="nothing more is sent"):
        held.check()


class _AsleepClock(LoopClock):
    """The clocks of a machine that slept: the wall clock went on, the one that never goes back stood still."""

    slept = timedelta()

    def now(self) -> datetime:
        return super().now() + self.slept


@in_virtual_time
async def test_a_machine_that_slept_through_its_lease_does_not_rely_on_it() -> None:
    """A laptop closed for a night: its monotonic clock knows nothing of it, and another machine has taken over."""
    desk = FakeDesk()
    desk.clock = clock = _AsleepClock()
    held = await HeldLease.acquire(desk.store.desk, clock, lease_name(desk.account), "old", TTL)
    assert held is not None
    held.check()
    clock.slept = timedelta(hours=8)
    with pytest.raises(LeaseLost, match="nothing more is sent"):
        held.check()
    clock.slept = timedelta(hours=-1)
    held.check()


@in_virtual_time
async def test_a_process_stopped_after_its_claim_sends_nothing_when_it_wakes() -> None:
    """SIGSTOP between the commit and the wire, past the lease: the order is the next executor's."""
    desk = FakeDesk()
    stopped = _StoppedStore(desk)
    order = await desk.want(price="90")
    executor = desk.executor("stopped")
    executor._store = stopped.store
    task = asyncio.create_task(executor.run())
    await desk.until(stopped.is_asleep)
    async with desk.executing("second"):
        await desk.until_state(order, S.ACCEPTED)
        await asyncio.sleep(30)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert len(desk.exchange.sent) == 1
    await desk.agree()


@in_virtual_time
async def test_a_store_that_cannot_be_written_halts_sending_until_it_can() -> None:
    """Disk full: nothing is sent that is not recorded; once there is space again, work goes on by itself."""
    desk = FakeDesk()
    is_full = False
    record = desk.store.orders.record

    async def maybe_full(*args: Any, **kwargs: Any) -> Any:
        if is_full:
            raise StoreUnavailable("store: the disk is full: free some space, the desk then goes on by itself")
        return await record(*args, **kwargs)

    desk.store.orders.record = maybe_full
    async with desk.executing():
        await desk.until_state(await desk.want(price="90"), S.ACCEPTED)
        is_full = True
        waiting = await desk.want(ETH, price="90")
        await asyncio.sleep(20)
        assert (await desk.order(waiting)).state is S.INITIALIZED
        assert desk.exchange.requests["create"] == 1
        is_full = False
        await desk.until_state(waiting, S.ACCEPTED, seconds=10)
    await desk.agree()


@in_virtual_time
async def test_a_result_that_could_not_be_recorded_is_found_out_again() -> None:
    """The disk filled up while the order was on the wire: the order is at the venue, and we ask until we know."""
    desk = FakeDesk()
    record = desk.store.orders.record
    fails = iter([False, True, True, True])

    async def sometimes_full(*args: Any, **kwargs: Any) -> Any:
        if next(fails, False):
            raise StoreUnavailable("store: the disk is full")
        return await record(*args, **kwargs)

    desk.store.orders.record = sometimes_full
    async with desk.executing():
        order = await desk.want(price="90")
        await desk.until_state(order, S.ACCEPTED)
    assert len(desk.exchange.sent) == 1
    await desk.agree()


@in_virtual_time
async def test_a_store_that_is_away_for_a_moment_costs_no_lease() -> None:
    """A renewal that fails is tried again while the lease still holds."""
    desk = FakeDesk()
    renew = desk.store.desk.renew_lease
    fails = iter([True, False, True])

    async def shaky(lease: Lease, ttl: timedelta, now: datetime) -> Lease:
        if next(fails, False):
            raise StoreUnavailable("store: locked")
        return await renew(lease, ttl, now)

    desk.store.desk.renew_lease = shaky
    async with desk.executing("first"):
        for number in range(6):
            await desk.until_state(await desk.want(price=f"9{number}"), S.ACCEPTED)
            await asyncio.sleep(1)
        lease = await desk.store.desk.lease(lease_name(desk.account))
        assert lease is not None
        assert lease.fencing == 1


class _StoppedStore:
    """A store whose process is stopped right after its first claim, for longer than its lease."""

    def __init__(self, desk: FakeDesk) -> None:
        self._asleep = False
        self.store: Any = _Passing(desk.store, orders=_Passing(desk.store.orders, record=self._record(desk)))
        frozen = self._frozen(desk)
        self.store.desk = _Passing(desk.store.desk, renew_lease=frozen)

    async def is_asleep(self) -> bool:
        return self._asleep

    def _record(self, desk: FakeDesk) -> Callable[..., Awaitable[Any]]:
        async def record(changes: list[tuple[Order, Order]], **kwargs: Any) -> Any:
            done = await desk.store.orders.record(changes, **kwargs)
            if not self._asleep:
                self._asleep = True
                await asyncio.sleep(20)
            return done

        return record

    def _frozen(self, desk: FakeDesk) -> Callable[..., Awaitable[Any]]:
        async def renew(*args: Any) -> Any:
            if self._asleep:
                # A stopped process renews nothing, and may send before its loop comes round to the renewal.
                await asyncio.sleep(40)
            return await desk.store.desk.renew_lease(*args)

        return renew


class _Passing:
    """Passes on what it does not have itself."""

    def __init__(self, target: Any, **own: Any) -> None:
        self._target = target
        self.__dict__.update(own)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)
