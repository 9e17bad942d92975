"""What people ask of the runs a worker has: to be canceled, suspended or killed, in the UI or by the API."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

from prefect._flow_run_suspension import is_suspended_flow_run_state, mark_flow_run_suspension_requested
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound

from deployments.in_process.cancellation import Stopper
from deployments.in_process.identity import ProcessIdentity
from deployments.in_process.runs import ActiveRun, RunRegistry, Stop, StopKind

_CANCELED = "Canceled on request."


@dataclass
class Requests:
    """Does what is asked of the runs that live here; what is asked of any other run is for another worker."""

    client: PrefectClient
    registry: RunRegistry
    stopper: Stopper
    identity: ProcessIdentity

    async def cancel(self, flow_run_id: UUID) -> None:
        """End a run that was canceled in the UI or by the API."""
        if run := self.registry.get(flow_run_id):
            self._cancel(run)

    async def suspend(self, flow_run_id: UUID) -> None:
        """Stop a run at its next boundary because somebody suspended it."""
        if flow_run_id in self.registry:
            state = (await self.client.read_flow_run(flow_run_id)).state
            if state is not None and is_suspended_flow_run_state(state):
                mark_flow_run_suspension_requested(flow_run_id, state)

    async def catch_up(self) -> None:
        """Act on what was asked for while nobody listened."""
        ids = [run.id for run in self.registry]
        if not ids:
            return
        for flow_run in await self.client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids))):
            if flow_run.state is not None and flow_run.state.is_cancelling():
                await self.cancel(flow_run.id)
            elif is_suspended_flow_run_state(flow_run.state):
                await self.suspend(flow_run.id)

    async def kill(self, infrastructure_pid: str, *, grace_seconds: float) -> None:
        """Cancel the run that lives at this id, and wait for its end.

        Raises `InfrastructureNotAvailable` if it is another process's, `InfrastructureNotFound` if it has ended, and
        `TimeoutError` if it does not end within the grace.
        """
        if ProcessIdentity.parse(infrastructure_pid) != self.identity:
            raise InfrastructureNotAvailable(f"{infrastructure_pid} is not a run of this worker ({self.identity})")
        run = self.registry.get(UUID(infrastructure_pid.rsplit(":", 1)[1]))
        if run is None:
            raise InfrastructureNotFound(f"no run lives at {infrastructure_pid} any more")
        self._cancel(run)
        async with asyncio.timeout(grace_seconds):
            await run.ended.wait()

    def _cancel(self, run: ActiveRun) -> None:
        self.stopper.stop(run, Stop(StopKind.CANCELED, _CANCELED))
