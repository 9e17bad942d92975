"""What is watched on a desk that is up, and when it counts as well: its processes, and its executors within one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx

from deployments.credentials import desk_api
from deployments.crew import Crew
from deployments.executor import Watch
from deployments.home import Ports
from deployments.initialization import Opened
from deployments.lineup import QUEUES
from deployments.prefect_api import PrefectApi
from deployments.vigil import ANSWER_SECONDS, Vigil, Ward
from kontor.desk import GATE
from kontor.ports import Store

EXECUTOR = "execute-orders"
# In looks of a quarter of a minute: what has not answered for five minutes is not busy, nor waiting for its database.
# Longer than Prefect takes to tell people that a worker is offline: they hear of it before it is mended.
PATIENCE = 20
# An executor reports every few seconds, also while the venue is away.
EXECUTOR_SILENCE = timedelta(minutes=10)
EXECUTOR_LOOK_SECONDS = 60.0


@dataclass
class Guard:
    """The vigils of one desk."""

    crew: Crew
    ports: Ports
    watch: Watch
    opened: Opened
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    vigils: list[Vigil] = field(default_factory=list, init=False)

    async def is_well(self) -> bool:
        """What systemd's watchdog is told: every child is kept, and none that hangs is beyond what a restart mends."""
        return await self.crew.is_whole() and all([await each.is_well() for each in self.vigils])

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """While inside, what hangs is replaced."""
        seconds = ANSWER_SECONDS
        async with (
            desk_api(self.crew.home, self.ports, timeout=timedelta(seconds=seconds)) as api,
            httpx.AsyncClient(trust_env=False, timeout=seconds) as client,
        ):
            self.vigils = [Vigil(self._children(api, client), self.crew.say), self._executors()]
            tasks = [asyncio.create_task(each.run(), name="vigil") for each in self.vigils]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _children(self, api: PrefectApi, client: httpx.AsyncClient) -> list[Ward]:
        def answers(url: str) -> Callable[[], Awaitable[bool]]:
            return lambda: answers_at(client, url)

        wards = [self._ward("Prefect server", api.is_healthy)]
        wards += [self._ward(f"worker {queue}", self._pulse(f"worker {queue}")) for queue in QUEUES]
        paper = f"{self.ports.paper_url}/api/v5/public/time"
        wards.append(self._ward("paper exchange", answers(paper), essential=False))
        if self.ports.web:
            page = f"{self.ports.web_url}/health"
            wards.append(self._ward("page", answers(page), essential=False))
        return wards

    def _ward(self, name: str, is_well: Callable[[], Awaitable[bool]], *, essential: bool = True) -> Ward:
        return Ward(
            name, is_well, lambda: self._end(name), PATIENCE, essential=essential, identity=lambda: self._pid(name)
        )

    def _executors(self) -> Vigil:
        async def all_beat() -> bool:
            async with self.opened() as (api, store):
                return not await silent_executors(api, store, self.watch, self.now())

        name = "worker orders"
        minutes = EXECUTOR_SILENCE.total_seconds() / 60
        said = f"runs {EXECUTOR}, which has not reported for {minutes:.0f} min"
        ward = Ward(name, all_beat, lambda: self._end(name), 2, essential=False, once=True, complaint=said)
        return Vigil([ward], self.crew.say, EXECUTOR_LOOK_SECONDS)

    def _pulse(self, name: str) -> Callable[[], Awaitable[bool]]:
        async def had_pulse() -> bool:
            child = self.crew.find(name)
            return child is not None and child.had_pulse()

        return had_pulse

    def _pid(self, name: str) -> int | None:
        child = self.crew.find(name)
        ref = child.ref if child is not None else None
        return ref.pid if ref is not None else None

    def _end(self, name: str) -> None:
        child = self.crew.find(name)
        if child is not None:
            child.kill()


async def silent_executors(api: PrefectApi, store: Store, watch: Watch, now: datetime) -> list[str]:
    """Accounts whose executor runs, has an open gate, and has reported nothing for long.

    Not those whose run a person has canceled, nor those that wait for their gate: they report nothing by right.
    """
    silent = []
    for each in watch.deployments:
        if each.flow != EXECUTOR:
            continue
        gate = await store.desk.attribute(each.account, GATE)
        if gate is None or not gate.value.get("open"):
            continue
        beat = (await store.desk.heartbeats(each.account)).get(EXECUTOR)
        last = beat.last_success_at if beat is not None and beat.last_success_at is not None else gate.at
        if now - max(last, gate.at) <= EXECUTOR_SILENCE:
            continue
        # One that has just been started again has its time too.
        runs = [run for run in await api.live_runs(each) if run.state == "RUNNING"]
        if any(now - run.created_at > EXECUTOR_SILENCE for run in runs):
            silent.append(each.account)
    return silent


async def answers_at(client: httpx.AsyncClient, url: str) -> bool:
    """Whether an address answers as it should."""
    try:
        return (await client.get(url)).is_success
    except httpx.HTTPError:
        return False
