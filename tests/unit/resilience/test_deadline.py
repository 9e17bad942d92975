"""Deadlines: an operation ends in time or says that it did not."""

import asyncio

import pytest

from kontor.resilience.deadline import DeadlineExceeded, deadline


async def test_what_takes_too_long_is_canceled_and_named() -> None:
    """A timeout without a name costs an hour of searching."""
    with pytest.raises(DeadlineExceeded, match=r"^fetch_balance: not done within 0\.01 s$") as caught:
        async with deadline("fetch_balance", 0.01):
            await asyncio.Event().wait()
    assert (caught.value.operation, caught.value.seconds) == ("fetch_balance", 0.01)


async def test_what_ends_in_time_is_left_alone() -> None:
    """The usual case."""
    async with deadline("quick", 60):
        await asyncio.sleep(0)


async def test_a_timeout_from_inside_keeps_its_own_name() -> None:
    """It is somebody else's deadline that has passed, not ours."""
    with pytest.raises(TimeoutError, match="inner"):
        async with deadline("outer", 60):
            raise TimeoutError("inner")


async def test_an_inner_deadline_passes_through_an_outer_one() -> None:
    """The one that fired is the one that is reported."""
    with pytest.raises(DeadlineExceeded, match=r"^inner"):
        async with deadline("outer", 60), deadline("inner", 0.01):
            await asyncio.Event().wait()


async def test_a_cancellation_from_outside_stays_a_cancellation() -> None:
    """A shutdown that turns into a timeout is not obeyed."""

    async def work() -> None:
        async with deadline("work", 60):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
