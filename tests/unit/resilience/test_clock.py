"""The virtual clock: what tests and replays put in the place of time."""

import asyncio
from datetime import UTC, datetime, timedelta

from kontor.resilience.clock import SystemClock, VirtualClock

START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_sleepers_wake_in_the_order_of_their_moments() -> None:
    """A replay stands and falls with the order of events."""
    clock, woken = VirtualClock(START), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.now()))

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (3, 1, 2)]
    await clock.advance(10)
    await asyncio.gather(*tasks)
    assert woken == [(seconds, START + timedelta(seconds=seconds)) for seconds in (1, 2, 3)]
    assert clock.now() == START + timedelta(seconds=10)


async def test_who_sleeps_again_on_waking_wakes_again_within_one_advance() -> None:
    """A loop with a sleep in it runs as often as the time allows."""
    clock, ticks = VirtualClock(START), []

    async def ticker() -> None:
        while True:
            await clock.sleep(1)
            ticks.append(clock.monotonic())

    task = asyncio.create_task(ticker())
    await clock.advance(3.5)
    task.cancel()
    assert ticks == [1, 2, 3]


async def test_nobody_wakes_before_time() -> None:
    """Time that has not passed has not passed."""
    clock = VirtualClock(START)
    task = asyncio.create_task(clock.sleep(5))
    await clock.advance(4.9)
    assert not task.done()
    assert clock.next_wake == 5
    await clock.advance(0.1)
    assert task.done()
    assert clock.next_wake is None


async def test_a_canceled_sleeper_is_forgotten() -> None:
    """It must not be woken when its moment comes."""
    clock = VirtualClock(START)
    task = asyncio.create_task(clock.sleep(5))
    await clock.advance(1)
    task.cancel()
    await clock.advance(10)
    assert task.cancelled()
    assert clock.next_wake is None


async def test_the_system_clock_tells_aware_utc_time() -> None:
    """A naive moment would be compared with aware ones somewhere, and raise there."""
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0)
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() >= before
