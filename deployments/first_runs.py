"""The first runs of a boot: initialize, then every updater once, however long its interval."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from deployments.crew import Say, StartFailed
from deployments.executor import Watch
from deployments.prefect_api import Deployment, PrefectApi, Run
from kontor.ports import Store

INITIALIZE_LIMIT = timedelta(seconds=240)
UPDATERS_LIMIT = timedelta(seconds=60)
# An updater that is due by itself within this time is not started by hand.
SOON = timedelta(seconds=12)
# Between two updaters that are started by hand, so that they do not all meet.
SPREAD = timedelta(seconds=0.5)
POLL_SECONDS = 0.5


@dataclass
class Initialization:
    """Runs initialize once for each account, as soon as its deployment is there."""

    api: PrefectApi
    boot_at: datetime
    say: Say
    all_deployed: asyncio.Event = field(default_factory=asyncio.Event)
    done: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Ends when everything is deployed and initialized; raises StartFailed with the reason when a run fails."""
        while True:
            # Looked at first: what was deployed before this is in the list that follows.
            complete = self.all_deployed.is_set()
            await self._initialize([each for each in await self.api.deployments() if each.flow == "initialize"])
            if complete:
                break
            await asyncio.sleep(POLL_SECONDS)
        if not self.done:
            raise StartFailed("prefect.yaml deploys no flow 'initialize': nothing can open the gate")

    async def _initialize(self, deployments: Sequence[Deployment]) -> None:
        targets = [each for each in deployments if each.full_name not in self.done]
        if not targets:
            return
        began = time.monotonic()
        runs = [await self.api.start_run(each, key=boot_key(each, self.boot_at)) for each in targets]
        for deployment, started in zip(targets, runs, strict=True):
            run = await self._end_of(started, deployment, began + INITIALIZE_LIMIT.total_seconds())
            if run.state != "COMPLETED":
                raise StartFailed(f"{deployment.full_name} ended as {run.state_name}: {run.message}")
            self.done.add(deployment.full_name)
        self.say(f"initialized, the gate is open ({time.monotonic() - began:.1f} s)")

    async def _end_of(self, run: Run, deployment: Deployment, deadline: float) -> Run:
        while not run.is_over:
            if time.monotonic() > deadline:
                seconds = INITIALIZE_LIMIT.total_seconds()
                raise StartFailed(
                    f"{deployment.full_name} is still {run.state_name} after {seconds:.0f} s; "
                    f"its run {run.name} and the worker's log say more"
                )
            await asyncio.sleep(POLL_SECONDS)
            run = await self.api.run(run.id)
        return run


@dataclass
class FirstRuns:
    """Sees to it that a desk that says it is up has done everything once."""

    api: PrefectApi
    store: Store
    deployments: Sequence[Deployment]
    watch: Watch
    boot_at: datetime
    say: Say

    async def all_updaters(self) -> None:
        """Start what is not due soon, and wait until every updater has succeeded and the executor is at work.

        What takes longer than a minute is named, and no reason to give up the rest.
        """
        began = time.monotonic()
        scheduled = [each for each in self.deployments if each.interval is not None]
        await self._start_seldom_ones(scheduled)
        while True:
            at_work = await self.watch.all_run()
            silent = await self._without_success(scheduled)
            if at_work and not silent:
                self.say(f"every updater has run, orders are executed ({time.monotonic() - began:.1f} s)")
                return
            if time.monotonic() - began > UPDATERS_LIMIT.total_seconds():
                missing = [each.full_name for each in silent]
                missing += [] if at_work else [each.full_name for each in self.watch.deployments]
                self.say(f"without a success so far: {', '.join(sorted(missing))}; their runs in the UI say why")
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _start_seldom_ones(self, scheduled: Sequence[Deployment]) -> None:
        seldom = [each for each in scheduled if each.interval and each.interval > SOON]
        now = datetime.now(UTC)
        for number, deployment in enumerate(seldom):
            await self.api.start_run(deployment, key=boot_key(deployment, self.boot_at), at=now + number * SPREAD)

    async def _without_success(self, scheduled: Sequence[Deployment]) -> list[Deployment]:
        """The updaters that have not succeeded since the desk came up."""
        beats = {name: await self.store.desk.heartbeats(name) for name in {each.account for each in scheduled}}
        silent = []
        for each in scheduled:
            beat = beats[each.account].get(each.updater)
            if beat is None or beat.last_success_at is None or beat.last_success_at < self.boot_at:
                silent.append(each)
        return silent


def boot_key(deployment: Deployment, boot_at: datetime) -> str:
    """Names the one run of a deployment that a boot starts, even when asking for it has to be repeated."""
    return f"boot-{deployment.id}-{boot_at.isoformat()}"
