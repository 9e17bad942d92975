"""Phases of one run are apart: what fails in one is told after the others have had their turn."""

import asyncio
from functools import partial

import pytest
from prefect.logging import disable_run_logger

from kontor.errors import ExchangeError, KontorError
from kontor.resilience.deadline import DeadlineExceeded
from tasks.trading import each_phase


async def works(done: list[str], name: str) -> str:
    done.append(name)
    return name


async def fails(error: Exception) -> None:
    raise error


async def test_a_phase_that_fails_keeps_no_other_from_its_turn() -> None:
    """A delisting must be told although a coin has no price."""
    done: list[str] = []
    phases = {"limits": partial(fails, ExchangeError("no price")), "venue": partial(works, done, "venue")}
    with disable_run_logger(), pytest.raises(ExchangeError, match="no price"):
        await each_phase(phases, seconds=60)
    assert done == ["venue"]


async def test_a_phase_that_hangs_leaves_the_others_their_time() -> None:
    done: list[str] = []
    phases = {"limits": asyncio.Event().wait, "venue": partial(works, done, "venue")}
    with disable_run_logger(), pytest.raises(DeadlineExceeded, match="limits"):
        await each_phase(phases, seconds=0.01)
    assert done == ["venue"]


async def test_what_failed_in_each_is_told_together() -> None:
    with disable_run_logger(), pytest.raises(KontorError, match=r"^limits: no price; venue: 'symbol'$"):
        await each_phase(
            {"limits": partial(fails, ExchangeError("no price")), "venue": partial(fails, KeyError("symbol"))},
            seconds=60,
        )


async def test_results_come_by_name() -> None:
    done: list[str] = []
    with disable_run_logger():
        found = await each_phase({"limits": partial(works, done, "a"), "venue": partial(works, done, "b")}, seconds=60)
    assert (found, done) == ({"limits": "a", "venue": "b"}, ["a", "b"])
