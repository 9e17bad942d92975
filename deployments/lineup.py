"""The processes a desk consists of, and the commands that prepare it: what is run, where, with which settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from deployments.children import ChildSpec
from deployments.credentials import read_auth, read_key
from deployments.exposure import Exposure
from deployments.home import (
    HOME_VARIABLE,
    OFF,
    PAPER_PORT_VARIABLE,
    PREFECT_PORT_VARIABLE,
    WEB_PORT_VARIABLE,
    Home,
    Ports,
)
from deployments.in_process.settings import InProcessSettings
from deployments.json_logs import log_environment
from deployments.project import Project
from deployments.server_settings import client_environment, server_environment, worker_environment

POOL, POOL_TYPE = "desk", "in-process"
# One process for what may be late, one for orders; started in this order, stopped in the other.
QUEUES = ("updates", "orders")
# The exit code of a worker that wants to be started again.
RESTART_CODE = 75
# A candle refresh takes a processor for seconds: it gives way to orders, the server and the exchange. So does the page.
NICENESS = {"updates": 10, "page": 10}
# What a worker may need beyond its own two deadlines.
AIR = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Lineup:
    """Every command of one desk, run in the project's folder with this Python."""

    home: Home
    ports: Ports
    project: Project
    retention: timedelta

    def server(self) -> ChildSpec:
        """Prefect's server, on loopback unless the environment says otherwise."""
        exposure = Exposure.from_environment()
        arguments = ["-m", "deployments.server", "--host", exposure.host, "--port", str(self.ports.prefect)]
        settings = server_environment(
            self.home.path,
            self.ports.prefect,
            retention=self.retention,
            auth=read_auth(self.home),
            encryption_key=read_key(self.home),
            exposure=exposure,
        )
        return self._child("Prefect server", arguments, settings)

    def paper(self) -> ChildSpec:
        """The paper exchange, its state and keys in the home."""
        arguments = ["-m", "deployments.cli", "paper", "--port", str(self.ports.paper)]
        return self._child("paper exchange", [*arguments, "--keys", str(self.home.paper_keys_file)], {})

    def worker(self, queue: str) -> ChildSpec:
        """The worker of one queue; it lets its runs finish, then cancels them and waits again."""
        arguments = ["-m", "prefect", "worker", "start", "--pool", POOL, "--type", POOL_TYPE]
        arguments += ["--work-queue", queue, "--name", queue]
        patience = InProcessSettings()
        return self._child(
            f"worker {queue}",
            arguments,
            worker_environment(self.home.path, self.ports.prefect, auth=read_auth(self.home))
            | {"KONTOR_WORKER_METRICS_FOLDER": str(self.home.metrics)},
            stop_within=patience.drain_grace + patience.stop_deadline + AIR,
            restart_code=RESTART_CODE,
            niceness=NICENESS.get(queue, 0),
            pulse_variable="KONTOR_WORKER_PULSE_FD",
        )

    def page(self) -> ChildSpec:
        """The desk's page, in a process of its own: whoever looks takes nothing from who trades."""
        return self._child("page", ["-m", "deployments.cli", "web"], {}, niceness=NICENESS["page"])

    def prepare(self, previous_paper_url: str, *, keys_are_new: bool) -> Sequence[str]:
        """The command that makes pool, queues and blocks."""
        command = [sys.executable, "-m", "deployments.bootstrap_prefect", "--paper-url", self.ports.paper_url]
        if previous_paper_url:
            command += ["--previous-paper-url", previous_paper_url]
        return [*command, "--keys-are-new"] if keys_are_new else command

    def deploy(self) -> Sequence[str]:
        """The command that deploys what prefect.yaml says, the same one a user types."""
        return [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]

    def client_environment(self) -> Mapping[str, str]:
        """The environment of a command that talks to the server."""
        return self._environment(client_environment(self.home.path, self.ports.prefect, read_auth(self.home)))

    def _child(
        self,
        name: str,
        arguments: Sequence[str],
        settings: Mapping[str, str],
        *,
        stop_within: timedelta = timedelta(seconds=10),
        restart_code: int | None = None,
        niceness: int = 0,
        pulse_variable: str = "",
    ) -> ChildSpec:
        return ChildSpec(
            name,
            [sys.executable, *arguments],
            self._environment(settings),
            self.project.path,
            stop_within=stop_within,
            restart_code=restart_code,
            niceness=niceness,
            pulse_variable=pulse_variable,
        )

    def _environment(self, settings: Mapping[str, str]) -> Mapping[str, str]:
        return without_shells_prefect() | {
            HOME_VARIABLE: str(self.home.path),
            PREFECT_PORT_VARIABLE: str(self.ports.prefect),
            PAPER_PORT_VARIABLE: str(self.ports.paper),
            WEB_PORT_VARIABLE: str(self.ports.web or OFF),
            "PYTHONUNBUFFERED": "1",
            **log_environment(),
            **settings,
        }


def without_shells_prefect() -> dict[str, str]:
    """This process's environment, less what the shell says about Prefect: that is about another server."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
