"""Children that hang: a busy one is left alone, a dead one is replaced, and systemd hears when that helps no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deployments.crew import Crew
from deployments.executor import Watch
from deployments.guard import EXECUTOR_SILENCE, PATIENCE, Guard, silent_executors
from deployments.home import Home, Ports
from deployments.instance import DeskRecord
from deployments.lineup import QUEUES, Lineup
from deployments.prefect_api import Deployment, PrefectApi, Run
from deployments.project import Project
from deployments.vigil import ASLEEP_SECONDS, LOOK_SECONDS, START_FACTOR, TROUBLE, Vigil, Ward
from kontor.desk import close_gate, open_gate
from kontor.errors import StoreUnavailable
from kontor.store.memory import MemoryStore
from tests.fakes.virtual_time import in_virtual_time

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
REPOSITORY = Path(__file__).resolve().parents[3]


class Child:
    """A process that answers, or not; each replacement is another pid."""

    def __init__(self, **how: Any) -> None:
        self.said: list[str] = []
        self.pid: int | None = 1
        self.answers = True
        self.ended: list[float] = []
        self.asked = 0
        self.ward = Ward("worker orders", self.is_well, self.end, PATIENCE, identity=lambda: self.pid, **how)
        self.vigil = Vigil([self.ward], self.said.append, monotonic=asyncio.get_running_loop().time)

    async def is_well(self) -> bool:
        self.asked += 1
        return self.answers

    def end(self) -> None:
        self.ended.append(asyncio.get_running_loop().time())
        self.pid = (self.pid or 0) + 1

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.vigil.run())
        await asyncio.sleep(0)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def looks(count: float) -> None:
    """Let so many looks pass, and a little more."""
    await asyncio.sleep(count * LOOK_SECONDS + 0.1)


@in_virtual_time
async def test_a_child_that_is_busy_for_a_while_is_left_alone() -> None:
    """A machine that compiles something, a database that is locked: nothing to kill a worker with live orders for."""
    child = Child()
    async with child.watched():
        for _ in range(20):
            child.answers = False
            await looks(PATIENCE - 2)
            child.answers = True
            await looks(1)
    assert (child.ended, child.said) == ([], [])


@in_virtual_time
async def test_a_child_that_hangs_is_ended_and_that_is_said_once() -> None:
    """Its keeper starts it again, as after any other end."""
    child = Child()
    async with child.watched():
        child.answers = False
        await looks(PATIENCE)
        child.answers = True
        await looks(PATIENCE * 10)
        assert await child.vigil.is_well()
    assert len(child.ended) == 1
    assert child.said == ["the worker orders has given no sign of life for 5 min: ending it, it is started again"]


@in_virtual_time
async def test_one_that_has_just_been_started_may_take_longer() -> None:
    """Importing everything on a busy machine takes minutes: ending it then would end it for ever."""
    child = Child()
    async with child.watched():
        await looks(1)
        # Its keeper has started it again by itself.
        child.pid, child.answers = 7, False
        await looks(START_FACTOR * PATIENCE - 2)
        assert child.ended == []
        await looks(2)
        assert len(child.ended) == 1
        await looks(START_FACTOR * PATIENCE - 2)
        assert len(child.ended) == 1


@in_virtual_time
async def test_one_that_is_not_there_is_its_keepers_business() -> None:
    """Between two starts nothing can answer, and nothing needs to be ended."""
    child = Child()
    async with child.watched():
        child.pid, child.answers = None, False
        await looks(100)
    assert (child.ended, child.asked) == ([], 0)


@in_virtual_time
async def test_a_desk_whose_children_hang_again_and_again_is_not_well_for_systemd() -> None:
    """Then the whole desk is started anew; a page or a paper exchange is no reason for that."""
    for essential in (True, False):
        child = Child(essential=essential)
        async with child.watched():
            child.answers = False
            await looks(PATIENCE + (TROUBLE - 1) * START_FACTOR * PATIENCE + TROUBLE)
            assert len(child.ended) == TROUBLE
            assert await child.vigil.is_well() is not essential
            child.answers = True
            await looks(2)
            assert await child.vigil.is_well()


@in_virtual_time
async def test_what_is_replaced_once_for_each_trouble_is_not_replaced_again_before_it_was_well() -> None:
    """An executor that cannot write on a full disk is not helped by a restart a minute."""
    child = Child(once=True)
    async with child.watched():
        for times in (1, 2):
            child.answers = False
            await looks(START_FACTOR * PATIENCE * 10)
            assert len(child.ended) == times
            child.answers = True
            await looks(2)


@in_virtual_time
async def test_an_answer_that_never_comes_is_none_and_who_cannot_be_asked_says_nothing() -> None:
    """A server that takes a connection and hangs; a store that is away while an executor is asked about."""
    child = Child()

    async def hangs() -> bool:
        await asyncio.sleep(1e9)
        return True

    async def away() -> bool:
        raise StoreUnavailable("the store is away")

    child.ward.is_well = away
    async with child.watched():
        await asyncio.sleep(3600)
        assert child.ended == []
        child.ward.is_well = hangs
        await asyncio.sleep(600)
        assert len(child.ended) == 1


@in_virtual_time
async def test_a_vigil_that_does_not_come_round_is_not_well() -> None:
    """Whoever watches the others is watched by systemd."""
    now = 0.0
    vigil = Vigil([], pytest.fail, monotonic=lambda: now)
    task = asyncio.create_task(vigil.run())
    await asyncio.sleep(0)
    assert await vigil.is_well()
    now = ASLEEP_SECONDS + LOOK_SECONDS + 1
    assert not await vigil.is_well()
    task.cancel()


EXECUTE = Deployment("d1", "execute-orders", "live", None, {"account": "live"})


class Runs(PrefectApi):
    """The executor's runs."""

    def __init__(self, *runs: Run) -> None:
        super().__init__("http://127.0.0.1:1")
        self.runs = runs

    async def live_runs(self, deployment: Deployment) -> list[Run]:
        assert deployment is EXECUTE
        return list(self.runs)


def run(state: str, since: timedelta) -> Run:
    return Run("r", "a-run", state, state.title(), "", NOW - since, None)


async def test_an_executor_that_runs_and_reports_nothing_is_silent() -> None:
    """The process is well, its loop turns, and no order goes out: only the heartbeat tells."""
    long, store = EXECUTOR_SILENCE + timedelta(minutes=1), MemoryStore()
    api = Runs(run("RUNNING", long))
    watch = Watch(api, [EXECUTE, Deployment("d2", "stream-market", "live", None)], NOW, pytest.fail)

    async def silent(api: Runs = api) -> list[str]:
        return await silent_executors(api, store, watch, NOW)

    assert await silent() == []  # not initialized: it waits for its gate
    await open_gate(store.desk, "live", NOW - timedelta(seconds=20))
    await store.desk.beat("live", "execute-orders", NOW - timedelta(days=1))
    assert await silent() == []  # the gate has just opened
    await open_gate(store.desk, "live", NOW - long)
    assert await silent() == ["live"]
    assert await silent(Runs()) == []  # a person has canceled its run
    assert await silent(Runs(run("SCHEDULED", long))) == []
    assert await silent(Runs(run("RUNNING", timedelta(minutes=1)))) == []  # the next one has just begun
    await store.desk.beat("live", "execute-orders", NOW - timedelta(seconds=30))
    assert await silent() == []
    await store.desk.beat("live", "execute-orders", NOW - long)
    await close_gate(store.desk, "live", NOW)
    assert await silent() == []


async def test_every_process_of_a_desk_is_watched_under_its_own_name(tmp_path: Path) -> None:
    """A ward whose name is no child's would find no process, and watch nothing without a word."""
    home, ports = Home(tmp_path), Ports(1, 2, 3)
    home.make()
    lineup = Lineup(home, ports, Project(REPOSITORY), timedelta(days=3))
    started = [lineup.server(), lineup.paper(), *(lineup.worker(queue) for queue in QUEUES), lineup.page()]
    crew = Crew(home, DeskRecord.of_this_process(ports), lambda _: None)
    watch = Watch(Runs(), [], NOW, pytest.fail)
    opened: Any = None
    guard = Guard(crew, ports, watch, opened)
    async with guard.keeping():
        wards = [ward for vigil in guard.vigils for ward in vigil.wards]
        assert {ward.name for ward in wards} == {spec.name for spec in started}
        assert await guard.is_well()
        with_pulse = {spec.name for spec in started if spec.pulse_variable}
        assert with_pulse == {f"worker {queue}" for queue in QUEUES}
        # None of them has been started: there is nothing to end.
        assert [ward.identity() for ward in guard.vigils[0].wards] == [None] * len(started)
    without = Guard(crew, Ports(1, 2, 0), watch, opened)
    async with without.keeping():
        assert "page" not in {ward.name for ward in without.vigils[0].wards}


@in_virtual_time
async def test_an_answer_that_nobody_expected_ends_no_vigil() -> None:
    """Else systemd would end the whole desk five minutes later, for what one look could not read."""
    child = Child()

    async def odd() -> bool:
        raise ValueError("no JSON")

    child.ward.is_well = odd
    async with child.watched():
        await looks(3 * PATIENCE)
        assert await child.vigil.is_well()
        assert child.said == ["the worker orders cannot be looked at: ValueError: no JSON"]
        child.ward.is_well = child.is_well
        child.answers = False
        await looks(PATIENCE)
    assert len(child.ended) == 1
