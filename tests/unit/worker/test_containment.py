"""Tasks of a run are known by it for as long as it lives, and no longer."""

import asyncio
import gc
from datetime import UTC, datetime
from typing import Any, cast
from weakref import ref

from deployments.in_process.containment import belongs_to, contained_tasks, run_of_task
from deployments.in_process.runs import ACTIVE, ActiveRun


def a_run() -> ActiveRun:
    return ActiveRun(flow_run=cast("Any", object()), deployed=cast("Any", object()), due_at=datetime.now(UTC))


async def test_the_tasks_that_a_run_starts_are_known_by_it() -> None:
    """The watchdog names the flow that blocks the loop, however deep the task that does."""
    run = a_run()
    seen: list[ActiveRun | None] = []

    async def inner() -> None:
        seen.append(run_of_task(asyncio.current_task()))

    async def outer() -> None:
        ACTIVE.set(run)
        await asyncio.create_task(inner())
        seen.append(run_of_task(asyncio.current_task()))

    with contained_tasks(asyncio.get_running_loop()):
        run.task = asyncio.create_task(outer())
        belongs_to(run.task, run)
        await run.task
    assert seen == [run, run]
    assert run_of_task(asyncio.current_task()) is None
    assert run_of_task(None) is None


async def test_a_run_that_is_over_leaves_nothing_behind() -> None:
    """A run knows its task: whatever maps the task to the run must not keep either, or a worker grows with each run."""

    async def work(run: ActiveRun) -> None:
        ACTIVE.set(run)
        await asyncio.create_task(asyncio.sleep(0))

    async def live() -> ref[ActiveRun]:
        run = a_run()
        run.task = asyncio.create_task(work(run))
        belongs_to(run.task, run)
        await run.task
        return ref(run)

    with contained_tasks(asyncio.get_running_loop()):
        over = [await live() for _ in range(3)]
    # The loop itself knows the context of what it did last.
    await asyncio.sleep(0)
    gc.collect()
    assert [each() for each in over] == [None] * 3
