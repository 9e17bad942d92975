"""Deployments and the flows behind them, looked up once and again when they change."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.flows import Flow, load_flow_from_entrypoint

from deployments.in_process.job import JobConfiguration

#: A change is announced by an event; this is for the event that never came.
STALE_AFTER = 60.0
_SET_DIRECTORY = "prefect.deployments.steps.set_working_directory"


class CannotRunHereError(RuntimeError):
    """The deployment asks for something that a shared process cannot give."""


@dataclass(slots=True)
class DeployedFlow:
    """A deployment as it was when last read, and its flow once it has been imported."""

    deployment: DeploymentResponse
    read_at: float
    flow: Flow[..., Any] | None = None
    jobs: dict[str, JobConfiguration] = field(default_factory=dict)

    @property
    def flow_name(self) -> str:
        """The flow's name once known, the entrypoint until then."""
        return self.flow.name if self.flow else str(self.deployment.entrypoint)

    @property
    def is_limited(self) -> bool:
        """Whether claiming a run takes one of the deployment's concurrency slots."""
        return self.deployment.global_concurrency_limit is not None

    def import_path(self) -> str:
        """The entrypoint as this process can import it, whatever directory it was started in."""
        entrypoint = self.deployment.entrypoint
        if not entrypoint:
            raise CannotRunHereError(f"deployment {self.deployment.name!r} has no entrypoint; deploy it again")
        base = self.deployment.path
        for step in self.deployment.pull_steps or []:
            for name, inputs in step.items():
                if name != _SET_DIRECTORY:
                    raise CannotRunHereError(
                        f"deployment {self.deployment.name!r} has the pull step {name}, which would change the whole "
                        "worker: install the code beside the worker and deploy with 'pull: []'"
                    )
                base = inputs.get("directory", base)
        if ":" not in entrypoint:
            return entrypoint
        path, function = entrypoint.rsplit(":", 1)
        return f"{Path(base or '.') / path}:{function}"


class DeploymentCatalog:
    """The deployments this worker has met."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._known: dict[UUID, DeployedFlow] = {}
        self._imports: dict[str, asyncio.Task[Flow[..., Any]]] = {}

    def forget(self, deployment_id: UUID) -> None:
        """Read this deployment again before its next run."""
        if known := self._known.get(deployment_id):
            known.read_at = float("-inf")

    async def find(self, deployment_id: UUID) -> DeployedFlow:
        """The deployment; raises `ObjectNotFound` if it was deleted."""
        known = self._known.get(deployment_id)
        if known is not None and time.monotonic() - known.read_at < STALE_AFTER:
            return known
        deployment = await self._client.read_deployment(deployment_id)
        if known is not None and known.deployment.updated == deployment.updated:
            known.read_at = time.monotonic()
            return known
        fresh = DeployedFlow(deployment=deployment, read_at=time.monotonic())
        self._known[deployment_id] = fresh
        return fresh

    async def load_flow(self, deployed: DeployedFlow) -> Flow[..., Any]:
        """The flow, imported in a thread on first use so that a slow import delays nobody else."""
        if deployed.flow is None:
            path = deployed.import_path()
            if path not in self._imports:
                self._imports[path] = asyncio.create_task(asyncio.to_thread(_import_flow, path))
            try:
                flow = await asyncio.shield(self._imports[path])
            except Exception:
                self._imports.pop(path, None)  # the next run may find the mistake repaired
                raise
            deployed.flow = flow
        return deployed.flow

    async def job(self, deployed: DeployedFlow, flow_run: FlowRun, work_pool: WorkPool) -> JobConfiguration:
        """The deployment's job configuration, with what this run changes about it."""
        values = {**(deployed.deployment.job_variables or {}), **(flow_run.job_variables or {})}
        key = json.dumps([values, str(work_pool.updated)], sort_keys=True, default=str)
        if key not in deployed.jobs:
            job = await JobConfiguration.from_template_and_values(
                base_job_template=work_pool.base_job_template, values=values, client=self._client
            )
            if foreign := job.foreign_environment():
                raise CannotRunHereError(
                    f"deployment {deployed.deployment.name!r} wants environment variables that this worker does not "
                    f"have: {', '.join(foreign)}; start the worker with them, or use a process pool"
                )
            deployed.jobs = {key: job}
        return deployed.jobs[key]


def _import_flow(path: str) -> Flow[..., Any]:
    return load_flow_from_entrypoint(path, use_placeholder_flow=False)
