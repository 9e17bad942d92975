"""`kontor up` and `kontor down`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Annotated

import psutil
from cyclopts import Parameter

from deployments.cli.progress import PIPE_VARIABLE, console, progress
from deployments.cli.status import show_status
from deployments.credentials import make_auth, read_auth
from deployments.exposure import Exposure
from deployments.home import DeskRunning, Home, Ports
from deployments.instance import DeskRecord, end_leftovers, leftovers, running_record
from deployments.project import Project
from deployments.systemd import tell
from kontor.errors import KontorError

# All children in turn, each with its own deadline, and some air.
DOWN_SECONDS = 210.0
# How long a lock may be held by a process that has not written its record yet.
RECORD_SECONDS = 3.0
# A signal came before the desk was up.
STOPPED_EARLY = 1


def up(*, detach: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Bring the desk up: Prefect server, paper exchange, deployments and workers; Ctrl-C brings it down.

    Parameters
    ----------
    detach
        Leave it running in the background once every updater has run.

    """
    if detach:
        return _up_in_background(Home.from_environment())
    with progress() as told:
        home, ports, project = Home.from_environment(), Ports.from_environment(), Project.find()
        home.make()
        try:
            with home.locked():
                # Prefect's server takes seconds to import what the command line does not need.
                from deployments.desk import run_desk
                from deployments.findings import Findings, look_at_orders, look_first, say_findings

                found = Findings(home, project.accounts())
                look_first(home, told.say)
                end_leftovers(DeskRecord.load(home), told.say)
                ports.check_free()
                look_at_orders(home, found)
                prepare_secrets(home, told.say)

                async def on_ready() -> None:
                    await say_findings(home, ports, found, told.say)
                    told.ready()
                    tell("READY=1")
                    await show_status(home, told.say)
                    told.say(how_to_sign_in(home))

                was_up = asyncio.run(run_desk(home, ports, project, told.say, on_ready))
        except DeskRunning:
            raise _already_running(home) from None
    return 0 if was_up else STOPPED_EARLY


def down() -> int:
    """Bring the desk down, orders first, and wait until it is."""
    home = Home.from_environment()
    if not home.is_locked():
        ended = end_leftovers(DeskRecord.load(home), console.print) if home.path.exists() else 0
        console.print(f"no desk is running on {home.path}{'; what was left of one is ended' if ended else ''}")
        return 0
    supervisor = _supervisor(home)
    console.print(f"stopping the desk on {home.path} (pid {supervisor.pid})")
    supervisor.send_signal(signal.SIGTERM)
    try:
        supervisor.wait(DOWN_SECONDS)
    except psutil.TimeoutExpired:
        raise KontorError(
            f"the desk (pid {supervisor.pid}) is still stopping after {DOWN_SECONDS:.0f} s; "
            f"{home.logs / 'up.log'} says what it waits for"
        ) from None
    left = leftovers(DeskRecord.load(home))
    if left:
        raise KontorError(
            f"could not be stopped: {', '.join(child.name for child, _ in left)}; run 'kontor down' again"
        )
    console.print("the desk is down")
    return 0


def prepare_secrets(home: Home, say: Callable[[str], None]) -> None:
    """Make what opens the server and what encrypts its blocks, and move over a desk from before there was either."""
    # Needs cryptography, which `kontor --help` need not wait for.
    from deployments.block_secrets import settle_key

    Exposure.from_environment()
    Exposure.of_page()
    make_auth(home)
    read_auth(home)
    if done := settle_key(home):
        say(done)


def how_to_sign_in(home: Home) -> str:
    """A sentence for a person in front of the UI; the password itself stays out of logs."""
    return f"to sign in to the UI or the page, enter the one line in {home.auth_file}"


def _supervisor(home: Home) -> psutil.Process:
    """The process that holds the home; its record may be a moment younger than its lock."""
    deadline = time.monotonic() + RECORD_SECONDS
    while True:
        record = DeskRecord.load(home)
        found = record.supervisor.find() if record is not None else None
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise KontorError(f"{home.lock_file} is held by something that is no desk; see `fuser {home.lock_file}`")
        time.sleep(0.1)


def _already_running(home: Home) -> DeskRunning:
    record = running_record(home)
    if record is None:
        return DeskRunning(f"a desk is being started or stopped on {home.path} right now; try again in a moment")
    return DeskRunning(
        f"a desk is running on {home.path} already (pid {record.supervisor.pid}), "
        f"its UI is at {record.ports.prefect_url}; 'kontor down' stops it"
    )


def _up_in_background(home: Home) -> int:
    """Start a desk in a session of its own and wait until it is up, or says why not."""
    home.make()
    reader, writer = os.pipe()
    with (home.logs / "up.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deployments.cli", "up"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(writer,),
            env=os.environ | {PIPE_VARIABLE: str(writer), "PYTHONUNBUFFERED": "1"},
        )
    os.close(writer)
    try:
        with os.fdopen(reader, encoding="utf-8") as lines:
            for line in lines:
                message = json.loads(line)
                if "error" in message:
                    process.wait()
                    raise KontorError(message["error"])
                if "ready" in message:
                    asyncio.run(show_status(home, console.print))
                    console.print(how_to_sign_in(home))
                    return 0
                console.print(message["say"])
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    raise KontorError(f"the desk ended while it was starting ({process.wait()}); {home.logs / 'up.log'} says more")
