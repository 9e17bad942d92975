"""Connections stay within the venue's window."""

import asyncio
import random

import pytest

from kontor.resilience.clock import VirtualClock
from kontor.resilience.connection_budget import ConnectionBudget
from tests.fakes.virtual_time import LoopClock, in_virtual_time


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


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
