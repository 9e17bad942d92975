"""Steps of a graceful stop: quiet the account, end its long-running flows, say what could not be stopped."""

import asyncio
from collections.abc import Collection
from uuid import UUID

from prefect import get_client, task
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
from prefect.runtime import flow_run
from prefect.states import Cancelling

from kontor import desk as gate
from kontor.desk import Desk
from kontor.execution.quiesce import StopReport, quiesce
from kontor.ports import Alert

LONG_RUNNING_TAG = "long-running"
LIVE = (StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED, StateType.CANCELLING)
POLL_SECONDS = 0.5


@task(cache_policy=NO_CACHE)
async def quiet_account(desk: Desk, cancel_orders: bool | None, seconds: float) -> StopReport:
    """Refuse new orders, cancel the open ones as the setting or the caller says, and verify it at the venue."""
    wanted = desk.config.orders.cancel_on_stop if cancel_orders is None else cancel_orders
    return await quiesce(desk, cancel_orders=wanted, seconds=seconds)


@task(cache_policy=NO_CACHE)
async def stop_long_running(desk: Desk, report: StopReport, seconds: float) -> list[str]:
    """Cancel the account's long-running flow runs and wait for their end; returns the names of those that ended.

    Streams and executor alike; what has not ended in time is reported. The gate is closed first: updaters that are due
    later end as Waiting.
    """
    await gate.close_gate(desk.store.desk, desk.account, desk.clock.now())
    async with get_client() as client:
        runs = await _live_runs(client, desk.account)
        for run in runs:
            await client.set_flow_run_state(run.id, Cancelling(message="the desk is being shut down"))
        left = await _until_over(client, {run.id for run in runs}, seconds)
    names = {run.id: run.name for run in runs}
    report.problems += [f"run {names[each]} has not ended within {seconds:.0f} s" for each in left]
    return sorted(names[each] for each in names.keys() - left)


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
    return [run for run in runs if str(run.id) != str(flow_run.id)]


async def _until_over(client: PrefectClient, runs: Collection[UUID], seconds: float) -> set[UUID]:
    """Wait for the end of runs; returns those that have not ended in time."""
    left = set(runs)
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while left and loop.time() < until:
        for each in list(left):
            state = (await client.read_flow_run(each)).state
            if state is not None and state.is_final():
                left.discard(each)
        if left:
            await asyncio.sleep(POLL_SECONDS)
    return left
