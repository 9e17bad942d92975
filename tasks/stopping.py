"""Steps of a graceful stop: quiet the account, end its long-running flows, say what could not be stopped."""

import asyncio
from collections.abc import Collection
from uuid import UUID

from prefect import get_client, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Cancelling

from kontor import desk as gate
from kontor.desk import Desk
from kontor.errors import KontorError
from kontor.execution.quiesce import StopReport, quiesce
from kontor.ports import Alert
from tasks.resources import API_ERRORS

LONG_RUNNING_TAG = "long-running"
LIVE = (StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED, StateType.CANCELLING)
POLL_SECONDS = 0.5


@task(cache_policy=NO_CACHE)
async def quiet_account(desk: Desk, cancel_orders: bool, seconds: float) -> StopReport:
    """Refuse new orders, cancel the open ones if that is wanted, and verify it at the venue."""
    return await quiesce(desk, cancel_orders=cancel_orders, seconds=seconds)


@task(cache_policy=NO_CACHE)
async def stop_long_running(desk: Desk, report: StopReport, seconds: float) -> list[str]:
    """Cancel the account's long-running flow runs and wait for their end; returns the names of those that ended.

    Streams and executor alike, but not a run within which this one works. What has not ended in time, and what
    Prefect's API could not do, is reported. The gate is closed first: updaters that are due later end as Waiting.
    """
    try:
        await gate.close_gate(desk.store.desk, desk.account, desk.clock.now())
    except KontorError as error:
        report.problems.append(f"the gate is not closed: {error}")
    names: dict[UUID, str] = {}
    left: set[UUID] = set()
    try:
        async with get_client() as client:
            names = {run.id: run.name for run in await _live_runs(client, desk.account)}
            left = set(names)
            for each, name in names.items():
                await _cancel(client, each, name, report)
            left = await _until_over(client, left, seconds)
    except API_ERRORS as error:
        report.problems.append(f"the long-running flows could not be stopped: {error}")
    report.problems += [f"run {names[each]} has not ended within {seconds:.0f} s" for each in left]
    return sorted(names[each] for each in names.keys() - left)


async def _cancel(client: PrefectClient, run_id: UUID, name: str, report: StopReport) -> None:
    try:
        await client.set_flow_run_state(run_id, Cancelling(message="the desk is being shut down"))
    except ObjectNotFound:
        return
    except API_ERRORS as error:
        report.problems.append(f"run {name} could not be canceled: {error}")


@task(cache_policy=NO_CACHE)
async def tell_problems(desk: Desk, report: StopReport) -> None:
    """One alert with everything that could not be stopped."""
    if report.problems:
        text = "\n".join(report.problems)
        title, now = "Shutdown is incomplete", desk.clock.now()
        desk.notifier.notify(Alert(title, text, "critical", now, desk.account, event="desk.stop_incomplete"))


async def _live_runs(client: PrefectClient, account: str) -> list[FlowRun]:
    runs = await client.read_flow_runs(
        deployment_filter=DeploymentFilter(
            name=DeploymentFilterName(any_=[account]), tags=DeploymentFilterTags(all_=[LONG_RUNNING_TAG])
        ),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(LIVE)))),
    )
    around = await _lineage(client)
    return [run for run in runs if run.id not in around]


async def _lineage(client: PrefectClient) -> set[UUID]:
    """This run and those within which it works: to cancel one of them would end it before it is done."""
    found: set[UUID] = set()
    each = UUID(str(flow_run.id)) if flow_run.id else None
    while each is not None and each not in found:
        found.add(each)
        task_id = (await client.read_flow_run(each)).parent_task_run_id
        each = (await client.read_task_run(task_id)).flow_run_id if task_id else None
    return found


async def _until_over(client: PrefectClient, runs: Collection[UUID], seconds: float) -> set[UUID]:
    """Wait for the end of runs; returns those that have not ended in time."""
    left = set(runs)
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while left and loop.time() < until:
        for each in list(left):
            if await _is_over(client, each):
                left.discard(each)
        if left:
            await asyncio.sleep(POLL_SECONDS)
    return left


async def _is_over(client: PrefectClient, run_id: UUID) -> bool:
    try:
        state = (await client.read_flow_run(run_id)).state
    except ObjectNotFound:
        return True
    except API_ERRORS as error:
        # Asked again in a moment; one that never answers is reported as not ended.
        get_run_logger().warning("run %s could not be looked at: %s", run_id, error)
        return False
    return state is not None and state.is_final()
