"""Runs whose process ended without a word: ended as Crashed, or given back if they never began."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.logging import get_logger
from prefect.runner._hook_runner import HookRunner
from prefect.states import Cancelled, Crashed
from prefect.types._datetime import now

from deployments.in_process.backlog import due_time
from deployments.in_process.catalog import DeploymentCatalog
from deployments.in_process.identity import ProcessIdentity
from deployments.in_process.life import given_back
from deployments.in_process.runs import RunRegistry

logger = get_logger("worker.in_process.orphans")

#: A claim of our own whose reply was lost looks like an orphan only after this long.
SETTLING = timedelta(seconds=30)
_LIVE = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_PAGE = 200


def owner_of(flow_run: FlowRun) -> ProcessIdentity | None:
    """The process that last took the run on: its infrastructure, or a claim that had no time to write it."""
    message = flow_run.state.message if flow_run.state is not None else None
    if message and message.startswith("Claimed by worker ") and message.endswith(")"):
        return ProcessIdentity.parse(message.rsplit("(", 1)[1].rstrip(")"))
    return ProcessIdentity.parse(flow_run.infrastructure_pid)


def waits_in_process(flow_run: FlowRun) -> bool:
    """Whether a Scheduled run waits for a retry inside its process, hidden from every worker."""
    return flow_run.empirical_policy.retry_type == "in_process"


@dataclass
class OrphanSweep:
    """Finds and settles the runs of ended processes in one work pool."""

    client: PrefectClient
    catalog: DeploymentCatalog
    registry: RunRegistry
    identity: ProcessIdentity
    pool: str
    queues: Collection[str]
    _seen_elsewhere: set[UUID] = field(default_factory=set)

    async def sweep(self) -> int:
        """How many runs were settled. Runs of other workers' queues are left to those workers for one sweep."""
        settled = 0
        elsewhere: set[UUID] = set()
        for flow_run in await self._candidates():
            if not self._is_orphan(flow_run):
                continue
            if self.queues and flow_run.work_queue_name not in self.queues and flow_run.id not in self._seen_elsewhere:
                elsewhere.add(flow_run.id)
                continue
            settled += await self._settle(flow_run)
        self._seen_elsewhere = elsewhere
        return settled

    async def _candidates(self) -> list[FlowRun]:
        state = FlowRunFilterState.model_validate(
            {
                "operator": "or_",
                "type": FlowRunFilterStateType(any_=_LIVE),
                "name": FlowRunFilterStateName(any_=["AwaitingRetry"]),
            }
        )
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[self.pool]))
        found: list[FlowRun] = []
        while True:
            page = await self.client.read_flow_runs(
                flow_run_filter=FlowRunFilter(state=state), work_pool_filter=pool, limit=_PAGE, offset=len(found)
            )
            found += page
            if len(page) < _PAGE:
                return found

    def _is_orphan(self, flow_run: FlowRun) -> bool:
        state, owner = flow_run.state, owner_of(flow_run)
        if state is None or owner is None or flow_run.id in self.registry:
            return False
        if state.is_scheduled() and not waits_in_process(flow_run):
            return False
        if owner == self.identity:
            return now("UTC") - state.timestamp > SETTLING
        return owner.is_gone()

    async def _settle(self, found: FlowRun) -> bool:
        """Settle a run, unless it has moved on since it was found."""
        flow_run = await self.client.read_flow_run(found.id)
        if not self._is_orphan(flow_run) or flow_run.state is None:
            return False
        owner = owner_of(flow_run)
        if flow_run.state.is_pending() and flow_run.start_time is None:
            message = f"Given back: process {owner} ended before this run began."
            state = given_back(due_time(flow_run) or now("UTC"), message)
        elif flow_run.state.is_cancelling():
            state = Cancelled(message=f"Process {owner} ended while this run was being canceled.")
        else:
            state = Crashed(message=f"Process {owner}, in which this run lived, has ended.")
        await self._crash_children(flow_run, state.message or "")
        await self.client.set_flow_run_state(flow_run.id, state, force=True)
        logger.warning("event=orphan flow_run=%s state=%s owner=%s", flow_run.name, state.name, owner)
        if state.is_crashed() and flow_run.deployment_id is not None:
            await self._run_crashed_hooks(flow_run, flow_run.deployment_id, state)
        return True

    async def _run_crashed_hooks(self, flow_run: FlowRun, deployment_id: UUID, state: object) -> None:
        async def flow_of(_: FlowRun) -> object:
            return await self.catalog.load_flow(await self.catalog.find(deployment_id))

        await HookRunner(resolve_flow=flow_of).run_crashed_hooks(flow_run, state)  # pyright: ignore[reportArgumentType]

    async def _crash_children(self, parent: FlowRun, message: str) -> None:
        """End the child runs too: they lived in the same process, and no queue knows them."""
        children = await self.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent.id]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_LIVE)),
            )
        )
        for child in children:
            if child.deployment_id is None:  # a deployed child has a worker of its own
                await self._crash_children(child, message)
                await self.client.set_flow_run_state(child.id, Crashed(message=message), force=True)
