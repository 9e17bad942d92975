"""Isolation: whatever a strategy does, its run ends in time and its process is gone."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from kontor.config import StrategySettings
from kontor.errors import ConfigError, StrategyFailed
from kontor.strategies import DataNeed, Decision
from kontor.strategies.child_process import ChildProcess
from kontor.strategies.hosts import Hosted, IsolatingHost
from kontor.strategies.source import Version
from tests.unit.strategies.views import symbol_view, view

PLACE = "tests.unit.strategies.misbehaving:Misbehaving"
SEEN = view(symbol_view())
PLENTY = 60.0
ONE = "paper/one"


@pytest.fixture
async def host() -> AsyncIterator[IsolatingHost]:
    host = IsolatingHost()
    yield host
    await host.close()


def settings(how: str = "", *, timeout: float = 10, **more: str) -> StrategySettings:
    return StrategySettings.model_validate(
        {"use": PLACE, "symbols": ["BTC/USD:USD"], "parameters": {"how": how}, "timeout_seconds": timeout, **more}
    )


@asynccontextmanager
async def free_loop() -> AsyncIterator[None]:
    """Fails when nothing else gets its turn meanwhile."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    yield
    ticking.cancel()
    assert ticks > 3


async def ask(host: IsolatingHost, made: StrategySettings, name: str = "one") -> object:
    """What a run does: learn what it needs, then have it decide."""
    who = Hosted("paper", name, made)
    await host.need(who, seconds=PLENTY)
    return await host.decide(who, SEEN, seconds=PLENTY)


async def test_a_process_decides_and_is_kept_for_the_next_run(host: IsolatingHost) -> None:
    """What it prints does not disturb the answer; a key in the desk's environment is not in its."""
    first = await ask(host, settings("prints"))
    second = await ask(host, settings("prints"))
    assert isinstance(first, Decision)
    assert first == second
    assert first.state is not None
    pid = first.state["pid"]
    assert pid == host.running()[ONE] != os.getpid()
    assert "KONTOR_HOME" not in psutil.Process(pid).environ()
    await host.close()
    assert not psutil.pid_exists(pid)


async def test_other_parameters_get_another_process(host: IsolatingHost) -> None:
    await ask(host, settings())
    before = host.running()[ONE]
    await ask(host, settings("prints"))
    assert host.running()[ONE] != before


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
    async with free_loop():
        with pytest.raises(StrategyFailed, match=r"took longer than its timeout of 0\.3 s and was ended"):
            await ask(host, made)
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
    slow = settings("naps", timeout=0.2, isolation="thread")
    with pytest.raises(StrategyFailed, match=r"took longer than 0\.2 s in its thread"):
        await ask(host, slow)
    with pytest.raises(StrategyFailed, match="still hangs"):
        await ask(host, slow)
    assert isinstance(await ask(host, settings(isolation="thread"), "other"), Decision)


WRITTEN = """\
import os, pathlib, time
from kontor.strategies import *
{at_import}
class Parameters(StrategyParameters):
    lookback: int = 1
class Mine(Strategy[Parameters]):
    def __init__(self, parameters):
        super().__init__(parameters)
        {in_constructor}
    def needs(self):
        {in_needs}
        return DataNeed('1m', self.parameters.lookback)
    def decide(self, view):
        return {decision}
"""


class Written:
    """A user's own file, as it stands beside kontor.yaml."""

    def __init__(self, folder: Path) -> None:
        self.file, self.edits = folder / "written_strategy.py", 0

    def says(self, decision: str = "Decision()", **where: str) -> None:
        """Save it; an edit counts though it falls into the same tick of the clock."""
        places = {"at_import": "", "in_constructor": "pass", "in_needs": "pass"} | where
        self.file.write_text(WRITTEN.format(decision=decision, **places))
        self.edits += 1
        os.utime(self.file, (self.edits, self.edits))

    def settings(self, **more: Any) -> StrategySettings:
        """It at work."""
        return StrategySettings.model_validate({"use": "written_strategy:Mine", "symbols": ["BTC/USD:USD"], **more})


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Written(tmp_path)


@pytest.mark.parametrize("isolation", ["process", "thread"])
async def test_an_edited_file_is_read_again_by_its_needs_and_its_decisions(
    host: IsolatingHost, written: Written, isolation: str
) -> None:
    """Whoever edits a strategy need not restart the desk: needs() once came from the old file for ever."""
    written.says("Decision(state={'version': 1})")
    made = written.settings(isolation=isolation)
    who = Hosted("paper", "mine", made)
    assert await host.need(who, seconds=PLENTY) == DataNeed("1m", 1)
    assert await host.decide(who, SEEN, seconds=PLENTY) == Decision(state={"version": 1})
    written.says("Decision(state={'version': 22})", in_needs="return DataNeed('5m', 7)")
    assert await host.need(who, seconds=PLENTY) == DataNeed("5m", 7)
    assert await host.decide(who, SEEN, seconds=PLENTY) == Decision(state={"version": 22})
    sys.modules.pop("written_strategy", None)


@pytest.mark.parametrize(
    ("place", "how"),
    [
        ("at_import", "time.sleep(600)"),
        ("in_constructor", "exec('while True: pass')"),
        ("in_needs", "time.sleep(600)"),
    ],
)
async def test_one_that_hangs_before_it_decides_holds_up_nobody(
    host: IsolatingHost, written: Written, place: str, how: str
) -> None:
    """Import, constructor and needs() are the user's code as well: exits and limits are watched in the same loop."""
    written.says(**{place: how})
    async with free_loop():
        with pytest.raises(StrategyFailed, match="was not ready within 2 s and was ended; its import, its constructor"):
            await host.need(Hosted("paper", "mine", written.settings()), seconds=2)
    assert host.running() == {}


async def test_none_of_its_code_runs_where_the_keys_are(host: IsolatingHost, written: Written, tmp_path: Path) -> None:
    """Not when it is loaded, not when its needs are asked, and not when its answer is read."""
    where, package = tmp_path / "ran", tmp_path / "theirs"
    package.mkdir()
    note = f"pathlib.Path({str(where)!r}).open('a').write(f'{{os.getpid()}} {{sorted(os.environ)}}\\n')"
    (package / "__init__.py").write_text(f"import os, pathlib\n{note}\n")
    own = f"{note}\nclass Own(Decision): pass"
    written.says("Own()", at_import=own, in_constructor=note, in_needs=note)
    written.file.rename(package / "written_strategy.py")
    made = StrategySettings.model_validate({"use": "theirs.written_strategy:Mine", "symbols": ["BTC/USD:USD"]})
    who = Hosted("paper", "mine", made)
    await host.need(who, seconds=PLENTY)
    with pytest.raises(StrategyFailed, match=r"cannot be read: it holds theirs\.written_strategy\.Own;"):
        await host.decide(who, SEEN, seconds=PLENTY)
    pids = {int(line.partition(" ")[0]) for line in where.read_text().splitlines()}
    assert len(where.read_text().splitlines()) == 4
    assert os.getpid() not in pids
    assert "KONTOR" not in where.read_text()
    assert not {"theirs", "theirs.written_strategy"} & sys.modules.keys()


async def test_wrong_parameters_are_told_as_such_and_not_tried_again_at_once(
    host: IsolatingHost, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are looked at where the code is; each look is a process."""
    starts, start = 0, ChildProcess.start

    async def counted(version: Version) -> ChildProcess:
        nonlocal starts
        starts += 1
        return await start(version)

    monkeypatch.setattr(ChildProcess, "start", counted)
    written.says()
    who = Hosted("paper", "mine", written.settings(parameters={"lookbak": 3}))
    with pytest.raises(ConfigError, match="parameters: lookbak is not a known key"):
        await host.need(who, seconds=PLENTY)
    with pytest.raises(ConfigError, match="parameters: lookbak is not a known key"):
        await host.need(who, seconds=PLENTY)
    assert starts == 1
    mended = Hosted("paper", "mine", written.settings(parameters={"lookback": 3}))
    assert (await host.need(mended, seconds=PLENTY)).candles == 3
    written.says(in_needs="return DataNeed('2m', 1)")
    with pytest.raises(ConfigError, match=r"use: needs\(\) failed .*timeframe '2m' is unknown"):
        await host.need(mended, seconds=PLENTY)


async def test_two_accounts_may_have_a_strategy_of_one_name(host: IsolatingHost) -> None:
    """Both are asked at the same moment, in the same worker: each gets its own answer."""
    made = settings("", timeout=PLENTY / 3)
    seats = [Hosted(account, "one", made) for account in ("okx-main", "paper")]
    await asyncio.gather(*(host.need(each, seconds=PLENTY) for each in seats))
    said = await asyncio.gather(*(host.decide(each, SEEN, seconds=PLENTY) for each in seats))
    pids = [each.state["pid"] for each in said if isinstance(each, Decision) and each.state]
    assert sorted(pids) == sorted(host.running().values())
    await host.keep_only("paper", [])
    assert list(host.running()) == ["okx-main/one"]


async def test_a_run_without_time_left_ends_no_process(host: IsolatingHost) -> None:
    """A process that was just started, slowly, is kept for the next run; what decides too long is ended."""
    who = Hosted("paper", "one", settings(timeout=5))
    await host.need(who, seconds=PLENTY)
    pid = host.running()[ONE]
    with pytest.raises(StrategyFailed, match="started too slowly to decide in this run"):
        await host.decide(who, SEEN, seconds=1)
    with pytest.raises(StrategyFailed, match="no time left"):
        await host.decide(who, SEEN, seconds=0)
    assert isinstance(await host.decide(who, SEEN, seconds=PLENTY), Decision)
    assert host.running()[ONE] == pid
