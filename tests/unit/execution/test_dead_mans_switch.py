"""The dead man's switch and the clock check: what the venue does without us, and when we do nothing."""

import asyncio
import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

from kontor.config import KontorConfig
from kontor.domain.market import MarketKind
from kontor.domain.order import OrderState, Side
from kontor.errors import ExchangeError
from kontor.execution.clock_drift import CLOCK_DRIFT, check_clock
from kontor.execution.dead_mans_switch import DEAD_MANS_SWITCH
from kontor.execution.halt import SHUTDOWN, halt, halted
from kontor.execution.quiesce import end_of_shutdown, quiesce
from tests.fakes.desk import ACCOUNT, BTC, SETTINGS, FakeDesk, Life
from tests.fakes.exchange import PROFILE, Fault
from tests.fakes.virtual_time import in_virtual_time

SWITCHED = replace(PROFILE, cancel_all_after=True)


def desk_with_switch(**profile: bool) -> FakeDesk:
    settings = SETTINGS.model_copy(update={"dead_mans_switch_seconds": 30})
    return FakeDesk(profile=replace(SWITCHED, **profile), settings=settings)


async def flat(desk: FakeDesk) -> None:
    await desk.store.account.save_positions(ACCOUNT, [], desk.clock.now())


async def said(desk: FakeDesk) -> str:
    found = await desk.store.desk.attribute(ACCOUNT, DEAD_MANS_SWITCH)
    return found.value["reason"] if found else ""


@in_virtual_time
async def test_it_is_kept_armed_while_the_executor_works_and_disarmed_at_an_orderly_end() -> None:
    """Renewed well before it would fire; orders that are meant to stay do."""
    desk = desk_with_switch()
    await flat(desk)
    async with desk.executing():
        await desk.clock.sleep(120)
        moments = [at for at, seconds in desk.exchange.switch if seconds == 30]
        gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
        assert len(moments) >= 10
        assert max(gaps) < timedelta(seconds=15)
        assert await said(desk) == "the venue cancels every order after 30 s without us"
    assert desk.exchange.switch[-1][1] == 0


@in_virtual_time
async def test_a_desk_that_dies_leaves_it_armed() -> None:
    """The whole point: nobody is there any more to cancel anything."""
    desk = desk_with_switch()
    await flat(desk)
    life = Life()
    executor = desk.executor(life=life)
    task = asyncio.create_task(executor.run())
    await desk.clock.sleep(20)
    life.is_over = True
    await asyncio.gather(task, return_exceptions=True)
    assert desk.exchange.switch[-1][1] == 30


@in_virtual_time
async def test_it_is_disarmed_while_a_position_is_open() -> None:
    """It would take the position's own stops with it."""
    desk = desk_with_switch()
    await flat(desk)
    async with desk.executing():
        await desk.clock.sleep(5)
        assert desk.exchange.switch[-1][1] == 30
        order = await desk.want(BTC, Side.BUY, "1")

        async def filled() -> bool:
            return (await desk.order(order)).state is OrderState.FILLED

        await desk.until(filled)
        await desk.store.account.save_positions(ACCOUNT, await desk.exchange.fetch_positions(), desk.clock.now())
        await desk.clock.sleep(3)
        assert desk.exchange.switch[-1][1] == 0
        assert await said(desk) == f"disarmed: a position is open in {BTC}"
        count = len(desk.exchange.switch)
        await desk.clock.sleep(60)
        assert len(desk.exchange.switch) == count
        await flat(desk)
        await desk.clock.sleep(3)
        assert desk.exchange.switch[-1][1] == 30


@in_virtual_time
async def test_a_venue_known_to_spare_stops_keeps_it_armed_with_positions() -> None:
    """The profile may prove that protection survives."""
    desk = desk_with_switch(cancel_all_after_spares_stops=True)
    async with desk.executing():
        await desk.clock.sleep(60)
        assert {seconds for _, seconds in desk.exchange.switch} == {30}


@in_virtual_time
async def test_unknown_positions_keep_it_disarmed() -> None:
    """What one does not know one does not bet a stop on."""
    desk = desk_with_switch()
    async with desk.executing():
        await desk.clock.sleep(10)
        assert {seconds for _, seconds in desk.exchange.switch} == {0}


@in_virtual_time
async def test_without_the_setting_or_the_venue_nothing_is_sent() -> None:
    """Off unless asked for; a venue without one is said."""
    for desk in (FakeDesk(profile=SWITCHED), desk_with_switch(cancel_all_after=False)):
        await flat(desk)
        async with desk.executing():
            await desk.clock.sleep(30)
        assert desk.exchange.switch == []
    assert await said(desk) == "fake has no dead man's switch that this desk can keep"


def desk_with_clock() -> FakeDesk:
    desk = FakeDesk(profile=replace(PROFILE, capabilities={**PROFILE.capabilities, "fetchTime": True}))
    desk.config = KontorConfig(orders=SETTINGS)
    return desk


@in_virtual_time
async def test_a_wrong_clock_refuses_new_orders_until_it_is_right() -> None:
    """A venue judges requests by its own clock: orders expire on arrival, or live longer than they should."""
    desk = desk_with_clock()
    desk.exchange.clock_ahead = timedelta(seconds=-7)
    drift = await check_clock(desk)
    assert drift is not None
    assert abs(drift.ahead - timedelta(seconds=7)) < timedelta(seconds=0.1)
    refused = await desk.want(BTC)
    assert refused.state is OrderState.DENIED
    assert "this machine's clock is 7.0 s ahead of that of fake, more than 2 s" in (refused.reason or "")
    before = await halted(desk.store.desk, ACCOUNT)
    assert before is not None
    assert before.title == "Trading halted: the clock is wrong"
    await check_clock(desk)
    assert await halted(desk.store.desk, ACCOUNT) == before
    desk.exchange.clock_ahead = timedelta(seconds=0.5)
    await check_clock(desk)
    assert await halted(desk.store.desk, ACCOUNT) is None
    noted = await desk.store.desk.attribute(ACCOUNT, CLOCK_DRIFT)
    assert noted is not None
    assert noted.value["refuses_orders"] is False


@in_virtual_time
async def test_a_right_clock_does_not_end_somebody_elses_halt() -> None:
    """A person's word outlasts a measurement."""
    desk = desk_with_clock()
    await halt(desk.store.desk, ACCOUNT, "holidays", actor="me", at=desk.clock.now())
    await check_clock(desk)
    known = await halted(desk.store.desk, ACCOUNT)
    assert known is not None
    assert known.actor == "me"


@in_virtual_time
async def test_positions_of_some_minutes_ago_are_not_known() -> None:
    """Whoever fetches them may be dead: a position opened since would lose its stops."""
    desk = desk_with_switch()
    await flat(desk)
    async with desk.executing():
        await desk.clock.sleep(60)
        assert desk.exchange.switch[-1][1] == 30
        await desk.clock.sleep(65)
        assert desk.exchange.switch[-1][1] == 0
        assert (await said(desk)).startswith("disarmed: positions are not known since 00:00:00 UTC")
        await flat(desk)
        await desk.clock.sleep(3)
        assert desk.exchange.switch[-1][1] == 30


@in_virtual_time
async def test_a_venue_that_refuses_it_is_not_asked_every_second_and_the_status_has_its_words() -> None:
    """Hyperliquid wants a million dollars of volume first: that is not mended by asking."""
    desk = desk_with_switch(cancel_all_after_spares_stops=True)
    asked = 0

    async def refuse(seconds: float) -> None:
        nonlocal asked
        asked += seconds > 0
        raise ExchangeError("not enough volume traded")

    desk.exchange.cancel_all_after = refuse
    async with desk.executing():
        await desk.clock.sleep(120)
        assert 5 < asked < 20
        assert await said(desk) == "it could not be set: not enough volume traded"


@in_virtual_time
async def test_the_status_says_whose_orders_it_takes() -> None:
    """Htx cancels what rests on spot, and leaves swaps alone."""
    desk = desk_with_switch()
    desk.exchange.profile = replace(desk.exchange.profile, cancel_all_after_kinds=frozenset({MarketKind.SPOT}))
    await flat(desk)
    async with desk.executing():
        await desk.clock.sleep(5)
        assert await said(desk) == "the venue cancels every spot order after 30 s without us"


@in_virtual_time
async def test_an_orderly_end_is_not_overtaken_by_the_next_renewal() -> None:
    """Armed again behind the disarming, it takes the orders that were meant to stay."""
    for wait in range(40):
        desk = desk_with_switch()
        await flat(desk)
        # The venue takes a while, and so does the store that is told of it.
        desk.exchange.latency = 0.3
        save = desk.store.desk.set_attribute

        async def slow(*args: Any, save: Any = save, clock: Any = desk.clock, **more: Any) -> None:
            await clock.sleep(0.3)
            await save(*args, **more)

        desk.store.desk.set_attribute = slow
        executor = desk.executor()
        task = asyncio.create_task(executor.run())
        await desk.clock.sleep(20 + wait / 20)
        executor.stop()
        await task
        assert desk.exchange.switch[-1][1] == 0, wait


@in_virtual_time
async def test_one_that_may_have_been_armed_is_disarmed_at_an_orderly_end() -> None:
    """The answer to its first arming was lost: the venue may count all the same."""
    desk = desk_with_switch()
    await flat(desk)
    desk.exchange.script("switch", *[Fault.TIMEOUT_AFTER] * 3)
    async with desk.executing():
        await desk.clock.sleep(0.5)
    assert desk.exchange.switch[-1][1] == 0


@in_virtual_time
async def test_a_position_that_was_opened_since_they_were_looked_at_is_one() -> None:
    """Positions are fetched every ten seconds or so: a desk that dies in between must not take the stop along."""
    desk = desk_with_switch()
    await flat(desk)
    async with desk.executing():
        await desk.clock.sleep(5)
        assert desk.exchange.switch[-1][1] == 30
        order = await desk.want(BTC, Side.BUY, "1")
        await desk.until_state(order, OrderState.FILLED)
        await desk.clock.sleep(2.5)
        assert desk.exchange.switch[-1][1] == 0
        assert await said(desk) == f"disarmed: {BTC} was traded since positions were known"


@in_virtual_time
async def test_a_clock_that_is_right_again_does_not_end_a_shutdown() -> None:
    """Who has stopped trading has stopped it, whatever it was halted for already."""
    desk = desk_with_clock()
    desk.exchange.clock_ahead = timedelta(seconds=-7)
    await check_clock(desk)
    await quiesce(desk, cancel_orders=False, seconds=1)
    desk.exchange.clock_ahead = timedelta(0)
    await check_clock(desk)
    known = await halted(desk.store.desk, ACCOUNT)
    assert known is not None
    assert known.actor == SHUTDOWN
    assert await end_of_shutdown(desk)
    assert await halted(desk.store.desk, ACCOUNT) is None


@in_virtual_time
async def test_a_halt_that_is_called_while_the_clocks_ends_is_not_ended_with_it() -> None:
    """Two processes look at the same moment; a person's word must not be what gets lost."""
    for calls_first in (True, False):
        desk = desk_with_clock()
        desk.exchange.clock_ahead = timedelta(seconds=-7)
        if not calls_first:
            await check_clock(desk)
            desk.exchange.clock_ahead = timedelta(0)
        state = desk.store.desk
        look = state.attribute

        async def slow(*args: Any, look: Any = look, clock: Any = desk.clock) -> Any:
            found = await look(*args)
            await clock.sleep(1)
            return found

        state.attribute = slow  # pyright: ignore[reportAttributeAccessIssue]
        checking = asyncio.create_task(check_clock(desk))
        # While it has looked, and not yet written.
        await desk.clock.sleep(0.5 if calls_first else 1.5)
        state.attribute = look
        await halt(state, ACCOUNT, "holidays", actor="me", at=desk.clock.now())
        await checking
        known = await halted(state, ACCOUNT)
        assert known is not None
        assert known.actor == "me"
