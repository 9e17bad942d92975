"""The runs that live in this process, and what each of them is doing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

if TYPE_CHECKING:
    from deployments.in_process.catalog import DeployedFlow

#: The top-level run that the current task or thread works for; child flows and tasks inherit it.
ACTIVE: ContextVar[ActiveRun | None] = ContextVar("kontor-active-run", default=None)


class Phase(StrEnum):
    """Where a run is in its life here."""

    HELD = "held"  # known, not claimed: another worker may still take it
    CLAIMING = "claiming"  # the claim is on its way: let it arrive before anything else
    WAITING = "waiting"  # claimed, not yet due
    RUNNING = "running"  # the engine has it
    ENDING = "ending"  # told to stop; its state and its hooks are being settled


class StopKind(StrEnum):
    """Why a run was told to stop."""

    CANCELED = "canceled"
    DRAINED = "drained"


@dataclass(frozen=True, slots=True)
class Stop:
    """The order to stop, and the sentence that the run's state will say."""

    kind: StopKind
    message: str


@dataclass(slots=True, eq=False, weakref_slot=True)
class ActiveRun:
    """One run that this worker has taken on."""

    flow_run: FlowRun
    deployed: DeployedFlow
    due_at: datetime
    phase: Phase = Phase.HELD
    stop: Stop | None = None
    task: asyncio.Task[Any] | None = None
    thread_id: int | None = None
    began: float | None = None  # monotonic
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> UUID:
        """The flow run's id."""
        return self.flow_run.id

    @property
    def name(self) -> str:
        """The names people know the run by: flow, deployment and run."""
        return f"{self.deployed.flow_name}/{self.deployed.deployment.name} run {self.flow_run.name!r}"

    def interrupt(self) -> None:
        """Cancel the run's task where that is safe; while it claims or ends, its stop is seen soon enough."""
        if self.task is not None and self.phase in {Phase.HELD, Phase.WAITING, Phase.RUNNING}:
            self.task.cancel()

    def running_for(self) -> float:
        """Seconds since the flow began, 0 if it has not."""
        return time.monotonic() - self.began if self.began is not None else 0.0


class RunRegistry:
    """The runs of this process by id; what is not in here does not live here."""

    def __init__(self) -> None:
        self._runs: dict[UUID, ActiveRun] = {}
        self._fewer = asyncio.Event()

    def __contains__(self, flow_run_id: object) -> bool:
        return flow_run_id in self._runs

    def __iter__(self) -> Iterator[ActiveRun]:
        return iter(tuple(self._runs.values()))

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, flow_run_id: UUID) -> ActiveRun | None:
        """The run with this id, if it lives here."""
        return self._runs.get(flow_run_id)

    def add(self, run: ActiveRun) -> None:
        """Take a run on."""
        self._runs[run.id] = run

    def remove(self, run: ActiveRun) -> None:
        """Let a run go, whatever became of it."""
        if self._runs.get(run.id) is run:
            del self._runs[run.id]
        run.ended.set()
        self._fewer.set()

    def in_phase(self, *phases: Phase) -> list[ActiveRun]:
        """The runs that are in one of these phases now."""
        return [run for run in self if run.phase in phases]

    async def wait_until_empty(self, timeout: float) -> bool:
        """Whether the last run left within so many seconds."""
        deadline = time.monotonic() + timeout
        while self._runs:
            self._fewer.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await self._fewer.wait()
            except TimeoutError:
                return not self._runs
        return True
