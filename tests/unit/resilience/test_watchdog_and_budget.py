"""Silence is noticed and healthy streams live on; connections stay within the venue's window."""

import asyncio
import random

import pytest

from kontor.resilience.clock import VirtualClock
from kontor.resilience.connection_budget import ConnectionBudget
from kontor.resilience.watchdog import FellSilent, Watchdog
from tests.fakes.virtual_time import LoopClock, in_virtual_time


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@in_virtual_time
async def test_a_stream_that_speaks_lives_for_ever() -> None:
    """A deadline around the message loop would have killed this one 2880 times."""
    clock = LoopClock()
    dog = Watchdog("tickers", 30, clock=clock)
    watching = asyncio.create_task(dog.watch())
    for _ in range(24 * 3600 // 20):
        await clock.sleep(20)
        dog.heard()
    assert not watching.done()
    watching.cancel()


async def test_timeouts_prevent_infinite_hangs(clock: VirtualClock) -> None:
    """Testing requirement 4 of the best-practices document: a socket that is open and mute is given up."""
    dog = Watchdog("tickers", 30, clock=clock)
    watching = asyncio.create_task(dog.watch())
    await clock.advance(29.9)
    assert not watching.done()
    await clock.advance(0.1)
    with pytest.raises(FellSilent, match=r"tickers: nothing heard for 30\.0 s"):
        await watching


async def test_watching_begins_when_it_is_asked_for(clock: VirtualClock) -> None:
    """The time a connection took to be made is not silence."""
    dog = Watchdog("orders", 10, clock=clock)
    await clock.advance(60)
    watching = asyncio.create_task(dog.watch())
    await clock.advance(9)
    assert not watching.done()
    watching.cancel()


@in_virtual_time
async def test_no_window_ever_holds_more_connections_than_the_budget() -> None:
    """Venues ban an address for this, for hours."""
    clock = LoopClock()
    budget = ConnectionBudget(clock=clock)
    dice, opened = random.Random(7), []

    async def reconnect() -> None:
        for _ in range(100):
            await clock.sleep(dice.uniform(0, 8))
            await budget.acquire()
            opened.append(clock.monotonic())

    await asyncio.gather(*(reconnect() for _ in range(5)))
    assert len(opened) == 500
    assert max(sum(1 for at in opened if start <= at < start + 599) for start in opened) == 150


async def test_a_canceled_waiter_has_taken_no_connection(clock: VirtualClock) -> None:
    """A stream that is stopped while it waits must not cost the others."""
    budget = ConnectionBudget(clock=clock, limit=1, seconds=10)
    await budget.acquire()
    waiter = asyncio.create_task(budget.acquire())
    await clock.advance(5)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert budget.seconds_until_free == 5
    await clock.advance(5)
    assert budget.left == 1
