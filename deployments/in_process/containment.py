"""Tasks that flows start: known by their run, and unable to end the worker with SystemExit."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from contextvars import Context
from typing import Any
from weakref import WeakKeyDictionary, ref

from deployments.in_process.runs import ACTIVE, ActiveRun

# Both sides weak: a run knows its task, so an entry that kept the run would keep itself, and every run there has been.
_runs_of_tasks: WeakKeyDictionary[asyncio.Task[Any], ref[ActiveRun]] = WeakKeyDictionary()


class FlowExitedError(RuntimeError):
    """A task of a flow raised SystemExit or KeyboardInterrupt, which asyncio would let stop the whole worker."""


def run_of_task(task: asyncio.Task[Any] | None) -> ActiveRun | None:
    """The run that this task works for, if it works for one."""
    found = None if task is None else _runs_of_tasks.get(task)
    return None if found is None else found()


async def _contained(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        raise FlowExitedError(f"a task of the flow raised {type(error).__name__}({error})") from error


def _create_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    context: Context | None = options.get("context")
    run = context.get(ACTIVE) if context is not None else ACTIVE.get()
    if run is None:
        return asyncio.Task(work, loop=loop, **options)
    if asyncio.iscoroutine(work):
        work = _contained(work)
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
    belongs_to(task, run)
    return task


@contextmanager
def contained_tasks(loop: asyncio.AbstractEventLoop) -> Generator[None]:
    """While inside, the loop's tasks are made this way."""
    before = loop.get_task_factory()
    loop.set_task_factory(_create_task)  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        loop.set_task_factory(before)


def belongs_to(task: asyncio.Task[Any], run: ActiveRun) -> None:
    """Say which run a task works for that was started before the run was its context."""
    _runs_of_tasks[task] = ref(run)
