"""Telling runs to stop, and naming those that do not."""

from __future__ import annotations

import asyncio
import sys
import traceback

from prefect.logging import get_logger
from prefect.logging.loggers import flow_run_logger

from deployments.in_process.runs import ActiveRun, Stop
from deployments.in_process.settings import InProcessSettings

logger = get_logger("worker.in_process.cancellation")


class Stopper:
    """Stops runs one by one; each stop is asked for once, watched, and repeated only after the run had its time."""

    def __init__(self, settings: InProcessSettings) -> None:
        self._patience = settings.stop_patience.total_seconds()
        self._deadline = settings.stop_deadline.total_seconds()
        self._watches: set[asyncio.Task[None]] = set()

    def stop(self, run: ActiveRun, stop: Stop) -> None:
        """Tell a run to stop; the first reason given is the one that counts."""
        if run.stop is not None:
            return
        run.stop = stop
        logger.info("event=stopping run=%s reason=%s phase=%s", run.name, stop.kind, run.phase)
        run.interrupt()
        watch = asyncio.create_task(self._watch(run))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def _watch(self, run: ActiveRun) -> None:
        if await _ends_within(run, self._patience):
            return
        self._report(run)
        while not await _ends_within(run, self._deadline):
            self._report(run)
            run.interrupt()

    def _report(self, run: ActiveRun) -> None:
        message = (
            f"Flow {run.deployed.flow_name!r} was told to stop and has not ended: it is still cleaning up, or it "
            f"ignores cancellation. Run {run.flow_run.name!r} is at:\n{where(run)}"
        )
        logger.error("event=ignores-cancellation run=%s\n%s", run.name, message)
        flow_run_logger(run.flow_run).error(message)


async def _ends_within(run: ActiveRun, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await run.ended.wait()
    except TimeoutError:
        return False
    return True


def where(run: ActiveRun) -> str:
    """The lines of code that the run is at, as a traceback's text."""
    if run.thread_id is not None:
        frame = sys._current_frames().get(run.thread_id)  # noqa: SLF001 - the documented way to see a thread
        return "".join(traceback.format_stack(frame)[-6:]) if frame else "  (between two lines)"
    awaited: list[str] = []
    step = run.task.get_coro() if run.task is not None else None
    while step is not None:
        frame = getattr(step, "cr_frame", None) or getattr(step, "ag_frame", None) or getattr(step, "gi_frame", None)
        if frame is not None:
            awaited += traceback.format_stack(frame, limit=1)
        step = getattr(step, "cr_await", None) or getattr(step, "ag_await", None) or getattr(step, "gi_yieldfrom", None)
    return "".join(awaited[-6:]) or "  (not started)"
