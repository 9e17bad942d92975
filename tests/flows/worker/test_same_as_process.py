"""The same flows on an in-process and on a stock process worker: what a user sees must be the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES
from prefect.states import Cancelling

Traced = Callable[[str | FlowRun], list[str]]

#: Flow, its parameters beside the trace, and the states it may end in.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("returns", {"number": 21}),
    ("returns", {"number": "not a number"}),
    ("returns_from_thread", {"number": 4}),
    ("fails_once", {}),
    ("fails", {}),
    ("fails_in_thread", {}),
    ("overstays", {}),
    ("exits", {}),
    ("parent", {}),
]


@dataclass(frozen=True)
class Seen:
    """What a user sees of a finished run."""

    state: str
    kind: str
    message: str
    result: Any
    attempts: int
    tags: tuple[str, ...]
    traced: tuple[str, ...]
    logs: tuple[str, ...]
    children: tuple[str, ...]


def _own(message: str) -> bool:
    """Whether a log line is the flow's own or about its hooks; the workers' own lines differ by nature."""
    return message.startswith(
        ("number", "the total", "Running hook", "Hook", "Encountered exception", "Crash detected")
    )


async def all_logs(desk: Any, run: FlowRun, wait_until: Any) -> list[str]:
    """The run's log lines once the engine's last one is there; they travel in batches."""

    async def arrived() -> list[str] | None:
        logs = await desk.log_records(run)
        lines = [log.message for log in logs]
        if "Validation" in ((await desk.read(run)).state.message or ""):
            return lines  # the engine has no logger of the run's own before its parameters are valid
        is_over = any(log.message.startswith("Finished in state") and log.task_run_id is None for log in logs)
        return lines if is_over else None

    return await wait_until(arrived, 30, "the run's last log line")


async def look(desk: Any, run: FlowRun, traced: Traced, wait_until: Any) -> Seen:
    done = await desk.reaches(run, "Completed", "Failed", "Crashed", "TimedOut", "Cancelled", within=150)
    result = await done.state.result(raise_on_failure=False) if done.state.is_completed() and done.state.data else None
    children = await desk.client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [run.id]}})
    )
    logs = [message for message in await all_logs(desk, run, wait_until) if _own(message)]
    return Seen(
        state=done.state_name,
        kind=done.state_type.value,
        message=(done.state.message or "").splitlines()[0] if done.state.message else "",
        result=result if isinstance(result, int | str) else None,
        attempts=done.run_count,
        tags=tuple(sorted(done.tags)),
        traced=tuple(traced(run)),
        logs=tuple(sorted(line.split("\n")[0] for line in logs)),
        children=tuple(child.state_name for child in children),
    )


@pytest.mark.timeout(400)
async def test_flows_end_the_same_on_both_worker_types(common: Any, traced: Traced, wait_until: Any) -> None:
    """States, messages, results, retries, timeouts, hooks, logs, tags, child flows and validation, side by side."""
    process_pool = await common.add_pool("process")
    runs: dict[str, list[FlowRun]] = {"in-process": [], "process": []}
    for flow, parameters in CASES:
        for kind, pool in (("in-process", "common"), ("process", process_pool)):
            deployment = await common.deploy(flow, pool=pool, tags=["compared"], enforce_parameter_schema=False)
            trace = common.trace()
            runs[kind].append(
                await common.run_deployment(deployment, parameters={"trace": trace, **parameters}, tags=["by-hand"])
            )
    worker = common.worker("--limit", "3", kind="process", pool=process_pool)
    seen = {kind: [await look(common, run, traced, wait_until) for run in both] for kind, both in runs.items()}
    worker.kill()
    for (flow, parameters), ours, theirs in zip(CASES, seen["in-process"], seen["process"], strict=True):
        assert asdict(ours) == asdict(theirs), (flow, parameters)


async def test_the_server_lists_the_worker_type_beside_prefects_own(common: Any) -> None:
    """The UI offers what the server lists when somebody makes a work pool."""
    types = await common.client.read_worker_metadata()
    assert types["kontor"]["in-process"]["display_name"] == "In-process"
    assert types["prefect"]["process"]["display_name"] == "Process"


async def test_a_flow_finds_the_workers_settings_around_it(common: Any) -> None:
    """The worker's chores call the API without retries; what a flow calls is retried as on any worker."""
    run = await common.run("tells_its_retries")
    done = await common.reaches(run, "Completed")
    assert await done.state.result() == PREFECT_CLIENT_MAX_RETRIES.value() > 0


async def test_a_paused_flow_goes_on_in_place_when_it_is_resumed(common: Any, traced: Traced) -> None:
    """A pause keeps the flow where it is, and every other flow of the worker running."""
    run = await common.run("pauses")
    await common.reaches(run, "Paused")
    await common.client.resume_flow_run(run.id)
    await common.reaches(run, "Completed")
    assert traced(run) == ["running Running", "before", "after", "completion Completed"]


async def test_a_suspended_flow_ends_and_begins_again_when_it_is_resumed(common: Any, traced: Traced) -> None:
    """A suspended run gives its place away; resuming it is a new claim by whichever worker is there."""
    run = await common.run("suspends")
    await common.reaches(run, "Suspended")
    await common.client.resume_flow_run(run.id)
    await common.reaches(run, "Completed")
    assert [line for line in traced(run) if line.startswith("attempt")] == ["attempt 1", "attempt 2"]


async def test_a_retry_from_the_ui_runs_the_same_run_again(common: Any, traced: Traced) -> None:
    """Pressing Retry reschedules the run under its own id; whoever is polling takes it."""
    from prefect.states import AwaitingRetry
    from prefect.types._datetime import now

    run = await common.run("fails")
    await common.reaches(run, "Failed")
    await common.client.set_flow_run_state(run.id, AwaitingRetry(scheduled_time=now("UTC")), force=False)
    await common.reaches(run, "Failed")
    again = await common.read(run)
    assert traced(run).count("failure Failed") == 2
    assert again.run_count == 2


async def test_a_suspension_from_the_ui_stops_a_run_at_its_next_task(
    common: Any, traced: Traced, wait_until: Any
) -> None:
    """One listener hears it for all runs; Prefect's engine starts a thread and a websocket for each."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Suspended

    run = await common.run("counts")
    await wait_until(lambda: "step" in traced(run) or None, 90, "the flow to begin")
    await common.client.set_flow_run_state(run.id, Suspended(timeout_seconds=120), force=True)
    await wait_until(lambda: "stopped" in traced(run) or None, 15, "the flow to stop")
    assert (await common.read(run)).state_type == StateType.PAUSED
    await common.client.set_flow_run_state(run.id, Cancelling())
    await common.reaches(run, "Cancelled")
