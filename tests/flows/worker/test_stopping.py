"""How a worker ends, and what the next one makes of what it left."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.types._datetime import now

pytestmark = pytest.mark.timeout(300)  # a server and a worker start first, on whatever machine this is

Traced = Callable[[str | FlowRun], list[str]]


async def begun(desk: Any, flow: str, traced: Traced, wait_until: Any, **options: Any) -> FlowRun:
    run = await desk.run(flow, **options)
    await wait_until(lambda: {"began", "attempt", "child began"} & set(traced(run)) or None, 90, f"{flow} to begin")
    return run


async def runs_of(desk: Any, *deployments: Any) -> list[Any]:
    wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=list(deployments)))
    return await desk.client.read_flow_runs(flow_run_filter=wanted)


async def test_sigterm_drains_so_that_no_state_is_a_lie(desk: Any, traced: Traced, wait_until: Any) -> None:
    """Short runs may finish, long-running ones are told to stop, claimed ones go back, stubborn ones are named."""
    worker = desk.worker(
        PREFECT_WORKER_PREFETCH_SECONDS="90", KONTOR_WORKER_DRAIN_GRACE="4", KONTOR_WORKER_STOP_DEADLINE="3"
    )
    long_running = await begun(desk, "endless", traced, wait_until)
    comes_back = await begun(desk, "endless", traced, wait_until, job_variables={"when_drained": "reschedule"})
    in_thread = await begun(desk, "endless_in_thread", traced, wait_until)
    stubborn = await begun(desk, "stubborn", traced, wait_until)
    claimed = await desk.run("returns", due=now("UTC") + timedelta(seconds=80))
    await desk.reaches(claimed, "Pending")
    short = await begun(desk, "takes", traced, wait_until, parameters={"seconds": 2.5})

    worker.signal(signal.SIGTERM)
    code = await worker.ends(within=20)

    assert code == 1, "a run that ignores its cancellation is left behind with the process"
    assert (await desk.read(short)).state_name == "Completed"
    assert (await desk.read(claimed)).state_name == "Scheduled"
    assert (await desk.read(comes_back)).state_name == "Rescheduled"
    for run in (long_running, in_thread, stubborn):
        ended = await desk.read(run)
        assert ended.state_name == "Crashed"
        assert "signal SIGTERM" in ended.state.message
    assert traced(long_running) == ["running Running", "began", "cleaned up", "crashed Crashed"]
    assert traced(comes_back) == ["running Running", "began", "cleaned up"]
    assert "stubborn" in worker.log
    assert any("was told to stop and has not ended" in line for line in await desk.logs(stubborn))


async def test_an_idle_worker_ends_at_once_with_exit_code_0(desk: Any) -> None:
    """A stop that was asked for is not a failure that a supervisor should repair."""
    worker = desk.worker()
    await worker.says("started!")
    worker.signal(signal.SIGTERM)
    assert await worker.ends(within=8) == 0
    assert "Traceback" not in worker.log


async def test_after_kill_9_runs_are_crashed_and_claims_given_back(desk: Any, traced: Traced, wait_until: Any) -> None:
    """Nobody reports the death of a killed process: the next one has to, or its runs stay Running for ever."""
    worker = desk.worker(PREFECT_WORKER_PREFETCH_SECONDS="90")
    running = await begun(desk, "endless", traced, wait_until)
    family = await begun(desk, "parent_of_endless", traced, wait_until)
    retrying = await begun(desk, "retries_later", traced, wait_until)
    await desk.reaches(retrying, "AwaitingRetry")
    polls = await desk.deploy("returns", every=timedelta(seconds=5))
    claimed = await desk.run("returns", due=now("UTC") + timedelta(seconds=12))
    await desk.reaches(claimed, "Pending")
    worker.kill()
    killed_at = now("UTC")

    desk.worker(PREFECT_WORKER_PREFETCH_SECONDS="90")
    for run in (running, family, retrying):
        crashed = await desk.reaches(run, "Crashed")
        assert (crashed.state.timestamp - killed_at).total_seconds() < 60
    assert traced(running)[-1] == "crashed Crashed"
    children = await desk.client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [family.id]}})
    )
    assert [child.state_name for child in children] == ["Crashed"]
    # The claim is given back and claimed again; the run happens once, at its due time.
    done = await desk.reaches(claimed, "Completed", within=80)
    assert done.start_time >= done.expected_start_time
    assert traced(claimed).count("ran") == 1

    async def goes_on() -> list[FlowRun] | None:
        runs = await runs_of(desk, polls)
        return runs if sum(bool(run.start_time and run.start_time > killed_at) for run in runs) >= 2 else None

    runs = await wait_until(goes_on, 40, "the schedule to go on")
    assert max(Counter(run.expected_start_time for run in runs).values()) == 1


async def test_a_run_of_a_living_process_is_left_alone(common: Any, traced: Traced, wait_until: Any) -> None:
    """Two workers on one pool: the second one's sweep must not end what the first one is doing."""
    run = await begun(common, "endless", traced, wait_until)
    second = common.worker(KONTOR_WORKER_SWEEP_INTERVAL="0.5")
    await second.says("started!")
    await asyncio.sleep(2)  # several sweeps
    assert (await common.read(run)).state_name == "Running"
    second.kill()


async def test_a_late_backlog_is_collapsed_and_adhoc_runs_are_not(desk: Any, traced: Traced, wait_until: Any) -> None:
    """After an outage the newest poll is worth making; of orders, every one must arrive."""
    scheduled = await desk.deploy("returns", every=timedelta(seconds=2))
    adhoc = await desk.deploy("takes", parameters={"seconds": 0.0})
    orders = [await desk.run_deployment(adhoc) for _ in range(3)]

    async def five_are_due() -> bool | None:
        due = [run for run in await runs_of(desk, scheduled) if run.expected_start_time <= now("UTC")]
        return len(due) >= 5 or None

    await wait_until(five_are_due, 60, "the scheduler to make runs and five of them to be late")
    desk.worker()
    for order in orders:
        await desk.reaches(order, "Completed")
    began_at = now("UTC")
    late = [
        await desk.reaches(run, "Completed", "Skipped")
        for run in await runs_of(desk, scheduled)
        if run.expected_start_time <= began_at
    ]
    skipped = [run.expected_start_time for run in late if run.state_name == "Skipped"]
    kept = [run.expected_start_time for run in late if run.state_name == "Completed"]
    assert len(skipped) >= 4
    assert max(skipped) < min(kept), "the newest one stands for those before it"
    assert all(run.state_type == "COMPLETED" for run in late)


async def test_the_limit_of_a_worker_counts_runs_that_are_due(desk: Any, traced: Traced, wait_until: Any) -> None:
    """A claimed run that waits for its due time must not keep a due one waiting."""
    worker = desk.worker("--limit", "1", PREFECT_WORKER_PREFETCH_SECONDS="60")
    await worker.says("started!")
    later = await desk.run("returns", due=now("UTC") + timedelta(seconds=40))
    first = await desk.run("takes", parameters={"seconds": 1.5})
    second = await desk.run("takes", parameters={"seconds": 0.1})
    one, two = [await desk.reaches(run, "Completed") for run in (first, second)]
    spans = sorted((run.start_time, run.end_time) for run in (one, two))
    assert spans[0][1] <= spans[1][0], "one at a time"
    assert (await desk.read(later)).state_name == "Scheduled"


async def test_a_deployments_concurrency_limit_is_honoured(desk: Any, traced: Traced, wait_until: Any) -> None:
    """The claim takes the server's slot, so it is not made before the run is due."""
    worker = desk.worker(PREFECT_WORKER_PREFETCH_SECONDS="60")
    await worker.says("started!")
    deployment = await desk.deploy("takes", parameters={"seconds": 1.0}, concurrency_limit=1)
    due = now("UTC") + timedelta(seconds=30)
    later = await desk.run_deployment(deployment, due=due)
    soon = await desk.run_deployment(deployment)
    done = await desk.reaches(soon, "Completed")
    assert (done.start_time - done.expected_start_time).total_seconds() < 5
    assert (await desk.read(later)).state_name == "Scheduled"


async def test_over_the_memory_ceiling_the_worker_drains_and_asks_for_a_restart(desk: Any) -> None:
    """Exit code 75 tells a supervisor to start it again; a leak ends as a restart instead of an out-of-memory kill."""
    worker = desk.worker(KONTOR_WORKER_MEMORY_CEILING_MB="20")
    assert await worker.ends(within=40) == 75
    assert "over the ceiling of 20 MB" in worker.log


async def test_a_deployment_that_changes_the_process_is_refused_in_a_sentence(common: Any) -> None:
    """Runs share one process: another environment or working directory for one of them would be everybody's."""
    run = await common.run("returns", job_variables={"env": {"KONTOR_TEST_VARIABLE": "x"}})
    crashed = await common.reaches(run, "Crashed")
    assert "KONTOR_TEST_VARIABLE" in crashed.state.message
    run = await common.run("returns", entrypoint="sample_flows.no_such_flow")
    crashed = await common.reaches(run, "Crashed")
    assert "no_such_flow" in crashed.state.message


async def test_a_changed_deployment_is_looked_up_again(common: Any, traced: Traced) -> None:
    """Deployments are cached; a new entrypoint has to be the next run's entrypoint."""
    from prefect.client.schemas.actions import DeploymentUpdate

    deployment = await common.deploy("returns")
    first = await common.run_deployment(deployment)
    await common.reaches(first, "Completed")
    await common.client.update_deployment(deployment, DeploymentUpdate(entrypoint="sample_flows.fails"))
    await asyncio.sleep(1)  # the event takes a moment to arrive; without one it would be a minute
    second = await common.run_deployment(deployment)
    await common.reaches(second, "Failed")


async def test_the_worker_imports_neither_ccxt_nor_a_flow_until_one_runs() -> None:
    """Prefect's server and command line load the worker's module at every start."""
    import subprocess
    import sys

    code = "import deployments.worker, sys; print('ccxt' in sys.modules, 'kontor' in sys.modules)"
    process = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert process.stdout.split() == ["False", "False"]
