"""Isolation: whatever a strategy does, its run ends in time and its process is gone."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from kontor.config import StrategySettings
from kontor.errors import StrategyFailed
from kontor.strategies import Decision
from kontor.strategies.hosts import IsolatingHost
from kontor.strategies.registry import build
from tests.unit.strategies.views import symbol_view, view

PLACE = "tests.unit.strategies.misbehaving:Misbehaving"
SEEN = view(symbol_view())


@pytest.fixture
async def host() -> AsyncIterator[IsolatingHost]:
    host = IsolatingHost()
    yield host
    await host.close()


def settings(how: str = "", *, timeout: float = 10, **more: str) -> StrategySettings:
    return StrategySettings.model_validate(
        {"use": PLACE, "symbols": ["BTC/USD:USD"], "parameters": {"how": how}, "timeout_seconds": timeout, **more}
    )


async def ask(host: IsolatingHost, made: StrategySettings, name: str = "one") -> object:
    return await host.decide(name, made, build(made), SEEN)


async def test_a_process_decides_and_is_kept_for_the_next_run(host: IsolatingHost) -> None:
    """What it prints does not disturb the answer; a key in the desk's environment is not in its."""
    first = await ask(host, settings("prints"))
    second = await ask(host, settings("prints"))
    assert isinstance(first, Decision)
    assert first == second
    assert first.state is not None
    pid = first.state["pid"]
    assert pid == host.running()["one"] != os.getpid()
    assert "KONTOR_HOME" not in psutil.Process(pid).environ()
    await host.close()
    assert not psutil.pid_exists(pid)


async def test_other_parameters_get_another_process(host: IsolatingHost) -> None:
    await ask(host, settings())
    before = host.running()["one"]
    await ask(host, settings("prints"))
    assert host.running()["one"] != before


async def test_an_error_is_told_with_its_place_and_the_next_run_works(host: IsolatingHost) -> None:
    with pytest.raises(StrategyFailed, match=r"KeyError: 'a level' \(misbehaving.py:\d+\)"):
        await ask(host, settings("raises"))
    with pytest.raises(StrategyFailed, match="KeyError"):
        await ask(host, settings("raises"))
    with pytest.raises(StrategyFailed, match="cannot be passed on"):
        await ask(host, settings("cannot be passed on"))


@pytest.mark.parametrize("how", ["hangs", "burns"])
async def test_one_that_never_returns_is_ended_and_the_loop_stays_free(host: IsolatingHost, how: str) -> None:
    made = settings(how, timeout=0.3)
    await ask(host, settings())
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with pytest.raises(StrategyFailed, match=r"took longer than its timeout of 0\.3 s and was ended"):
        await ask(host, made)
    ticking.cancel()
    assert ticks > 3
    assert host.running() == {}


async def test_one_that_ends_its_process_ends_only_that(host: IsolatingHost) -> None:
    with pytest.raises(StrategyFailed, match="its process ended while it decided"):
        await ask(host, settings("dies"))
    assert isinstance(await ask(host, settings()), Decision)


async def test_a_canceled_run_leaves_no_process_behind(host: IsolatingHost) -> None:
    task = asyncio.create_task(ask(host, settings("hangs", timeout=20)))
    while not host.running():  # noqa: ASYNC110 - the host has no event for it
        await asyncio.sleep(0.01)
    [pid] = host.running().values()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not psutil.pid_exists(pid)


async def test_a_thread_that_hangs_is_not_asked_again(host: IsolatingHost) -> None:
    """A thread cannot be ended: its strategy stays out until it comes back."""
    made = settings("", timeout=0.2, isolation="thread")

    class Slow:
        def decide(self, seen: object) -> Decision:
            del seen
            time.sleep(0.8)
            return Decision()

    slow = Slow()
    with pytest.raises(StrategyFailed, match="took longer"):
        await host.decide("slow", made, slow, SEEN)  # pyright: ignore[reportArgumentType]
    with pytest.raises(StrategyFailed, match="still hangs"):
        await host.decide("slow", made, slow, SEEN)  # pyright: ignore[reportArgumentType]
    assert isinstance(await ask(host, made), Decision)


async def test_an_edited_file_is_read_again(
    host: IsolatingHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever edits a strategy need not restart the desk."""
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "edited_strategy.py"
    text = (
        "from kontor.strategies import *\n"
        "class Mine(Strategy[StrategyParameters]):\n"
        "    def needs(self): return DataNeed('1m', 1)\n"
        "    def decide(self, view): return Decision.of(state={'version': 1})\n"
    )
    file.write_text(text)
    made = StrategySettings.model_validate({"use": "edited_strategy:Mine", "symbols": ["BTC/USD:USD"]})
    strategy = build(made)
    assert await host.decide("mine", made, strategy, SEEN) == Decision(state={"version": 1})
    file.write_text(text.replace("1}", "22}"))
    os.utime(file, (1, 1))
    assert await host.decide("mine", made, strategy, SEEN) == Decision(state={"version": 22})
