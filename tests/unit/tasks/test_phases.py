"""Phases of one run are apart: what fails in one is told after the others have had their turn."""

import pytest
from prefect.logging import disable_run_logger

from kontor.errors import ExchangeError, KontorError
from tasks.trading import each_phase


async def works(done: list[str], name: str) -> str:
    done.append(name)
    return name


async def fails(error: Exception) -> None:
    raise error


async def test_a_phase_that_fails_keeps_no_other_from_its_turn() -> None:
    """A delisting must be told although a coin has no price."""
    done: list[str] = []
    with disable_run_logger(), pytest.raises(ExchangeError, match="no price"):
        await each_phase({"limits": fails(ExchangeError("no price")), "venue": works(done, "venue")})
    assert done == ["venue"]


async def test_what_failed_in_each_is_told_together() -> None:
    with disable_run_logger(), pytest.raises(KontorError, match=r"^limits: no price; venue: 'symbol'$"):
        await each_phase({"limits": fails(ExchangeError("no price")), "venue": fails(KeyError("symbol"))})


async def test_results_come_by_name() -> None:
    done: list[str] = []
    with disable_run_logger():
        found = await each_phase({"limits": works(done, "a"), "venue": works(done, "b")})
    assert (found, done) == ({"limits": "a", "venue": "b"}, ["a", "b"])
