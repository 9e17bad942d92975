"""A thread that notices when the event loop stands still, and says which flow stands in its way."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType

from prefect.logging import get_logger

from deployments.in_process.containment import run_of_task

logger = get_logger("worker.in_process.watchdog")

_FRAMES = 40


@dataclass(frozen=True, slots=True)
class Blocked:
    """One observation of a loop that did not turn."""

    run: str | None
    seconds: float
    stack: str


def log_blocked(blocked: Blocked) -> None:
    """Say who blocks the loop, and where."""
    who = f"run {blocked.run}" if blocked.run else "the worker itself"
    logger.warning("event=loop-blocked by=%s for_seconds=%.2f at:\n%s", who, blocked.seconds, blocked.stack)


def _told(frame: FrameType) -> str:
    """Where each call of the stack is, outermost first.

    Without the lines themselves: they would be read from disk while the loop has no time to lose.
    """
    frames = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_FRAMES, lookup_lines=False)
    return "".join(f'  File "{each.filename}", line {each.lineno}, in {each.name}\n' for each in reversed(frames))


@dataclass
class LoopWatchdog:
    """Watches the loop it was started in; each blockage is reported once while it lasts, and once when it is over."""

    limit: timedelta
    report: Callable[[Blocked], None] = log_blocked
    _turned_at: float = field(init=False, default=0.0)
    _over: threading.Event = field(init=False, default_factory=threading.Event)

    def start(self) -> None:
        """Watch the running loop from a thread."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._period = self.limit.total_seconds() / 2
        self._turn()
        threading.Thread(target=self._watch, name="loop-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._over.set()
        self._timer.cancel()

    def _turn(self) -> None:
        self._turned_at = time.monotonic()
        self._timer = self._loop.call_later(self._period, self._turn)

    def _watch(self) -> None:
        # The loop's own turn comes a period after the last one: only what exceeds that is a blockage.
        allowed = self._period + self.limit.total_seconds()
        reported: float | None = None
        while not self._over.wait(self._period / 2):
            turned_at = self._turned_at
            late = time.monotonic() - turned_at
            if late > allowed and reported != turned_at:
                reported = turned_at
                self._report(late - self._period)

    def _report(self, seconds: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the documented way to see a thread
        stack = _told(frame) if frame else ""
        task = asyncio.tasks._current_tasks.get(self._loop)  # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue] - current_task() refuses other threads
        run = run_of_task(task)
        self.report(Blocked(run.name if run else None, seconds, stack))


@asynccontextmanager
async def watched_loop(limit: timedelta) -> AsyncIterator[None]:
    """The running loop, watched while the block runs."""
    watchdog = LoopWatchdog(limit)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()
