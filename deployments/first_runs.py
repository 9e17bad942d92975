"""The first runs of a boot: every updater once, however long its interval."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deployments.crew import Say
from deployments.executor import Watch
from deployments.prefect_api import Deployment, PrefectApi
from kontor.ports import Store

UPDATERS_LIMIT = timedelta(seconds=60)
# An updater that is due by itself within this time is not started by hand.
SOON = timedelta(seconds=12)
# Between two updaters that are started by hand, so that they do not all meet.
SPREAD = timedelta(seconds=0.5)
POLL_SECONDS = 0.5


@dataclass
class FirstRuns:
    """Sees to it that a desk that says it is up has done everything once."""

    api: PrefectApi
    store: Store
    # Of the accounts that are initialized: the others' updaters wait for their gate.
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
        if not scheduled:
            return
        await start_seldom_ones(self.api, scheduled, self.boot_at)
        accounts = {each.account for each in self.deployments}
        while True:
            idle = [each for each in await self.watch.start_missing() if each.account in accounts]
            silent = await self._without_success(scheduled)
            if not idle and not silent:
                self.say(f"every updater has run, orders are executed ({time.monotonic() - began:.1f} s)")
                return
            if time.monotonic() - began > UPDATERS_LIMIT.total_seconds():
                missing = [each.full_name for each in (*silent, *idle)]
                self.say(f"without a success so far: {', '.join(sorted(missing))}; their runs in the UI say why")
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _without_success(self, scheduled: Sequence[Deployment]) -> list[Deployment]:
        """The updaters that have not succeeded since the desk came up."""
        beats = {name: await self.store.desk.heartbeats(name) for name in {each.account for each in scheduled}}
        silent = []
        for each in scheduled:
            beat = beats[each.account].get(each.updater)
            if beat is None or beat.last_success_at is None or beat.last_success_at < self.boot_at:
                silent.append(each)
        return silent


async def start_seldom_ones(api: PrefectApi, deployments: Sequence[Deployment], boot_at: datetime) -> None:
    """Start what has an interval and is not due soon by itself, a little apart; a second call in a boot starts none."""
    seldom = [each for each in deployments if each.interval and each.interval > SOON]
    now = datetime.now(UTC)
    for number, deployment in enumerate(seldom):
        await api.start_run(deployment, key=boot_key(deployment, boot_at), at=now + number * SPREAD)


def boot_key(deployment: Deployment, boot_at: datetime) -> str:
    """Names the one run of a deployment that a boot starts, even when asking for it has to be repeated."""
    return f"boot-{deployment.id}-{boot_at.isoformat()}"
