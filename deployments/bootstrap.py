"""From nothing to a running desk: the steps of `kontor up`, in order."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx

from deployments.children import Child, ChildSpec
from deployments.crew import Crew, Say, StartFailed
from deployments.executor import Watch, long_running
from deployments.home import HOME_VARIABLE, LOOPBACK, PAPER_PORT_VARIABLE, PREFECT_PORT_VARIABLE, Home, Ports
from deployments.instance import DeskRecord
from deployments.paper_keys import make_keys
from deployments.prefect_api import Deployment, PrefectApi
from deployments.project import Project
from deployments.server_settings import client_environment, server_environment, worker_environment
from deployments.stores import open_desk_store
from kontor.config import KontorConfig, load_config
from kontor.desk import close_gate
from kontor.ports import Store

ACCOUNT = "paper"
RESTART_CODE = 75
HEALTH_LIMIT = timedelta(seconds=90)
STEP_LIMIT = timedelta(seconds=120)
INITIALIZE_LIMIT = timedelta(seconds=240)
UPDATERS_LIMIT = timedelta(seconds=60)
# An updater that is due by itself within this time is not started by hand.
SOON = timedelta(seconds=12)
KICK_SPREAD = timedelta(seconds=1)
POLL_SECONDS = 0.5


@dataclass
class Bootstrap:
    """Brings up one desk; what it starts belongs to the crew, which stops it."""

    home: Home
    ports: Ports
    project: Project
    crew: Crew
    previous: DeskRecord | None
    say: Say
    config: KontorConfig = field(init=False)

    def __post_init__(self) -> None:
        # A mistake in kontor.yaml should cost a second, not a minute.
        self.config = load_config(self.project.config_file)

    async def run(self) -> Watch:
        """Every step; returns the watch over the long-running flows. Raises StartFailed, or what a step raised."""
        keys_are_new = make_keys(self.home.paper_keys_file)
        await self._start_services()
        await self._step("blocks", self._bootstrap_command(keys_are_new=keys_are_new))
        async with PrefectApi(self.ports.prefect_url) as api, open_desk_store(api, self.home) as store:
            await store.migrate()
            await self._step("deployments", [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"])
            deployments = await api.deployments()
            accounts = sorted({each.name for each in deployments if each.flow == "initialize"})
            if not accounts:
                raise StartFailed(
                    f"{self.project.deployments_file} deploys no flow 'initialize': nothing can open the gate"
                )
            for account in accounts:
                await close_gate(store.desk, account, datetime.now(UTC))
            await self._start_workers()
            watch = Watch(
                PrefectApi(self.ports.prefect_url), long_running(deployments), self.crew.record.boot_at, self.say
            )
            await self._initialize(api, [each for each in deployments if each.flow == "initialize"])
            await self._first_runs(api, store, watch, deployments)
        return watch

    async def _start_services(self) -> None:
        began = time.monotonic()
        environment = self._environment(
            server_environment(
                self.home.path, self.ports.prefect, retention=timedelta(days=self.config.history.prefect_runs_days)
            )
        )
        command = [sys.executable, "-m", "deployments.server", "--host", LOOPBACK, "--port", str(self.ports.prefect)]
        server = await self.crew.start(ChildSpec("Prefect server", command, environment, self.project.path))
        paper = await self._start_paper()
        async with (
            PrefectApi(self.ports.prefect_url, timeout=timedelta(seconds=2)) as api,
            httpx.AsyncClient(trust_env=False, timeout=2) as client,
        ):
            await asyncio.gather(
                self.crew.wait_until(api.is_healthy, server, HEALTH_LIMIT),
                self.crew.wait_until(
                    lambda: _answers(client, f"{self.ports.paper_url}/api/v5/public/time"), paper, HEALTH_LIMIT
                ),
            )
        self.say(f"Prefect server and paper exchange answer ({time.monotonic() - began:.1f} s)")

    async def _start_paper(self) -> Child:
        command = [sys.executable, "-m", "deployments.cli", "paper", "--port", str(self.ports.paper)]
        command += ["--keys", str(self.home.paper_keys_file)]
        return await self.crew.start(ChildSpec("paper exchange", command, self._environment({}), self.project.path))

    async def _start_workers(self) -> None:
        environment = self._environment(worker_environment(self.home.path, self.ports.prefect))
        # A worker waits for its runs, then cancels them and waits again: its own two deadlines, and some air.
        for queue in ("updates", "orders"):
            command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "desk", "--type", "in-process"]
            command += ["--work-queue", queue, "--name", queue]
            await self.crew.start(
                ChildSpec(
                    f"worker {queue}",
                    command,
                    environment,
                    self.project.path,
                    stop_within=timedelta(seconds=35),
                    restart_code=RESTART_CODE,
                )
            )

    async def _step(self, name: str, command: Sequence[str]) -> None:
        """Run a command to its end; raises StartFailed with what it said last."""
        began = time.monotonic()
        environment = self._environment(client_environment(self.home.path, self.ports.prefect))
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
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
        (self.home.logs / f"{name}.log").write_bytes(out + err)
        if process.returncode:
            raise StartFailed(f"{name}: {_last_words(err or out)}; all of it is in {self.home.logs / name}.log")
        for line in out.decode(errors="replace").splitlines() if name == "blocks" else ():
            self.say(line)
        self.say(f"{name} are in place ({time.monotonic() - began:.1f} s)")

    def _bootstrap_command(self, *, keys_are_new: bool) -> Sequence[str]:
        command = [sys.executable, "-m", "deployments.bootstrap_prefect", "--paper-url", self.ports.paper_url]
        if self.previous is not None:
            command += ["--previous-paper-url", self.previous.ports.paper_url]
        return [*command, "--keys-are-new"] if keys_are_new else command

    async def _initialize(self, api: PrefectApi, deployments: Sequence[Deployment]) -> None:
        """Run initialize for each account and wait; raises StartFailed with the reason when one does not complete."""
        began = time.monotonic()
        runs = [await api.start_run(each, key=f"boot-{each.id}-{self._boot}") for each in deployments]
        for deployment, started in zip(deployments, runs, strict=True):
            run = started
            while not run.is_over:
                if time.monotonic() - began > INITIALIZE_LIMIT.total_seconds():
                    seconds = INITIALIZE_LIMIT.total_seconds()
                    raise StartFailed(
                        f"{deployment.full_name} is still {run.state_name} after {seconds:.0f} s; "
                        f"its run {run.name} and the log of worker updates in {self.home.logs} say more"
                    )
                await asyncio.sleep(POLL_SECONDS)
                run = await api.run(run.id)
            if run.state != "COMPLETED":
                raise StartFailed(f"{deployment.full_name} ended as {run.state_name}: {run.message}")
        self.say(f"initialized, the gate is open ({time.monotonic() - began:.1f} s)")

    async def _first_runs(self, api: PrefectApi, store: Store, watch: Watch, deployments: Iterable[Deployment]) -> None:
        """Have every updater run once now, however long its interval; wait until all have and the executor works."""
        scheduled = [each for each in deployments if each.interval is not None]
        seldom = [each for each in scheduled if each.interval and each.interval > SOON]
        now = datetime.now(UTC)
        for number, deployment in enumerate(seldom):
            at = now + number * KICK_SPREAD
            await api.start_run(deployment, key=f"boot-{deployment.id}-{self._boot}", at=at)
        deadline = time.monotonic() + UPDATERS_LIMIT.total_seconds()
        while True:
            executor_works = await watch.all_run()
            silent = await _silent(store, scheduled, self.crew.record.boot_at)
            if executor_works and not silent:
                self.say("every updater has run, orders are being executed")
                return
            if time.monotonic() > deadline:
                self._complain(silent, watch, executor_works=executor_works)
                return
            await asyncio.sleep(POLL_SECONDS)

    def _complain(self, silent: Sequence[Deployment], watch: Watch, *, executor_works: bool) -> None:
        if silent:
            self.say(
                f"not yet reported: {', '.join(sorted(each.flow for each in silent))}; their runs in the UI say why"
            )
        if not executor_works:
            self.say(f"not running yet: {', '.join(each.full_name for each in watch.deployments)}")

    @property
    def _boot(self) -> str:
        return self.crew.record.boot_at.isoformat()

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        # What the shell says about Prefect is about another server.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
        return inherited | {
            HOME_VARIABLE: str(self.home.path),
            PREFECT_PORT_VARIABLE: str(self.ports.prefect),
            PAPER_PORT_VARIABLE: str(self.ports.paper),
            "PYTHONUNBUFFERED": "1",
            **settings,
        }


async def _silent(store: Store, scheduled: Iterable[Deployment], boot_at: datetime) -> list[Deployment]:
    """The updaters without a success since the desk came up."""
    beats = {name: await store.desk.heartbeats(name) for name in {each.name for each in scheduled}}
    silent = []
    for each in scheduled:
        beat = beats[each.name].get(each.flow)
        if beat is None or beat.last_success_at is None or beat.last_success_at < boot_at:
            silent.append(each)
    return silent


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).is_success
    except httpx.TransportError:
        return False


def _last_words(output: bytes) -> str:
    """The last line that says something."""
    lines = [line.strip(" │╭╮╰╯─") for line in output.decode(errors="replace").splitlines()]
    said = [line for line in lines if line]
    return said[-1] if said else "it ended without a word"


@asynccontextmanager
async def supervised(watch: Watch) -> AsyncIterator[None]:
    """While inside, the long-running flows are looked after."""
    task = asyncio.create_task(watch.keep(), name="keep long-running flows")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await watch.api.__aexit__(None, None, None)
