"""What happens to one run after another on an in-process worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling
from prefect.types._datetime import now

pytestmark = pytest.mark.timeout(300)  # a server and a worker start first, on whatever machine this is

Traced = Callable[[str | FlowRun], list[str]]


async def test_a_run_claimed_early_begins_at_its_due_time(common: Any, traced: Traced) -> None:
    """The claim is what takes time; a 10 s poll is only a 10 s poll if it happens every 10 s."""
    run = await common.run("returns", due=now("UTC") + timedelta(seconds=6))
    await common.reaches(run, "Pending", within=5.5)
    done = await common.reaches(run, "Completed")
    assert 0 <= (done.start_time - done.expected_start_time).total_seconds() < 1
    assert done.infrastructure_pid.endswith(f":{run.id}")
    assert traced(run) == ["running Running", "ran", "completion Completed"]
    assert await done.state.result() == 2


async def test_an_adhoc_run_begins_at_once_however_rarely_the_worker_polls(desk: Any) -> None:
    """An order that was placed now should not wait for the next poll."""
    worker = desk.worker(PREFECT_WORKER_QUERY_SECONDS="60")
    await worker.says("started!")
    first = await desk.run("returns")
    await desk.reaches(first, "Completed", within=70)
    second = await desk.run("returns")
    done = await desk.reaches(second, "Completed", within=10)
    assert (done.start_time - done.created).total_seconds() < 3


@pytest.mark.parametrize("flow", ["endless", "endless_in_thread"])
async def test_a_running_run_that_is_canceled_cleans_up_and_ends_within_two_seconds(
    common: Any, traced: Traced, wait_until: Any, flow: str
) -> None:
    """Cancel in the UI has to mean now; the flow's finally blocks and hooks are its only chance to tidy up."""
    run = await common.run(flow)
    await wait_until(lambda: "began" in traced(run) or None, 90, "the flow to begin")
    asked_at = now("UTC")
    await common.client.set_flow_run_state(run.id, Cancelling())
    done = await common.reaches(run, "Cancelled", within=5)
    assert (done.end_time - asked_at).total_seconds() < 2
    assert traced(run) == ["running Running", "began", "cleaned up", "cancellation Cancelling"]


async def test_a_pending_run_that_is_canceled_never_begins_and_its_hooks_run(desk: Any, traced: Traced) -> None:
    """A claimed run that waits for its due time is canceled like any other."""
    worker = desk.worker(PREFECT_WORKER_PREFETCH_SECONDS="60")
    await worker.says("started!")
    run = await desk.run("endless", due=now("UTC") + timedelta(seconds=50))
    await desk.reaches(run, "Pending")
    await asyncio.sleep(0.5)  # the cancellation shall meet a run that has infrastructure
    asked_at = now("UTC")
    await desk.client.set_flow_run_state(run.id, Cancelling())
    done = await desk.reaches(run, "Cancelled", within=5)
    assert (done.state.timestamp - asked_at).total_seconds() < 2
    assert traced(run) == ["cancellation Cancelling"]


async def test_cancellation_reaches_child_flows(common: Any, traced: Traced, wait_until: Any) -> None:
    """A child flow is part of its parent: both end as Cancelled, neither as Crashed."""
    run = await common.run("parent_of_endless")
    await wait_until(lambda: "child began" in traced(run) or None, 90, "the child to begin")
    await common.client.set_flow_run_state(run.id, Cancelling())
    await common.reaches(run, "Cancelled", within=5)
    assert traced(run).count("cancellation Cancelling") == 2
    assert "child cleaned up" in traced(run)


async def test_a_flow_that_ignores_cancellation_is_reported_by_name_with_its_line(
    common: Any, traced: Traced, wait_until: Any
) -> None:
    """Nobody can stop it from outside; the next best thing is to say which line does not listen."""
    [worker] = common.workers
    run = await common.run("stubborn")
    await wait_until(lambda: "began" in traced(run) or None, 90, "the flow to begin")
    await common.client.set_flow_run_state(run.id, Cancelling())
    log = await worker.says("event=ignores-cancellation", within=10)
    assert "'stubborn'" in log
    assert "sample_flows.py" in log
    (common.home / (run.parameters["trace"].rsplit("/", 1)[1] + ".release")).touch()


@pytest.mark.parametrize("flow", ["exits", "exits_in_a_task_of_its_own", "blocks_the_loop"])
async def test_one_runs_failure_never_touches_another(common: Any, traced: Traced, wait_until: Any, flow: str) -> None:
    """Everything a flow does wrong in a shared process is its own affair."""
    [worker] = common.workers
    bystander = await common.run("endless")
    await wait_until(lambda: "began" in traced(bystander) or None, 90, "the bystander to begin")
    run = await common.run(flow)
    await common.reaches(run, "Crashed", "Failed", "Completed")
    after = await common.run("returns")
    await common.reaches(after, "Completed")
    assert (await common.read(bystander)).state_name == "Running"
    assert worker.process.poll() is None
    if flow == "blocks_the_loop":
        log = await worker.says("event=loop-blocked")
        assert "blocks-the-loop" in log
        assert "in blocks_the_loop" in log


async def test_retry_wait_in_process_can_be_canceled(common: Any, traced: Traced, wait_until: Any) -> None:
    """A run that waits ten minutes for its retry must not hold a stop for ten minutes."""
    run = await common.run("retries_later")
    await common.reaches(run, "AwaitingRetry")
    await common.client.set_flow_run_state(run.id, Cancelling())
    await common.reaches(run, "Cancelled", within=5)
    assert traced(run).count("attempt") == 1
