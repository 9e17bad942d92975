"""From nothing to a running desk: the steps of `kontor up`, in order."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx

from deployments.credentials import desk_api
from deployments.crew import Crew, Say, StartFailed
from deployments.executor import Watch, long_running
from deployments.first_runs import FirstRuns
from deployments.guard import Guard, answers_at
from deployments.home import Home, Ports
from deployments.initialization import Initialization
from deployments.instance import DeskRecord
from deployments.lineup import QUEUES, Lineup
from deployments.paper_keys import make_keys
from deployments.prefect_api import Deployment, PrefectApi
from deployments.project import Project
from deployments.stores import open_desk_store
from kontor.config import load_config
from kontor.desk import close_gate
from kontor.ports import Store

# Generous: a small machine that is busy with something else takes its time to import things.
HEALTH_LIMIT = timedelta(seconds=300)
STEP_LIMIT = timedelta(seconds=300)
QUICK = timedelta(seconds=2)
PAGE_LIMIT = timedelta(seconds=60)


@dataclass
class Bootstrap:
    """Brings up one desk; what it starts belongs to the crew, which stops it."""

    home: Home
    ports: Ports
    project: Project
    crew: Crew
    previous: DeskRecord | None
    say: Say
    lineup: Lineup = field(init=False)
    initialization: Initialization = field(init=False)

    def __post_init__(self) -> None:
        # A mistake in kontor.yaml should cost a second, not a minute.
        config = load_config(self.project.config_file)
        retention = timedelta(days=config.history.prefect_runs_days)
        self.lineup = Lineup(self.home, self.ports, self.project, retention)
        self.initialization = Initialization(self.crew.record.boot_at, self.say)

    async def run(self) -> Watch:
        """Every step; returns the watch over the long-running flows. Raises StartFailed, or what a step raised.

        An account that cannot be initialized is no reason to keep the others down: see `keeping`.
        """
        keys_are_new = make_keys(self.home.paper_keys_file)
        previous_url = self.previous.ports.paper_url if self.previous else ""
        prepare = self.lineup.prepare(previous_url, keys_are_new=keys_are_new)
        # Importing Prefect takes seconds in each process: what need not wait does not.
        await _together(self._start_services(), self._step("pool, queues and blocks", prepare))
        async with self.opened() as (api, store):
            await store.migrate()
            await self._close_gates(store, await api.deployments())
            # initialize comes first in prefect.yaml, and runs while the other deployments are still being made.
            initializing = self.initialization.run(api, store)
            await _together(self._deploy(), self._start_workers(), initializing)
            deployments = await api.deployments()
            boot_at, accounts = self.crew.record.boot_at, self.initialization.accounts
            watch = Watch(desk_api(self.home, self.ports), long_running(deployments), boot_at, self.say)
            ready = [each for each in deployments if each.account in accounts]
            await FirstRuns(api, store, ready, watch, boot_at, self.say).all_updaters()
        return watch

    @asynccontextmanager
    async def keeping(self, watch: Watch) -> AsyncIterator[Guard]:
        """While inside, the long-running flows run, accounts are initialized, and children that hang are replaced."""
        guard = Guard(self.crew, self.ports, watch, self.opened)
        async with watch.keeping(), self.initialization.keeping(self.opened), guard.keeping():
            yield guard

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[PrefectApi, Store]]:
        """The running server and the desk's store."""
        async with desk_api(self.home, self.ports) as api, open_desk_store(api, self.home) as store:
            yield api, store

    async def show_page(self) -> None:
        """Start the desk's page once there is something to see; trading does not depend on it, so neither does this."""
        if not self.ports.web:
            return
        child = await self.crew.start(self.lineup.page())
        async with httpx.AsyncClient(trust_env=False, timeout=QUICK.total_seconds()) as client:
            try:
                await self.crew.wait_until(
                    lambda: answers_at(client, f"{self.ports.web_url}/health"), child, PAGE_LIMIT
                )
            except StartFailed as error:
                self.say(f"{error}; the desk goes on without its page")

    async def _start_services(self) -> None:
        began = time.monotonic()
        server = await self.crew.start(self.lineup.server())
        paper = await self.crew.start(self.lineup.paper())
        async with (
            desk_api(self.home, self.ports, timeout=QUICK) as api,
            httpx.AsyncClient(trust_env=False, timeout=QUICK.total_seconds()) as client,
        ):
            paper_time = f"{self.ports.paper_url}/api/v5/public/time"
            await _together(
                self.crew.wait_until(api.is_healthy, server, HEALTH_LIMIT),
                self.crew.wait_until(lambda: answers_at(client, paper_time), paper, HEALTH_LIMIT),
            )
        self.say(f"Prefect server and paper exchange answer ({time.monotonic() - began:.1f} s)")

    async def _deploy(self) -> None:
        await self._step("deployments", self.lineup.deploy())
        self.initialization.all_deployed.set()

    async def _start_workers(self) -> None:
        for queue in QUEUES:
            await self.crew.start(self.lineup.worker(queue))

    async def _close_gates(self, store: Store, deployments: Sequence[Deployment]) -> None:
        """Nothing works before initialize has run in this boot, whatever is due from before."""
        for account in {each.account for each in deployments if each.flow == "initialize"} | self.project.accounts():
            await close_gate(store.desk, account, datetime.now(UTC))

    async def _step(self, name: str, command: Sequence[str]) -> None:
        """Run a command to its end; raises StartFailed with what it said last."""
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *command,
            env=self.lineup.client_environment(),
            cwd=self.project.path,
            stdin=subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(STEP_LIMIT.total_seconds()):
                out, err = await process.communicate()
        except TimeoutError:
            raise StartFailed(f"{name}: not done within {STEP_LIMIT.total_seconds():.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        log = self.home.logs / f"{name.split(',', maxsplit=1)[0]}.log"
        log.write_bytes(out + err)
        if process.returncode:
            raise StartFailed(f"{name}: {_last_words(err or out)} (all of it: {log})")
        self.say(f"{name} are in place ({time.monotonic() - began:.1f} s)")


async def _together(*steps: Awaitable[None]) -> None:
    """Take steps at the same time; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        for done in asyncio.as_completed(tasks):
            await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _last_words(output: bytes) -> str:
    """The last line that says something; Prefect's command line frames its own."""
    lines = [line.strip(" │╭╮╰╯─") for line in output.decode(errors="replace").splitlines()]
    said = [line for line in lines if line]
    return said[-1] if said else "it ended without a word"
