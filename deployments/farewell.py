"""The last thing a desk does before its workers stop, where kontor.yaml asks for it: cancel what rests at the venue."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from deployments.crew import Say
from deployments.home import Ports
from deployments.prefect_api import Deployment, PrefectApi
from deployments.project import Project
from kontor.config import load_config
from kontor.errors import KontorError

FLOW = "cancel-orders"
LIMIT = timedelta(seconds=60)
POLL_SECONDS = 0.3


async def say_farewell(ports: Ports, project: Project, say: Say) -> None:
    """Cancel every account's open orders if kontor.yaml says so; what fails is said, and does not keep the desk up."""
    try:
        # Read now: the file may have been edited since the desk came up.
        if not load_config(project.config_file).orders.cancel_on_stop:
            return
        async with PrefectApi(ports.prefect_url) as api:
            for deployment in await api.deployments():
                if deployment.flow == FLOW:
                    await _cancel_through(api, deployment, say)
    except KontorError as error:
        say(f"open orders may still rest at the venue: {error}")


async def _cancel_through(api: PrefectApi, deployment: Deployment, say: Say) -> None:
    say(f"canceling the open orders of {deployment.name}")
    run = await api.start_run(deployment, key=f"stop-{deployment.id}-{datetime.now(UTC).isoformat()}")
    deadline = time.monotonic() + LIMIT.total_seconds()
    while not run.is_over and time.monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)
        run = await api.run(run.id)
    if run.state != "COMPLETED":
        say(f"{deployment.full_name} ended as {run.state_name}: open orders may still rest at the venue; {run.message}")
