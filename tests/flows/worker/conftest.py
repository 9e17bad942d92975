"""A real Prefect server for the session, and workers, deployments and runs on it for each test."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, Log, State
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.states import Scheduled
from prefect.types._datetime import now

from deployments.server_settings import server_environment, worker_environment

CODE = Path(__file__).parent / "code"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PrefectServer:
    """The launcher under test as a process, on a home of its own, that can be killed and started again."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.port = free_port()
        (home / "prefect").mkdir(parents=True, exist_ok=True)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PYTHONPATH": str(CODE),
            **server_environment(home, self.port),
            **settings,
        }
        self.log = home / "server.log"
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deployments.server", "--port", str(self.port)],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/health", timeout=2).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
            assert self.process.poll() is None, self.log.read_text()
        self.kill()
        pytest.fail(f"the server did not come up:\n{self.log.read_text()}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


class WorkerProcess:
    """A worker started by Prefect's own command line."""

    def __init__(
        self, server: PrefectServer, pool: str, *arguments: str, kind: str = "in-process", **settings: str
    ) -> None:
        environment = server.environment | worker_environment(server.home, server.port)
        environment |= {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_PREFETCH_SECONDS": "5"} | settings
        self.log_path = server.home / f"worker-{uuid.uuid4().hex[:6]}.log"
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", kind, *arguments]
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    async def says(self, text: str, within: float = 90) -> str:
        """The worker's log once it contains the text."""
        return await eventually(
            lambda: self.log if text in self.log else None, within, f"the worker's log to say {text!r}"
        )

    async def ends(self, within: float = 90) -> int:
        """The exit code."""
        await eventually(lambda: self.process.poll() is not None or None, within, "the worker to end")
        return self.process.returncode

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


async def eventually(look: Callable[[], Any], within: float, what: str) -> Any:
    """What `look` gives once it is not None; waits on the clock of the outside world, which no test controls."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        seen = look()
        if asyncio.iscoroutine(seen):
            seen = await seen
        if seen is not None:
            return seen
        await asyncio.sleep(0.05)
    pytest.fail(f"waited {within} s in vain for {what}")


@dataclass
class Desk:
    """A work pool of the test's own, with the means to deploy to it, run on it and look at it."""

    server: PrefectServer
    client: PrefectClient
    home: Path
    pool: str
    workers: list[WorkerProcess] = field(default_factory=list)

    def worker(
        self, *arguments: str, kind: str = "in-process", pool: str | None = None, **settings: str
    ) -> WorkerProcess:
        worker = WorkerProcess(self.server, pool or self.pool, *arguments, kind=kind, **settings)
        self.workers.append(worker)
        return worker

    async def add_pool(self, kind: str) -> str:
        name = f"{kind}-{uuid.uuid4().hex[:6]}"
        from prefect.workers.base import BaseWorker

        worker_class = BaseWorker.get_worker_class_from_type(kind)
        assert worker_class is not None
        template = worker_class.get_default_base_job_template()
        await self.client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template))
        return name

    async def deploy(
        self,
        flow_name: str,
        *,
        every: timedelta | None = None,
        anchor: datetime | None = None,
        trace: str | None = None,
        pool: str | None = None,
        **options: Any,
    ) -> uuid.UUID:
        flow_id = await self.client.create_flow_from_name(flow_name.replace("_", "-"))
        schedules = None
        if every is not None:
            schedule = IntervalSchedule(interval=every, anchor_date=anchor or now("UTC"))
            schedules = [DeploymentScheduleCreate(schedule=schedule)]
        return await self.client.create_deployment(
            flow_id=flow_id,
            name=f"d-{uuid.uuid4().hex[:6]}",
            entrypoint=options.pop("entrypoint", f"sample_flows.{flow_name}"),
            work_pool_name=pool or self.pool,
            pull_steps=[],
            schedules=schedules,
            parameters={"trace": trace or self.trace(), **options.pop("parameters", {})},
            **options,
        )

    def trace(self) -> str:
        return str(self.home / f"trace-{uuid.uuid4().hex[:8]}")

    async def run(self, flow_name: str, *, due: datetime | None = None, **options: Any) -> FlowRun:
        """An ad-hoc run of a new deployment of this flow."""
        return await self.run_deployment(await self.deploy(flow_name, **options), due=due)

    async def run_deployment(self, deployment_id: uuid.UUID, *, due: datetime | None = None, **options: Any) -> FlowRun:
        state: State[Any] = Scheduled(scheduled_time=due or now("UTC"))
        return await self.client.create_flow_run_from_deployment(deployment_id, state=state, **options)

    async def read(self, run: FlowRun) -> FlowRun:
        return await self.client.read_flow_run(run.id)

    async def reaches(self, run: FlowRun, *names: str, within: float = 90) -> FlowRun:
        """The run once its state has one of these names."""

        async def look() -> FlowRun | None:
            current = await self.read(run)
            return current if current.state_name in names else None

        try:
            return await eventually(look, within, f"{names}")
        except BaseException:
            seen = await self.read(run)
            print(f"run {run.name} is {seen.state!r}\n", *(worker.log[-6000:] for worker in self.workers))
            raise

    async def log_records(self, run: FlowRun) -> list[Log]:
        return await self.client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))

    async def logs(self, run: FlowRun) -> list[str]:
        return [log.message for log in await self.log_records(run)]


def lines(trace: str | FlowRun) -> list[str]:
    """What the flow and its hooks wrote."""
    path = Path(trace if isinstance(trace, str) else trace.parameters["trace"])
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    # It looks for old rows every few seconds instead of every quarter of an hour.
    server = PrefectServer(tmp_path_factory.mktemp("prefect-home"), PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS="3")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def common_worker(server: PrefectServer) -> Iterator[WorkerProcess]:
    """The worker of every test that does not end, limit or break its worker: starting one takes seconds."""
    worker = WorkerProcess(server, "common")
    yield worker
    worker.kill()


@pytest.fixture
async def common(server: PrefectServer, common_worker: WorkerProcess, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk whose worker is up already."""
    await eventually(lambda: "started!" in common_worker.log or None, 90, "the common worker")
    async with PrefectClient(api=server.url) as client:
        desk = Desk(server=server, client=client, home=tmp_path, pool="common", workers=[common_worker])
        yield desk
        for worker in desk.workers[1:]:
            worker.kill()


@pytest.fixture
async def desk(server: PrefectServer, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk without a worker, on a pool of its own."""
    async with PrefectClient(api=server.url) as client:
        desk = Desk(server=server, client=client, home=tmp_path, pool="")
        desk.pool = await desk.add_pool("in-process")
        yield desk
        for worker in desk.workers:
            worker.kill()
        await client.delete_work_pool(desk.pool)


@pytest.fixture
def traced() -> Callable[[str | FlowRun], list[str]]:
    """What a flow and its hooks wrote to its trace."""
    return lines


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """Waits until a look at the outside world gives something."""
    return eventually
