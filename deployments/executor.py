"""One run of each long-running flow: started when the desk comes up, and again when nothing else has seen to it.

A run that fails starts the next one by the trigger in prefect.yaml. Triggers are events, and events are lost when the
server goes down between the failure and the trigger: that is what the watch here is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from deployments.prefect_api import Deployment, PrefectApi, Run
from kontor.errors import KontorError

LONG_RUNNING = ("execute-orders", "stream-market", "stream-account", "watch-desk")
# Longer than the trigger takes, shorter than the 30 s within which an executor must run again.
TRIGGER_PATIENCE = timedelta(seconds=15)
CHECK_SECONDS = 5.0


def long_running(deployments: Sequence[Deployment]) -> Sequence[Deployment]:
    """The deployments of which one run should always be at work."""
    return [each for each in deployments if each.flow in LONG_RUNNING]


def needs_a_run(last: Run | None, boot_at: datetime, now: datetime) -> bool:
    """Whether a deployment without any live run should get one from us.

    At the start of the desk always, except for a moment after a run of before broke: its trigger may be about to act.
    Later only when a run broke and its trigger stayed silent: one canceled or ended by itself was meant to end.
    """
    if last is None or last.ended_at is None:
        return True
    if last.state in {"FAILED", "CRASHED"}:
        return now - last.ended_at > TRIGGER_PATIENCE
    return last.ended_at < boot_at or last.state_name == "Waiting"


@dataclass
class Watch:
    """Looks after the long-running deployments of one desk."""

    api: PrefectApi
    deployments: Sequence[Deployment]
    boot_at: datetime
    say: Callable[[str], None]
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def start_missing(self) -> Sequence[Deployment]:
        """Give each deployment that needs one a run; those of which no run is at work yet."""
        idle = []
        for deployment in self.deployments:
            live = await self.api.live_runs(deployment)
            if not any(run.state == "RUNNING" for run in live):
                idle.append(deployment)
            if live:
                continue
            last = await self.api.last_ended(deployment)
            if needs_a_run(last, self.boot_at, self.now()):
                # The key names what is being followed: two watches, or a repeated call, make one run.
                key = f"keep-{deployment.id}-{last.id if last else 'first'}-{self.boot_at.isoformat()}"
                await self.api.start_run(deployment, key=key)
        return idle

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """While inside, the long-running flows are looked after."""
        task = asyncio.create_task(self._keep(), name="keep long-running flows")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.api.close()

    async def _keep(self) -> None:
        """Look again every few seconds; say once when the server cannot be asked."""
        silent = False
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self.start_missing()
                silent = False
            except KontorError as error:
                if not silent:
                    self.say(f"cannot look after {', '.join(each.full_name for each in self.deployments)} now: {error}")
                silent = True
