"""`kontor run`: one run of a deployment by hand, on the running desk, or in this process when there is none."""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any
from uuid import uuid4

from cyclopts import Parameter
from rich.console import Console

from deployments.cli.env import run_environment
from deployments.credentials import desk_api
from deployments.home import Home, Ports
from deployments.instance import running_record
from deployments.prefect_api import Deployment, PrefectApi, Run
from deployments.project import Project
from kontor.errors import ConfigError, KontorError
from kontor.updaters.naming import account_of, updater_of

POLL_SECONDS = 0.3
# What these flows want done is done by the workers and the executor of a desk.
NEED_A_DESK = "orders"
# Tells the flow that the settings are in its environment: see flows.shell.
PREPARED = "KONTOR_RUN_PREPARED"

Pairs = Annotated[list[str] | None, Parameter(name=["--param", "-p"], negative="")]


def run(name: str, /, *, param: Pairs = None, account: str = "paper") -> int:
    """Run a flow once, now, and wait for its end; exit code 1 when it does not complete.

    On a running desk its worker does it, as the UI's quick run does; without one the flow runs in this process.

    Parameters
    ----------
    name
        A flow (update-tickers), an updater of yours (funding-rates), or a deployment (update-tickers/paper).
    param
        A parameter of the flow as key=value; the value is JSON, or a text as it stands. May be repeated.
    account
        The account, where the name does not say it.

    """
    parameters = parsed(param or [])
    home = Home.from_environment()
    record = running_record(home)
    if record is None:
        return _run_here(home, name, account, parameters)
    return asyncio.run(_run_on_desk(home, record.ports, name, account, parameters))


def parsed(pairs: Sequence[str]) -> dict[str, Any]:
    """Parameters from `key=value`; a value that is JSON is taken as such. Raises ConfigError."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise ConfigError(f"{pair!r} is no parameter; write -p key=value")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def choose(name: str, account: str, known: Mapping[str, tuple[str, str]]) -> str:
    """The deployment that is meant, of full names to (updater, account); raises KontorError with the nearest ones."""
    if name in known:
        return name
    wanted = name.replace("_", "-")
    mine = {full: updater for full, (updater, its_account) in known.items() if its_account == account}
    for full, updater in mine.items():
        if wanted == updater.replace("_", "-"):
            return full
    near = difflib.get_close_matches(wanted, [*mine.values(), *known], n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(mine.values())) or 'none'}"
    raise KontorError(f"{name} is not deployed for {account}; {hint}")


async def _run_on_desk(home: Home, ports: Ports, name: str, account: str, parameters: Mapping[str, Any]) -> int:
    async with desk_api(home, ports, timeout=timedelta(seconds=10)) as api:
        deployments = await api.deployments()
        known = {each.full_name: (each.updater, each.account) for each in deployments}
        full = choose(name, account, known)
        deployment = next(each for each in deployments if each.full_name == full)
        for unknown in parameters.keys() - set(deployment.accepts):
            raise ConfigError(f"{full} has no parameter {unknown}; it has {', '.join(deployment.accepts) or 'none'}")
        began = time.monotonic()
        run = await _ended(api, deployment, parameters)
    seconds = time.monotonic() - began
    said = f": {run.message}" if run.message and run.state_name != "Completed" else ""
    page = f"{ports.prefect_url}/runs/flow-run/{run.id}"
    line = f"{full}: {run.state_name} after {seconds:.1f} s{said} ({page})"
    if run.state == "COMPLETED":
        Console(soft_wrap=True, markup=False, highlight=False).print(line)
        return 0
    raise KontorError(line)


async def _ended(api: PrefectApi, deployment: Deployment, parameters: Mapping[str, Any]) -> Run:
    run = await api.start_run(deployment, key=f"by-hand-{uuid4()}", parameters=parameters)
    while not run.is_over:
        await asyncio.sleep(POLL_SECONDS)
        run = await api.run(run.id)
    return run


def _run_here(home: Home, name: str, account: str, parameters: Mapping[str, Any]) -> int:
    """Become the flow's own process: `python -m module flow key=value`, on the desk's database."""
    project = Project.find()
    entries = {f"{each.flow}/{each.name}": each for each in project.entries()}
    known = {
        full: (updater_of(each.flow, each.name, each.parameters), account_of(each.flow, each.name, each.parameters))
        for full, each in entries.items()
    }
    entry = entries[choose(name, account, known)]
    if entry.queue == NEED_A_DESK:
        raise KontorError(
            f"{name} needs a running desk, whose executor sends and follows orders; 'kontor up' starts it"
        )
    given = {**entry.parameters, **({"name": entry.name} if entry.flow == "run-updater" else {}), **parameters}
    module, _, function = entry.entrypoint.replace(":", ".").replace("/", ".").replace(".py.", ".").rpartition(".")
    arguments = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in given.items()]
    environment = {**os.environ, **run_environment(home), PREPARED: "1"}
    sys.stdout.flush()
    os.chdir(project.path)
    os.execve(sys.executable, [sys.executable, "-m", module, function, *arguments], environment)  # noqa: S606 - our own
