"""The last thing a desk does before its workers stop, where kontor.yaml asks for it: cancel what rests at the venue."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from deployments.credentials import desk_api
from deployments.crew import Say
from deployments.home import Home, Ports
from deployments.prefect_api import Deployment, PrefectApi
from deployments.project import Project
from deployments.stores import open_desk_store
from kontor.config import load_config
from kontor.errors import KontorError
from kontor.notify.teller import DESK
from kontor.notify.told import TOLD
from kontor.ports import Store

FLOW = "shutdown"
LIMIT = timedelta(seconds=60)
# For the cancels: a shutdown takes three and a half times that at most, and has said by then what is left.
WAIT_SECONDS = 15
TELL_LIMIT = timedelta(seconds=8)
POLL_SECONDS = 0.3


async def say_farewell(ports: Ports, home: Home, project: Project, say: Say) -> None:
    """Cancel each account's open orders if kontor.yaml says so; what fails is said, and does not keep the desk up."""
    await tell_stop(ports, home, project, say)
    try:
        # Read now: the file may have been edited since the desk came up.
        config = load_config(project.config_file)
        if not any(each.orders.cancel_on_stop for each in (config, *map(config.of, config.accounts))):
            return
        async with desk_api(home, ports) as api:
            for deployment in await api.deployments():
                if deployment.flow == FLOW and config.of(deployment.account).orders.cancel_on_stop:
                    await _cancel_through(api, deployment, say)
    except KontorError as error:
        say(f"open orders may still rest at the venue: {error}")


async def tell_stop(ports: Ports, home: Home, project: Project, say: Say) -> None:
    """Let watch-desk tell people that the desk is stopped, while it still can; for a few seconds at most."""
    try:
        async with (
            asyncio.timeout(TELL_LIMIT.total_seconds()),
            desk_api(home, ports, timeout=TELL_LIMIT) as api,
            open_desk_store(api, home) as store,
        ):
            accounts = [account for account in sorted(project.accounts()) if await _is_told_up(store, account)]
            for account in accounts:
                await store.desk.set_attribute(account, DESK, {"stopping": True}, datetime.now(UTC))
            for account in accounts:
                while await _is_told_up(store, account):  # noqa: ASYNC110 - another process cannot set our event
                    await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        say("watch-desk could not tell in time that the desk stops")
    except KontorError as error:
        say(f"nobody is told that the desk stops: {error}")


async def _is_told_up(store: Store, account: str) -> bool:
    told = await store.desk.attribute(account, TOLD)
    return told is not None and bool(told.value["is_up"])


async def _cancel_through(api: PrefectApi, deployment: Deployment, say: Say) -> None:
    say(f"canceling the open orders of {deployment.name}")
    run = await api.start_run(
        deployment,
        key=f"stop-{deployment.id}-{datetime.now(UTC).isoformat()}",
        # The flows end with their workers, a moment later.
        parameters={"cancel_orders": True, "stop_flows": False, "wait_seconds": WAIT_SECONDS},
    )
    deadline = time.monotonic() + LIMIT.total_seconds()
    while not run.is_over and time.monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)
        run = await api.run(run.id)
    if run.state != "COMPLETED":
        say(f"{deployment.full_name} ended as {run.state_name}: open orders may still rest at the venue; {run.message}")
