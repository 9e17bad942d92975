"""Stopping a worker so that every run it had is in a state that is true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from prefect.logging import get_logger

from deployments.in_process.cancellation import Stopper
from deployments.in_process.runs import ActiveRun, Phase, RunRegistry, Stop, StopKind
from deployments.in_process.settings import InProcessSettings

logger = get_logger("worker.in_process.drain")

#: Exit code of a worker that wants to be started again (EX_TEMPFAIL): it went over its memory ceiling.
RESTART_EXIT_CODE = 75


class Drain:
    """The end of a worker: asked for once, hurried by asking again."""

    def __init__(self, registry: RunRegistry, stopper: Stopper, settings: InProcessSettings) -> None:
        self._registry = registry
        self._stopper = stopper
        self._grace = settings.drain_grace.total_seconds()
        self._deadline = settings.stop_deadline.total_seconds()
        self._hurry = asyncio.Event()
        self.requested = asyncio.Event()
        self.reason = ""
        self.exit_code = 0

    def request(self, reason: str, exit_code: int = 0) -> None:
        """Begin to drain; a second request ends the grace period."""
        if self.requested.is_set():
            self._hurry.set()
            return
        self.reason, self.exit_code = reason, exit_code
        logger.warning("event=drain reason=%s runs=%d", reason, len(self._registry))
        self.requested.set()

    async def run(self, abandon: Callable[[ActiveRun], Awaitable[None]]) -> list[ActiveRun]:
        """The runs that could not be ended, each given to `abandon`.

        Claimed runs are given back. Running ones may finish within the grace period; those that have been running
        for longer than that already are long-running, and are told to stop at once.
        """
        stop = Stop(StopKind.DRAINED, f"Stopped with its worker: {self.reason}.")
        for run in self._registry:
            if run.phase is not Phase.RUNNING or run.running_for() > self._grace:
                self._stopper.stop(run, stop)
        if not await self._empty_within_grace():
            for run in self._registry:
                self._stopper.stop(run, stop)
            await self._registry.wait_until_empty(self._deadline)
        left = list(self._registry)
        for run in left:
            logger.error("event=abandoned run=%s: it ignores cancellation and ends with the process", run.name)
        await asyncio.gather(*(abandon(run) for run in left))
        return left

    async def _empty_within_grace(self) -> bool:
        """Whether every run that was not told to stop ended in time; those told to stop have their own deadline."""
        end = time.monotonic() + self._grace
        hurried = asyncio.create_task(self._hurry.wait())
        try:
            while any(run.stop is None for run in self._registry) and not self._hurry.is_set():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                waits = [asyncio.create_task(run.ended.wait()) for run in self._registry if run.stop is None]
                await asyncio.wait([*waits, hurried], timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
        finally:
            hurried.cancel()
        return not len(self._registry)
