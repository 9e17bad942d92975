"""A server, its workers and its deployments for the worker benchmark, and what they use."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.workers.base import BaseWorker

from deployments.server_settings import server_environment, worker_environment

REPOSITORY = Path(__file__).parent.parent
PAGE = 200


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time of a process, its children and its ended children."""
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        own = times.user + times.system + times.children_user + times.children_system
        return own + sum(cpu_seconds(child) for child in process.children())
    return 0.0


class BenchDesk:
    """One Prefect server on a home of its own."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.home = home
        (home / "prefect").mkdir(parents=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "KONTOR_"))}
        self._server_environment = clean | server_environment(home, port) | {"PYTHONPATH": str(REPOSITORY)}
        self._worker_environment = clean | worker_environment(home, port) | {"PYTHONPATH": str(REPOSITORY)}
        self.url = f"http://127.0.0.1:{port}/api"
        self._log = (home / "server.log").open("w")
        self.server = psutil.Popen(
            [sys.executable, "-m", "deployments.server", "--port", str(port)],
            env=self._server_environment, cwd=REPOSITORY, stdout=self._log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health").is_success:
                    return
            time.sleep(0.2)
        self.stop()
        raise RuntimeError(f"the server did not answer in two minutes:\n{(home / 'server.log').read_text()}")

    def stop(self) -> None:
        """End the server."""
        self.server.terminate()
        with suppress(psutil.TimeoutExpired):
            self.server.wait(20)
        if self.server.is_running():
            self.server.kill()
        self._log.close()

    def server_complaints(self) -> int:
        """How often the server's log speaks of a locked database."""
        return (self.home / "server.log").read_text().count("database is locked")

    @contextmanager
    def worker(self, kind: str, pool: str) -> Iterator[psutil.Popen]:
        """A worker of this type at work on the pool; Prefect's own settings for the process type's cancellation etc."""
        log = (self.home / f"worker-{pool}.log").open("a")
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", kind]
        process = psutil.Popen(
            command, env=self._worker_environment, cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + 90
            while "started!" not in Path(log.name).read_text() and time.monotonic() < deadline:
                time.sleep(0.2)
            yield process
        finally:
            children = process.children(recursive=True)
            process.terminate()
            with suppress(psutil.TimeoutExpired):
                process.wait(30)
            for each in [process, *children]:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            log.close()

    async def add_pool(self, client: PrefectClient, kind: str, name: str) -> None:
        """A work pool with the type's own template."""
        worker = BaseWorker.get_worker_class_from_type(kind)
        assert worker is not None
        template = worker.get_default_base_job_template()
        await client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template))

    async def deploy(
        self, client: PrefectClient, pool: str, count: int, every: float, *, spread: bool, flow: str = "tick"
    ) -> list[UUID]:
        """So many deployments with due times every so many seconds, spread over the interval or all at once."""
        flow_id = await client.create_flow_from_name(flow)
        anchor = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
        made: list[UUID] = []
        for number in range(count):
            offset = timedelta(seconds=every * number / count if spread else 0)
            schedules: list[DeploymentScheduleCreate] = []
            if every:
                schedule = IntervalSchedule(interval=timedelta(seconds=every), anchor_date=anchor + offset)
                schedules.append(DeploymentScheduleCreate(schedule=schedule))
            made.append(
                await client.create_deployment(
                    flow_id=flow_id,
                    name=f"{pool}-{number}-{time.monotonic_ns()}",
                    entrypoint=f"benchmarks.worker_flow.{flow}",
                    work_pool_name=pool,
                    pull_steps=[],
                    schedules=schedules,
                )
            )
        return made


async def runs_of(client: PrefectClient, deployments: list[UUID], since: datetime, until: datetime) -> list[FlowRun]:
    """The deployments' runs that were due between the two moments."""
    wanted = FlowRunFilter.model_validate(
        {
            "deployment_id": FlowRunFilterDeploymentId(any_=deployments),
            "expected_start_time": {"after_": since, "before_": until},
        }
    )
    found: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=wanted, limit=PAGE, offset=len(found), sort=FlowRunSort.EXPECTED_START_TIME_ASC
        )
        found += page
        if len(page) < PAGE:
            return found


async def remove(client: PrefectClient, deployments: list[UUID]) -> None:
    """Delete deployments, and with them the runs that are still scheduled."""
    for deployment in deployments:
        await client.delete_deployment(deployment)
