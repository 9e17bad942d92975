"""A whole desk as `kontor up` brings it up: its orders' worker runs the executor as a flow, and is what gets killed."""

import asyncio
import os
import shutil
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, Signals

import httpx

from deployments.paper_keys import read_keys
from kontor.execution.lease import lease_name
from kontor.ports import DeskState
from kontor.resilience.clock import SystemClock
from tests.chaos.executors import Spec
from tests.chaos.grounds import TAKEOVER_SECONDS
from tests.support.desk import REPOSITORY, RunningDesk, put_away

WORKER, VENUE = "worker orders", "paper exchange"
# The shortest that kontor.yaml takes.
LEASE_SECONDS, REQUEST_SECONDS = 3, 2


class DeskGrounds:
    """Prefect server, paper exchange, both workers and their supervisor, on a home and ports of their own."""

    tracks_by_itself = True

    def __init__(self, home: Path) -> None:
        self._project = home / "project"
        self._desk = RunningDesk.planned(home / "home", project=self._project)
        self._put_away = put_away(self._desk)
        self._clock = SystemClock()
        # Fencing numbers: the one seen last, and the last one whose holder was killed.
        self._seen = self._killed_under = 0
        self._is_up = False

    @property
    def spec(self) -> Spec:
        key = read_keys(self._desk.home.paper_keys_file)["paper"]
        return Spec(
            store_url=self._desk.home.default_store_url,
            rest_url=f"http://127.0.0.1:{self._desk.paper_port}",
            log_file=str(self._desk.home.logs / "worker-orders.log"),
            key=(key.api_key, key.secret, key.passphrase),
            lease_seconds=LEASE_SECONDS,
            request_seconds=REQUEST_SECONDS,
        )

    @property
    def books(self) -> Path:
        return self._desk.home.path / "paper.sqlite3"

    @property
    def desk(self) -> RunningDesk:
        """The desk itself."""
        return self._desk

    def settings(self, text: str) -> str:
        """The text of kontor.yaml, made impatient."""
        text = text.replace("lease_seconds: 10", f"lease_seconds: {LEASE_SECONDS}")
        return text.replace("request_timeout_seconds: 10", f"request_timeout_seconds: {REQUEST_SECONDS}")

    def prepare(self, project: Path) -> None:
        """Whatever else the project needs."""

    async def start(self) -> None:
        self._project.mkdir()
        shutil.copy(REPOSITORY / "prefect.yaml", self._project)
        settings = self.settings((REPOSITORY / "kontor.yaml").read_text(encoding="utf-8"))
        (self._project / "kontor.yaml").write_text(settings, encoding="utf-8")
        self.prepare(self._project)
        self._put_away.__enter__()
        self._is_up = True
        output = await asyncio.to_thread(self._desk.up)
        assert output.returncode == 0, f"the desk did not come up:\n{output.stdout}\n{output.stderr}"

    async def at_work(self, state: DeskState) -> int:
        async with asyncio.timeout(TAKEOVER_SECONDS):
            while True:
                lease = await state.lease(lease_name("paper"))
                pid = self._desk.pid(WORKER)
                is_held = lease is not None and lease.expires_at > self._clock.now()
                if pid and is_held and lease is not None and lease.fencing > self._killed_under:
                    self._seen = lease.fencing
                    return pid
                await asyncio.sleep(0.1)

    def waiting(self) -> list[int]:
        return [self._desk.pid(WORKER)]

    async def kill(self, pid: int) -> None:
        self._killed_under = self._seen
        self.signal(pid, SIGKILL)

    def signal(self, pid: int, signum: Signals) -> None:
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signum)

    async def restart_venue(self, signum: Signals) -> None:
        self.signal(self._desk.pid(VENUE), signum)
        async with asyncio.timeout(TAKEOVER_SECONDS), httpx.AsyncClient(trust_env=False) as client:
            while True:
                await asyncio.sleep(0.5)
                with suppress(httpx.TransportError):
                    if (await client.get(f"{self.spec.rest_url}/api/v5/public/time")).is_success:
                        return

    async def stop(self) -> None:
        if self._is_up:
            self._is_up = False
            await asyncio.to_thread(self._put_away.__exit__, None, None, None)
