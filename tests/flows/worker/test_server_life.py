"""The server under a worker: killed and started again, under load, and kept from growing for ever.

`KONTOR_OUTAGE_SECONDS` and `KONTOR_LOAD_SECONDS` make the campaign as long as one likes (the bars: 60 and 600).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.types._datetime import now

Traced = Callable[[str | FlowRun], list[str]]

OUTAGE = float(os.environ.get("KONTOR_OUTAGE_SECONDS", "8"))
LOAD = float(os.environ.get("KONTOR_LOAD_SECONDS", "20"))

pytestmark = pytest.mark.timeout(300)


async def runs_of(client: PrefectClient, *deployments: Any) -> list[Any]:
    wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=list(deployments)))
    return await client.read_flow_runs(flow_run_filter=wanted)


@pytest.mark.timeout(300 + 2 * OUTAGE)
async def test_runs_outlive_an_outage_of_the_api_and_no_due_time_is_lost_or_doubled(
    desk: Any, server: Any, traced: Traced, wait_until: Any
) -> None:
    """The executor must not stop because the UI's server does, and polling resumes by itself."""
    worker = desk.worker()
    going_on = await desk.run("ticks")
    ending_meanwhile = [
        await desk.run(flow, parameters={"seconds": OUTAGE / 2}) for flow in ("takes", "takes_in_thread")
    ]
    polls = await desk.deploy("returns", every=timedelta(seconds=3))
    await wait_until(lambda: "tick" in traced(going_on) or None, 90, "the long-running flow to begin")
    for run in ending_meanwhile:
        await wait_until(lambda run=run: "began" in traced(run) or None, 90, "the others to begin")

    server.kill()
    try:
        ticks = traced(going_on).count("tick")
        await asyncio.sleep(OUTAGE)
        assert traced(going_on).count("tick") > ticks + OUTAGE, "ten ticks a second are meant; one is plenty of proof"
    finally:
        server.start()
    back_at = now("UTC")

    for run in ending_meanwhile:
        await desk.reaches(run, "Completed")
    assert (await desk.read(going_on)).state_name == "Running"

    async def goes_on() -> Any:
        done = [run for run in await runs_of(desk.client, polls) if run.start_time and run.start_time > back_at]
        return done if len([run for run in done if run.state_name == "Completed"]) >= 2 else None

    await wait_until(goes_on, 90, "the schedule to go on")
    until = now("UTC")

    async def answered() -> list[Any] | None:
        runs = [run for run in await runs_of(desk.client, polls) if run.expected_start_time < until]
        return runs if {run.state_name for run in runs} <= {"Completed", "Skipped"} else None

    runs = await wait_until(answered, 90, "every due time to be answered for")
    assert max(Counter(run.expected_start_time for run in runs).values()) == 1
    begun = [run for run in runs if run.state_name == "Completed" and run.run_count]
    assert all(run.run_count == 1 for run in begun)
    assert worker.process.poll() is None


async def test_old_runs_with_their_logs_and_events_are_deleted_and_young_ones_kept(
    common: Any, server: Any, wait_until: Any
) -> None:
    """22,000 runs a day: without this, the database of a desk that is left alone fills the disk."""
    old, young = await common.run("returns"), await common.run("returns")
    database = server.home / "prefect" / "prefect.db"
    for run in (old, young):
        await common.reaches(run, "Completed")
        await wait_until(lambda run=run: _logs(common, run), 20, "the run's logs to arrive")
        await wait_until(lambda run=run: rows_of(database, run)["events"] >= 3 or None, 20, "its events to arrive")
    long_ago = (now("UTC") - timedelta(days=3, hours=1)).strftime("%Y-%m-%d %H:%M:%S.%f")
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        named = {"ago": long_ago, "id": str(old.id), "resource": f"prefect.flow-run.{old.id}"}
        connection.execute("update flow_run set end_time = :ago where id = :id", named)
        # Its tasks' events are related to the run too.
        events = "select event_id from event_resources where resource_id = :resource"
        connection.execute("create temp table aged as " + events, named)
        connection.execute("update events set occurred = :ago where id in (select event_id from aged)", named)
        connection.execute(
            "update event_resources set occurred = :ago where event_id in (select event_id from aged)", named
        )

    def is_deleted() -> bool | None:
        left = rows_of(database, old)
        return not any(left.values()) or None

    await wait_until(is_deleted, 90, "the old run and all that belongs to it to be deleted")
    with pytest.raises(ObjectNotFound):
        await common.read(old)
    assert (await common.read(young)).state_name == "Completed"
    assert all(rows_of(database, young).values())


def rows_of(database: Path, run: FlowRun) -> dict[str, int]:
    """How many rows of each kind Prefect's database has for a run."""
    queries = {
        "runs": "select count(*) from flow_run where id = :id",
        "states": "select count(*) from flow_run_state where flow_run_id = :id",
        "tasks": "select count(*) from task_run where flow_run_id = :id",
        "logs": "select count(*) from log where flow_run_id = :id",
        "events": "select count(*) from events where resource_id = :resource",
        "resources": "select count(*) from event_resources where resource_id = :resource",
    }
    names = {"id": str(run.id), "resource": f"prefect.flow-run.{run.id}"}
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        return {kind: connection.execute(query, names).fetchone()[0] for kind, query in queries.items()}


async def _logs(desk: Any, run: FlowRun) -> list[str] | None:
    return await desk.logs(run) or None


@pytest.mark.timeout(300 + 2 * LOAD)
async def test_at_120_runs_a_minute_that_are_due_together_sqlite_neither_locks_nor_freezes(
    desk: Any, server: Any, wait_until: Any
) -> None:
    """The stock server stops for 60 s at a time under this load: docs/adr/0002-one-connection-for-sqlite.md."""
    desk.worker(PREFECT_WORKER_QUERY_SECONDS="5", PREFECT_WORKER_PREFETCH_SECONDS="25")
    anchor = now("UTC").replace(microsecond=0) - timedelta(days=1)
    deployments = [await desk.deploy("returns", every=timedelta(seconds=10), anchor=anchor) for _ in range(20)]
    began = now("UTC")
    await asyncio.sleep(LOAD)
    ended = now("UTC")

    async def due_and_done() -> list[Any] | None:
        runs = await runs_of_window(desk.client, deployments, began, ended)
        return runs if runs and all(run.state_type == "COMPLETED" for run in runs) else None

    runs = await wait_until(due_and_done, 120, "every due run to be done")
    assert len(runs) >= 20 * int(LOAD / 10 - 1)
    late = [(run.start_time - run.expected_start_time).total_seconds() for run in runs if run.state_name == "Completed"]
    assert max(late) < 30, "a freeze is 60 s"
    assert "database is locked" not in server.log.read_text()


async def runs_of_window(client: PrefectClient, deployments: list[Any], since: Any, until: Any) -> list[Any]:
    wanted = FlowRunFilter.model_validate(
        {"deployment_id": {"any_": deployments}, "expected_start_time": {"after_": since, "before_": until}}
    )
    found: list[Any] = []
    while len(page := await client.read_flow_runs(flow_run_filter=wanted, limit=200, offset=len(found))) == 200:
        found += page
    return found + page
