"""One real desk for a test session: `kontor up --detach` on free ports and a home of its own, and hands to use it."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import ccxt
import httpx
import psutil
import pytest

from deployments.credentials import read_auth
from deployments.home import Home
from deployments.instance import DeskRecord
from deployments.paper_keys import read_keys

REPOSITORY = Path(__file__).resolve().parents[2]
# A desk on a machine that is busy with other things; quiet ones need a third of it.
UP_SECONDS = 300
DOWN_SECONDS = 240
COMMAND_SECONDS = 120
# Linux gives away 32768 and above, macOS 49152 and above.
PORTS = range(20_000, 32_000)
TERMINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True)
class RunningDesk:
    """A desk by its home and ports, whether it is up or not."""

    home: Home
    prefect_port: int
    paper_port: int
    # The folder whose prefect.yaml and kontor.yaml decide.
    project: Path = REPOSITORY
    # 0: a desk without its page.
    web_port: int = 0

    @classmethod
    def planned(cls, folder: Path, project: Path = REPOSITORY) -> RunningDesk:
        """A desk that nobody has brought up yet."""
        prefect, paper, web = free_ports(3)
        return cls(Home(folder), prefect, paper, project, web)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a user's shell would have, without anything of this test process."""
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "KONTOR_", "PYTEST_"))
        }
        return kept | {
            "KONTOR_HOME": str(self.home.path),
            "KONTOR_PREFECT_PORT": str(self.prefect_port),
            "KONTOR_PAPER_PORT": str(self.paper_port),
            "KONTOR_WEB_PORT": str(self.web_port or "off"),
            "COLUMNS": "200",
        }

    @property
    def prefect_url(self) -> str:
        return f"http://127.0.0.1:{self.prefect_port}"

    @property
    def page_url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    def kontor(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
        """One command of the command line, as a user runs it."""
        return self._run([sys.executable, "-m", "deployments.cli", *arguments], seconds)

    def shell(self, script: str, seconds: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
        """A script in a shell that has evaluated `kontor env`, with the commands of this virtual environment."""
        folder = shlex.quote(str(Path(sys.executable).parent))
        prepared = f'set -e; PATH={folder}:"$PATH"; eval "$(kontor env)"; {script}'
        return self._run(["bash", "-c", prepared], seconds)

    def popen(self, command: str, log: Path) -> subprocess.Popen[bytes]:
        """A program of this virtual environment in the background, in the environment of `kontor env`."""
        settings = self.shell("env -0 | grep -z ^PREFECT_").stdout.split("\0")
        environment = {**self.environment, **dict(line.split("=", 1) for line in settings if line)}
        program, *arguments = shlex.split(command)
        with log.open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-m", program, *arguments],
                env=environment,
                cwd=REPOSITORY,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def status(self) -> dict[str, Any]:
        """`kontor status --json`."""
        output = self.kontor("status", "--json")
        assert output.returncode == 0, output.stderr
        return json.loads(output.stdout)

    def api(self, method: str, path: str, body: object = None) -> Any:
        """A call of Prefect's REST API, as somebody who may."""
        with httpx.Client(base_url=f"{self.prefect_url}/api", auth=self.auth, timeout=30, trust_env=False) as client:
            headers = {}
            if method != "GET":
                token = client.get("/csrf-token", params={"client": "test"}).raise_for_status().json()
                headers = {"Prefect-Csrf-Token": token["token"], "Prefect-Csrf-Client": "test"}
            answer = client.request(method, path, json=body, headers=headers)
            answer.raise_for_status()
            return answer.json() if answer.content else None

    @property
    def auth(self) -> tuple[str, str]:
        """User and password of the desk's server."""
        user, _, password = read_auth(self.home).partition(":")
        return user, password

    def deployment(self, full_name: str) -> dict[str, Any]:
        """A deployment as Prefect has it."""
        return self.api("GET", f"/deployments/name/{full_name}")

    def runs(self, full_name: str) -> list[dict[str, Any]]:
        """Up to 200 newest runs of a deployment."""
        wanted = {
            "flow_runs": {"deployment_id": {"any_": [self.deployment(full_name)["id"]]}},
            "sort": "START_TIME_DESC",
        }
        return self.api("POST", "/flow_runs/filter", wanted)

    def start(self, full_name: str, /, due: datetime | None = None, **parameters: Any) -> str:
        """Ask for a run of a deployment, now or at its due time; the flow run's id."""
        body: dict[str, Any] = {"parameters": parameters}
        if due is not None:
            body["state"] = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
        return self.api("POST", f"/deployments/{self.deployment(full_name)['id']}/create_flow_run", body)["id"]

    def run(self, full_name: str, /, **parameters: Any) -> dict[str, Any]:
        """Run a deployment and wait for its end; the flow run as Prefect has it then."""
        return self.wait_for_run(self.start(full_name, **parameters))

    def start_on(self, pool: str, full_name: str, /, **parameters: Any) -> str:
        """Ask for a run of the same deployment on another work pool; the flow run's id."""
        known = self.deployment(full_name)
        same = (
            "flow_id",
            "entrypoint",
            "path",
            "pull_steps",
            "parameters",
            "parameter_openapi_schema",
            "job_variables",
        )
        moved = {key: known[key] for key in same} | {"name": pool, "work_pool_name": pool}
        deployment = self.api("POST", "/deployments/", moved)
        run = {"parameters": parameters}
        return self.api("POST", f"/deployments/{deployment['id']}/create_flow_run", run)["id"]

    def wait_for_run(self, run_id: str, seconds: float = COMMAND_SECONDS) -> dict[str, Any]:
        """A flow run once it is over."""
        run: dict[str, Any] = {}

        def is_over() -> bool:
            run.update(self.api("GET", f"/flow_runs/{run_id}"))
            return run["state_type"] in TERMINAL

        wait_until(is_over, seconds, f"flow run {run_id} to end")
        return run

    def record(self) -> DeskRecord:
        """The processes the desk consists of."""
        record = DeskRecord.load(self.home)
        assert record is not None, "no desk has written its record"
        return record

    def pid(self, name: str) -> int:
        """The pid of one of the desk's children; 0 while it has none."""
        return next((child.pid for child in self.record().children if child.name == name), 0)

    def log(self, name: str) -> str:
        """What a child, or `up` itself, has written."""
        return (self.home.logs / f"{name}.log").read_text(errors="replace")

    def venue(self) -> Any:
        """The paper exchange's own books, seen through plain ccxt with the desk's key."""
        key = read_keys(self.home.paper_keys_file)["paper"]
        client: Any = ccxt.okx({"apiKey": key.api_key, "secret": key.secret, "password": key.passphrase})
        client.urls["api"]["rest"] = f"http://127.0.0.1:{self.paper_port}"
        # Several tests look at the same books; the exchange has rate limits of its own.
        client.session.trust_env = False
        return client

    def up(self) -> subprocess.CompletedProcess[str]:
        """`kontor up --detach`."""
        return self.kontor("up", "--detach", seconds=UP_SECONDS)

    def down(self) -> subprocess.CompletedProcess[str]:
        """`kontor down`."""
        return self.kontor("down", seconds=DOWN_SECONDS)

    def _run(self, command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.environment,
            cwd=self.project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )


def free_ports(count: int) -> list[int]:
    """Ports nobody has now, and nobody is given later.

    A desk takes them up to a minute after they were chosen. By then one that the system chose (port 0) may be the near
    end of somebody's connection: those come from the same range, so these come from below it.
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            break
    return found


def wait_until(check: Callable[[], bool], seconds: float, what: str) -> float:
    """Seconds until the check held; fails the test when it does not in time."""
    began = time.monotonic()
    while not check():
        if time.monotonic() - began > seconds:
            pytest.fail(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.1)
    return time.monotonic() - began


@contextmanager
def put_away(desk: RunningDesk) -> Iterator[RunningDesk]:
    """The desk, of which nothing runs any more at the end, however the test went."""
    try:
        yield desk
    finally:
        desk.down()
        _end_forcibly(desk)


def _end_forcibly(desk: RunningDesk) -> None:
    record = DeskRecord.load(desk.home)
    for each in [record.supervisor, *record.children] if record is not None else []:
        process = each.find()
        if process is not None:
            process.send_signal(signal.SIGKILL)
            psutil.wait_procs([process], timeout=10)


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    """One desk for all tests that only use a desk; those that bring one up and down make their own."""
    folder = tmp_path_factory.mktemp("desk")
    # A project of its own, so that a test may edit its settings.
    for name in ("prefect.yaml", "kontor.yaml"):
        shutil.copy(REPOSITORY / name, folder)
    with put_away(RunningDesk.planned(folder / "home", project=folder)) as desk:
        output = desk.up()
        assert output.returncode == 0, f"the desk did not come up:\n{output.stdout}\n{output.stderr}"
        yield desk
