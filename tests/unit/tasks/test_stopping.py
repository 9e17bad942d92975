"""Ending the long-running runs: never the one within which one works, and whatever Prefect's API does, it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.exceptions import ObjectNotFound
from prefect.logging import disable_run_logger
from prefect.states import Cancelled, Running

from kontor.desk import is_gate_open, open_gate
from kontor.execution.quiesce import StopReport
from kontor.resilience.clock import SystemClock
from kontor.store.memory import MemoryStore
from tasks import stopping

Run = SimpleNamespace


@dataclass
class Api:
    """Prefect's API as far as it is asked: runs, the task runs between them, and what fails how often."""

    runs: dict[UUID, Run] = field(default_factory=dict)
    tasks: dict[UUID, UUID] = field(default_factory=dict)
    listed: list[UUID] = field(default_factory=list)
    failures: dict[str, list[Exception]] = field(default_factory=dict)
    canceled: list[str] = field(default_factory=list)

    def run(self, name: str, within: UUID | None = None, *, listed: bool = False) -> UUID:
        """A run at work, perhaps within another."""
        run_id, task_id = uuid4(), None
        if within is not None:
            task_id = uuid4()
            self.tasks[task_id] = within
        self.runs[run_id] = Run(id=run_id, name=name, state=Running(), parent_task_run_id=task_id)
        if listed:
            self.listed.append(run_id)
        return run_id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def read_flow_runs(self, **_: Any) -> list[Run]:
        self._fail("list")
        return [self.runs[each] for each in self.listed]

    async def read_flow_run(self, run_id: UUID) -> Run:
        self._fail("read")
        return self.runs[run_id]

    async def read_task_run(self, task_id: UUID) -> Run:
        return Run(flow_run_id=self.tasks[task_id])

    async def set_flow_run_state(self, run_id: UUID, state: Any) -> None:
        assert state.is_cancelling()
        self._fail("cancel")
        self.canceled.append(self.runs[run_id].name)
        self.runs[run_id].state = Cancelled()

    def _fail(self, what: str) -> None:
        if self.failures.get(what):
            raise self.failures[what].pop(0)


@dataclass
class Here:
    """A run of `shutdown` with what it needs."""

    api: Api
    desk: Any
    report: StopReport = field(default_factory=StopReport)

    async def stop(self, seconds: float = 5) -> list[str]:
        """End the long-running runs."""
        with disable_run_logger():
            return await stopping.stop_long_running.fn(self.desk, self.report, seconds)


@pytest.fixture
async def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    api, store = Api(), MemoryStore()
    desk = SimpleNamespace(account="paper", store=store, clock=SystemClock())
    await open_gate(store.desk, "paper", desk.clock.now())
    monkeypatch.setattr(stopping, "get_client", lambda: api)
    monkeypatch.setattr(stopping, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(stopping, "flow_run", SimpleNamespace(id=str(api.run("shutdown"))))
    return Here(api, desk)


async def test_the_runs_around_a_subflow_are_left_alone(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long-running flow of one's own may call shutdown: it ended itself before anything else was done."""
    api = here.api
    own = api.run("my-watchdog", listed=True)
    between = api.run("evening", own)
    mine = api.run("shutdown", between, listed=True)
    api.run("execute-orders", listed=True)
    monkeypatch.setattr(stopping, "flow_run", SimpleNamespace(id=str(mine)))
    assert await here.stop() == ["execute-orders"]
    assert (api.canceled, here.report.problems) == (["execute-orders"], [])
    assert not await is_gate_open(here.desk.store.desk, "paper")


@pytest.mark.parametrize("what", ["list", "cancel"])
async def test_what_the_api_cannot_do_is_a_problem_and_no_end(here: Here, what: str) -> None:
    """What follows tells people of the problems: it was skipped."""
    here.api.run("execute-orders", listed=True)
    here.api.run("stream-market", listed=True)
    here.api.failures[what] = [httpx.ConnectError("connection refused")]
    stopped = await here.stop(0.2)
    assert "connection refused" in here.report.problems[0]
    if what == "list":
        assert (stopped, len(here.report.problems)) == ([], 1)
        return
    assert stopped == ["stream-market"]
    assert here.report.problems[1] == "run execute-orders has not ended within 0 s"


async def test_a_failing_look_is_taken_again_and_a_run_that_is_gone_is_over(here: Here) -> None:
    """Prefect's server is under load just then; deleted runs have ended."""
    here.api.run("execute-orders", listed=True)
    gone = ObjectNotFound(http_exc=Exception("404"))
    own = here.api.failures.setdefault("read", [])
    read = here.api.read_flow_run

    async def after_the_first(run_id: UUID) -> Run:
        # The first look is at the run itself, for those around it.
        here.api.read_flow_run = read  # pyright: ignore[reportAttributeAccessIssue]
        found = await read(run_id)
        own.extend([httpx.ReadTimeout("slow"), gone])
        return found

    here.api.read_flow_run = after_the_first  # pyright: ignore[reportAttributeAccessIssue]
    assert await here.stop() == ["execute-orders"]
    assert here.report.problems == []
    assert own == []


async def test_a_store_that_fails_keeps_the_runs_from_nothing(here: Here) -> None:
    from kontor.errors import StoreUnavailable

    async def fails(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("the disk is full")

    here.api.run("execute-orders", listed=True)
    here.desk.store.desk.set_attribute = fails
    assert await here.stop() == ["execute-orders"]
    assert here.report.problems == ["the gate is not closed: the disk is full"]
