"""Which due runs of a late backlog are still worth running: the newest of each schedule, and every ad-hoc one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

#: States in which a scheduled run has never been anyone's: a retried or resumed one is somebody's wish.
_UNTOUCHED = {"Scheduled", "Late"}


def due_time(flow_run: FlowRun) -> datetime | None:
    """When the run is to begin, as the server orders it."""
    return flow_run.next_scheduled_start_time or flow_run.expected_start_time


def is_collapsible(flow_run: FlowRun, now: datetime) -> bool:
    """Whether the run comes from a schedule, is due, and has never begun."""
    due = due_time(flow_run)
    state_name = flow_run.state.name if flow_run.state else flow_run.state_name
    return bool(
        flow_run.auto_scheduled
        and flow_run.deployment_id
        and not flow_run.run_count
        and state_name in _UNTOUCHED
        and due is not None
        and due <= now
    )


@dataclass(frozen=True, slots=True)
class Backlog:
    """What to run, and what to end as skipped, each with the due time of the run that stands for it."""

    to_run: list[FlowRun]
    to_skip: list[tuple[FlowRun, datetime]]


def collapse(flow_runs: Iterable[FlowRun], now: datetime) -> Backlog:
    """The given runs, with all but the newest due one of each schedule put aside."""
    runs = list(flow_runs)
    newest: dict[tuple[UUID | None, str], datetime] = {}
    for run in runs:
        due = due_time(run)
        if is_collapsible(run, now) and due is not None:
            newest[_schedule_of(run)] = max(due, newest.get(_schedule_of(run), due))
    to_run: list[FlowRun] = []
    to_skip: list[tuple[FlowRun, datetime]] = []
    kept: set[tuple[UUID | None, str]] = set()
    for run in sorted(runs, key=lambda each: due_time(each) or now, reverse=True):
        schedule = _schedule_of(run)
        if not is_collapsible(run, now):
            to_run.append(run)
        elif schedule not in kept:
            kept.add(schedule)
            to_run.append(run)
        else:
            to_skip.append((run, newest[schedule]))
    return Backlog(to_run=to_run[::-1], to_skip=to_skip[::-1])


async def newest_due(client: PrefectClient, backlog: Backlog, now: datetime, page: int) -> list[FlowRun]:
    """The newest due runs of the backlog's schedules, as many pages of them as it takes to see each schedule.

    The server hands out the oldest first: a page full of late runs hides the newer ones, and while late runs come in as
    fast as they can be skipped, nothing would ever be run. So these are asked for from the other end.
    """
    wanted = {_schedule_of(run) for run in backlog.to_run if is_collapsible(run, now)}
    asked = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=sorted({run for run, _ in wanted if run is not None})),
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=sorted(_UNTOUCHED))),
        expected_start_time=FlowRunFilterExpectedStartTime.model_validate({"before_": now}),
    )
    found: list[FlowRun] = []
    while wanted:
        newer = await client.read_flow_runs(
            flow_run_filter=asked, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=page, offset=len(found)
        )
        found += newer
        wanted -= {_schedule_of(run) for run in newer}
        if len(newer) < page:
            break
    return found


def _schedule_of(flow_run: FlowRun) -> tuple[UUID | None, str]:
    """A deployment may have several schedules with parameters of their own: each keeps its newest run."""
    return flow_run.deployment_id, str(sorted(flow_run.parameters.items(), key=lambda item: item[0]))
