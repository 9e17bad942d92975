"""A flow run's life in this worker: claimed early, begun when due, ended in a state that is true."""

from __future__ import annotations

import asyncio
import math
import time
from concurrent.futures import Executor
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, WorkPool
from prefect.exceptions import Abort, ObjectNotFound, Pause, TerminationSignal
from prefect.flow_engine import _flow_parameters
from prefect.flows import Flow
from prefect.logging import get_logger
from prefect.runner._hook_runner import HookRunner
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Pending, Scheduled
from prefect.types._datetime import now
from prefect.utilities.engine import propose_state

from deployments.in_process.backlog import due_time
from deployments.in_process.catalog import DeploymentCatalog
from deployments.in_process.client import RunClient, is_outage, without_client_retries
from deployments.in_process.containment import belongs_to
from deployments.in_process.engine import AsyncEngine, ThreadEngine, drained_state
from deployments.in_process.identity import ProcessIdentity
from deployments.in_process.job import JobConfiguration
from deployments.in_process.runs import ACTIVE, ActiveRun, Phase, RunRegistry, StopKind
from deployments.in_process.slots import Slots
from deployments.metrics.runs import RunFigures

logger = get_logger("worker.in_process")

#: A run due sooner than this is claimed at once; the others wait for a turn, so that claims do not delay beginnings.
URGENT = 1.0
CLAIMS_AT_ONCE = 2


@dataclass
class Lives:
    """Everything a run's life needs; `begin` starts one."""

    worker_name: str
    identity: ProcessIdentity
    client: PrefectClient
    catalog: DeploymentCatalog
    registry: RunRegistry
    slots: Slots
    threads: Executor
    #: Counts what begins and ends here; None where nobody counts.
    figures: RunFigures | None = None
    #: What flows find around them: the worker's own, not that of the chore which happened to find their run.
    surroundings: Context = field(default_factory=copy_context)
    _claims: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CLAIMS_AT_ONCE))

    async def begin(self, flow_run: FlowRun, work_pool: WorkPool) -> ActiveRun | None:
        """The run, taken on; None if there is nothing to take on because its deployment is gone."""
        assert flow_run.deployment_id is not None  # noqa: S101 - the pool's queues hold deployed runs only
        try:
            deployed = await self.catalog.find(flow_run.deployment_id)
        except ObjectNotFound:
            message = f"Deployment {flow_run.deployment_id} no longer exists, so this run was canceled."
            await self.client.set_flow_run_state(flow_run.id, Cancelled(message=message), force=True)
            return None
        if flow_run.id in self.registry:
            return None
        run = ActiveRun(flow_run=flow_run, deployed=deployed, due_at=due_time(flow_run) or now("UTC"))
        self.registry.add(run)
        run.task = asyncio.create_task(
            self._live(run, work_pool), name=f"flow run {flow_run.name}", context=self.surroundings.copy()
        )
        belongs_to(run.task, run)
        return run

    async def skip(self, flow_run: FlowRun, newest: datetime) -> None:
        """End a late scheduled run that a newer due one of its schedule stands for."""
        if await self._claim(flow_run):
            message = f"Skipped: late, and a newer run of the same schedule was due at {newest:%H:%M:%S} UTC."
            await self.client.set_flow_run_state(flow_run.id, Completed(name="Skipped", message=message))

    async def _live(self, run: ActiveRun, work_pool: WorkPool) -> None:
        ACTIVE.set(run)
        try:
            await self._claim_and_run(run, work_pool)
        except asyncio.CancelledError:
            if run.stop is None:
                raise
            await self._settle_before_begin(run)
        except Exception as error:
            if is_outage(error):
                logger.warning("event=run-lost run=%s error=%r", run.name, error)
            else:
                logger.exception("event=run-lost run=%s", run.name)
            if run.phase is not Phase.CLAIMING:  # a claim that failed left nothing to settle but for the sweep
                await self._crash_if_unsettled(run.flow_run, error)
        finally:
            self.slots.release(run)
            self.registry.remove(run)

    async def _claim_and_run(self, run: ActiveRun, work_pool: WorkPool) -> None:
        """The run's way; a stop before the flow began surfaces as CancelledError."""
        if self.slots.are_limited or run.deployed.is_limited:
            await _sleep_until(run.due_at)
            if not self.slots.take(run):
                return
        run.phase = Phase.CLAIMING
        if not await self._claim_in_turn(run):
            return
        prepared = await self._prepare(run, work_pool)
        run.phase = Phase.WAITING
        if prepared is None:
            return
        if run.stop is not None:
            raise asyncio.CancelledError
        await _sleep_until(run.due_at)
        run.phase = Phase.RUNNING
        await self._execute(run, *prepared)

    async def _claim_in_turn(self, run: ActiveRun) -> bool:
        if (run.due_at - now("UTC")).total_seconds() < URGENT:
            return await self._claim(run.flow_run)
        async with self._claims:
            return await self._claim(run.flow_run)

    async def _claim(self, flow_run: FlowRun) -> bool:
        """Whether the run is ours: the server gives each run to one worker only."""
        proposed = Pending(
            message=f"Claimed by worker {self.worker_name} ({self.identity.infrastructure_pid(flow_run.id)})"
        )
        try:
            with without_client_retries():
                state = await propose_state(self.client, proposed, flow_run_id=flow_run.id)
        except Abort as refusal:
            logger.debug("event=claim-refused flow_run_id=%s reason=%s", flow_run.id, refusal)
            return False
        if state.is_pending():
            flow_run.state, flow_run.state_name, flow_run.state_type = state, state.name, state.type
        return state.is_pending()

    async def _prepare(self, run: ActiveRun, work_pool: WorkPool) -> tuple[Flow[..., Any], JobConfiguration] | None:
        """The flow and its job, with the run's infrastructure and policy written; None if it cannot run here."""
        flow_run = run.flow_run
        try:
            flow = await self.catalog.load_flow(run.deployed)
            job = await self.catalog.job(run.deployed, flow_run, work_pool)
            await self._write_down(flow_run, flow)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever an import raises is this run's end only
            await self._crash(flow_run, f"The flow could not be prepared: {type(error).__name__}: {error}")
            return None
        return flow, job

    async def _write_down(self, flow_run: FlowRun, flow: Flow[..., Any]) -> None:
        """What Prefect's worker and engine write in three calls: where the run lives, its version and its policy."""
        policy = flow_run.empirical_policy
        if policy.retries is None:
            policy.retries = flow.retries
        if policy.retry_delay is None:
            policy.retry_delay = math.ceil(flow.retry_delay_seconds or 0)  # the API refuses fractions
        flow_run.infrastructure_pid = self.identity.infrastructure_pid(flow_run.id)
        await RunClient(self.client, None).update_flow_run(
            flow_run.id,
            flow_version=flow.version,
            empirical_policy=policy,
            infrastructure_pid=flow_run.infrastructure_pid,
        )

    async def _execute(self, run: ActiveRun, flow: Flow[..., Any], job: JobConfiguration) -> None:
        """Run the flow under its engine; nothing it raises gets past this point but the end of the worker."""
        run.began = time.monotonic()
        state = None
        if self.figures is not None:
            self.figures.began(run)
        try:
            parameters = _flow_parameters(flow=flow, flow_run=run.flow_run, parameters=None)
            common = {"flow": flow, "flow_run": run.flow_run, "parameters": parameters}
            if flow.isasync:
                state = await AsyncEngine(**common, active=run, when_drained=job.when_drained).execute()
            else:
                engine = ThreadEngine(**common, active=run, when_drained=job.when_drained)
                state = await engine.execute_in(self.threads)
        except (Abort, Pause) as decision:
            logger.info("event=run-set-aside run=%s reason=%s", run.name, decision)
        except (asyncio.CancelledError, TerminationSignal):
            if run.stop is None:
                raise asyncio.CancelledError from None
            await self._settle_if_unsettled(run, job)
        except BaseException as error:  # noqa: BLE001 - even SystemExit is one run's business only
            logger.warning("event=run-ended-by-exception run=%s error=%r", run.name, error)
            await self._crash_if_unsettled(run.flow_run, error)
        finally:
            if self.figures is not None:
                self.figures.ended(run, state)

    async def _settle_if_unsettled(self, run: ActiveRun, job: JobConfiguration) -> None:
        """The engine settles a stopped run, unless the stop came before it had begun to look after it."""
        client = RunClient(self.client, None)
        state = (await client.read_flow_run(run.id)).state
        if run.stop is None or state is None or not (state.is_running() or state.is_pending() or state.is_cancelling()):
            return
        is_canceled = run.stop.kind is StopKind.CANCELED
        settled = Cancelled(message=run.stop.message) if is_canceled else drained_state(run, job.when_drained)
        await client.set_flow_run_state(run.id, settled, force=True)

    async def _crash_if_unsettled(self, flow_run: FlowRun, error: BaseException) -> None:
        current = await RunClient(self.client, None).read_flow_run(flow_run.id)
        if current.state is not None and (current.state.is_running() or current.state.is_pending()):
            await self._crash(flow_run, f"The flow's engine raised {type(error).__name__}: {error}")

    async def _crash(self, flow_run: FlowRun, message: str) -> None:
        logger.error("event=run-crashed flow_run_id=%s reason=%s", flow_run.id, message)
        await RunClient(self.client, None).set_flow_run_state(flow_run.id, Crashed(message=message), force=True)

    async def _settle_before_begin(self, run: ActiveRun) -> None:
        """A stopped run that had not begun: given back if the worker stops, canceled if somebody wants it canceled."""
        if run.phase is Phase.HELD or run.stop is None:
            return
        run.phase = Phase.ENDING
        client = RunClient(self.client, None)
        if run.stop.kind is StopKind.DRAINED:
            await client.set_flow_run_state(run.id, given_back(run.due_at, run.stop.message), force=True)
            return
        hooks = HookRunner(resolve_flow=lambda _: self.catalog.load_flow(run.deployed))
        await hooks.run_cancellation_hooks(run.flow_run, Cancelling(message=run.stop.message))
        await client.set_flow_run_state(run.id, Cancelled(message=run.stop.message), force=True)


def given_back(due_at: datetime, message: str) -> State[Any]:
    """The state of a claimed run that never began: any worker may take it, and a late one is collapsed as usual."""
    return cast("State[Any]", Scheduled(scheduled_time=due_at, message=message))


async def _sleep_until(moment: datetime) -> None:
    """Return at the moment; long sleeps are taken in parts so that a corrected clock is noticed."""
    while (left := (moment - now("UTC")).total_seconds()) > 0:  # noqa: ASYNC110 - nothing sets off a due time
        await asyncio.sleep(min(left, 5.0))
