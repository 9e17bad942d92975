"""The process dies at each step between claim and recorded result; another takes over on the same store."""

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from kontor.domain.order import OPEN, OrderState
from kontor.execution.cancel import request_cancels
from kontor.execution.reconcile import reconcile
from tests.fakes.desk import BTC, ETH, SOL, XRP, FakeDesk, Killed, Life
from tests.fakes.exchange import AMBIGUOUS, PROFILE, Fault
from tests.fakes.virtual_time import in_virtual_time

S = OrderState
CREATE_STEPS = ("claimed", "submitted", "before wire", "answered", "before record", "recorded")
RESOLVE_STEPS = ("resolved", "proven absent")
CANCEL_STEPS = ("before cancel", "cancel answered", "cancel recorded")


async def run_until_killed(desk: FakeDesk, life: Life) -> None:
    """Run an executor until its failpoint kills it; the loop survives, nothing of the process does."""
    task = asyncio.create_task(desk.executor("first", life=life).run())
    await asyncio.wait([task], timeout=60)
    assert life.is_over, f"step {life.dies_at!r} was never reached: {life.steps}"
    if not task.done():
        task.cancel()
    with suppress(BaseException):
        await task


@pytest.mark.parametrize("batch_limit", [1, 5])
@pytest.mark.parametrize("price", [None, "90"])
@pytest.mark.parametrize("step", CREATE_STEPS)
def test_a_crash_while_sending_loses_and_doubles_nothing(step: str, price: str | None, batch_limit: int) -> None:
    """Whatever the dead process had done, each order is at the venue once in the end."""

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk(profile=replace(PROFILE, batch_limit=batch_limit))
        placed = [await desk.want(symbol, price=price) for symbol in (BTC, ETH, SOL)]
        await run_until_killed(desk, Life(dies_at=step))
        async with desk.executing("second"):
            for order in placed:
                await desk.until_state(order, S.ACCEPTED if price else S.FILLED)
            await asyncio.sleep(10)
        assert all(desk.venue.accepted[order.client_order_id] == 1 for order in placed)
        await desk.agree()

    scenario()


@pytest.mark.parametrize("step", RESOLVE_STEPS)
def test_a_crash_while_resolving_loses_and_doubles_nothing(step: str) -> None:
    """The second process starts its own proof: what the first had found out died with it."""

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        desk.exchange.script("create", Fault.TIMEOUT_AFTER if step == "resolved" else Fault.DROPPED_BEFORE)
        order = await desk.want(price="90")
        await run_until_killed(desk, Life(dies_at=step))
        assert (await desk.order(order)).state is S.SUBMITTED
        async with desk.executing("second"):
            await desk.until_state(order, S.ACCEPTED)
        await desk.agree()

    scenario()


@pytest.mark.parametrize("filled", [Decimal(0), Decimal("0.4"), Decimal(1)])
@pytest.mark.parametrize("step", CANCEL_STEPS)
def test_a_crash_while_canceling_ends_with_the_venues_truth(step: str, filled: Decimal) -> None:
    """The wish to cancel is durable; whoever comes next carries it out or finds it done."""

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        order = await desk.want(price="90")
        async with desk.executing("zeroth"):
            order = await desk.until_state(order, S.ACCEPTED)
            await asyncio.sleep(1)
        if filled:
            desk.venue.fill(str(order.venue_order_id), filled, desk.clock.now())
        await request_cancels(desk, actor="operator")
        await run_until_killed(desk, Life(dies_at=step))
        async with desk.executing("second"):
            order = await desk.until_state(order)
            await asyncio.sleep(10)
        assert order.state is (S.FILLED if filled == 1 else S.CANCELED)
        await desk.agree()

    scenario()


@pytest.mark.parametrize("life_seconds", [0.01, 0.02, 0.03, 0.05, 0.3, 2.1, 3.4, 5.2, 6.0])
def test_dying_again_and_again_loses_and_doubles_nothing(life_seconds: float) -> None:
    """No executor lives long; orders and cancels get through all the same."""

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        placed = [await desk.want(symbol, price="90", good_until=None) for symbol in (BTC, ETH, SOL) for _ in range(2)]
        for number in range(20):
            life = Life()
            task = asyncio.create_task(desk.executor(f"short {number}", life=life).run())
            await asyncio.sleep(life_seconds)
            life.is_over = True
            task.cancel()
            with suppress(BaseException):
                await task
        async with desk.executing("last"):
            for order in placed:
                stored = await desk.until_state(order, S.ACCEPTED, S.EXPIRED)
                assert desk.venue.accepted[order.client_order_id] == (stored.state is S.ACCEPTED)
        await desk.agree()

    scenario()


@pytest.mark.parametrize("seed", range(8))
def test_kills_in_a_storm_of_faults_leave_both_books_equal(seed: int) -> None:
    """Two executors, each killed again and again at random steps and moments, on a wire that lies."""

    @in_virtual_time
    async def scenario() -> None:
        rng = random.Random(seed)
        desk = FakeDesk(profile=replace(PROFILE, batch_limit=rng.choice([1, 3])))
        await reconcile(desk)
        lives = [asyncio.create_task(_live_and_die(desk, rng, f"nine lives {n}")) for n in range(2)]
        for _ in range(40):
            order = await desk.want(
                rng.choice([BTC, ETH, SOL, XRP]),
                price=rng.choice([None, "90", "95"]),
                good_until=desk.clock.now() + timedelta(minutes=rng.choice([1, 60])),
            )
            desk.exchange.random_faults = (rng, 0.25, (*AMBIGUOUS, Fault.NO_CONNECTION, Fault.RATE_LIMITED))
            await asyncio.sleep(rng.expovariate(1))
            if rng.random() < 0.3:
                await request_cancels(desk, actor="storm", client_order_ids=[order.client_order_id])
            desk.exchange.random_faults = None
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)
        async with desk.executing("last"):
            await asyncio.sleep(60)
            await request_cancels(desk, actor="storm")
            await asyncio.sleep(60)
            await reconcile(desk)
        assert not await desk.store.orders.find(desk.account, states=OPEN), "stuck"
        await desk.agree()

    scenario()


async def _live_and_die(desk: FakeDesk, rng: random.Random, name: str) -> None:
    """Run executors that die at a random step or moment, one after the other."""
    while True:
        life = Life(
            dies_at=rng.choice([None, *CREATE_STEPS, *RESOLVE_STEPS, *CANCEL_STEPS]), dies_after=rng.randint(1, 3)
        )
        task = asyncio.create_task(desk.executor(name, life=life).run())
        try:
            await asyncio.wait([task], timeout=rng.expovariate(1 / 8))
        finally:
            life.is_over = True
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_a_dead_process_really_runs_nothing_more() -> None:
    """The tests above prove nothing if the killed executor could still write: it cannot even give its lease back."""

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        await desk.want(price="90")
        await run_until_killed(desk, Life(dies_at="submitted"))
        lease = await desk.store.desk.lease("executor:paper")
        assert lease is not None
        assert lease.expires_at > desk.clock.now() or lease.owner.startswith("first")
        assert desk.exchange.requests["create"] == 0

    scenario()
    assert issubclass(Killed, BaseException)
    assert not issubclass(Killed, Exception)
