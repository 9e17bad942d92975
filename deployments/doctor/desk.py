"""The desk itself: settings, blocks, processes, scheduler, updaters, orders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import httpx

from deployments.block_secrets import stored_key, unreadable_blocks
from deployments.doctor.verdict import Verdict, failed, skipped, warning, well
from deployments.home import Home
from deployments.initialization import FLOW, INITIALIZATION
from deployments.instance import DeskRecord, leftovers
from deployments.prefect_api import PrefectApi, ServerRefused
from deployments.project import Project
from kontor.config import load_config
from kontor.desk import is_gate_open
from kontor.domain.health import judge
from kontor.domain.order import OrderState
from kontor.execution.halt import halted
from kontor.ports import Store

# Longer than any order of unknown outcome takes when the venue answers.
UNKNOWN_FOR = timedelta(minutes=10)
UNAUTHORIZED = 401
CHILDREN = ("Prefect server", "worker updates", "worker orders")
LOOK = "'kontor status' and the newest runs in the UI say why"


def settings(project: Project, accounts: Sequence[str]) -> Verdict:
    """Whether kontor.yaml and prefect.yaml can be read, and these accounts have deployments."""
    load_config(project.config_file)
    deployed = project.accounts()
    if not deployed:
        return failed("settings", "prefect.yaml deploys nothing for any account", "copy the deployments of the example")
    if missing := [account for account in accounts if account not in deployed]:
        remedy = (
            f"copy the deployments in prefect.yaml for it (docs/going-live.md), or name one of: "
            f"{', '.join(sorted(deployed))}"
        )
        return failed("settings", f"prefect.yaml deploys nothing for account {', '.join(missing)}", remedy)
    return well("settings", f"{project.config_file.name} and {project.deployments_file.name} are right")


def block_key(home: Home) -> Verdict:
    """Whether the key opens every block, and is not beside them."""
    if not home.prefect_database.exists():
        return skipped("block key", "no desk has run here yet")
    if lost := unreadable_blocks(home):
        remedy = f"put the right key back at {home.encryption_key_file} (a backup holds it), and restart the desk"
        return failed("block key", f"it does not open {', '.join(lost)}", remedy)
    if stored_key(home.prefect_database):
        return failed(
            "block key", "the database holds a key beside the secrets", "restart the desk: it moves them over"
        )
    return well("block key", "opens every block, and is not in the database")


def processes(record: DeskRecord | None, *, is_running: bool) -> Verdict:
    """Whether the desk consists of what it should, or has left something behind."""
    if not is_running:
        left = leftovers(record)
        if left:
            names = ", ".join(f"{child.name} (pid {child.pid})" for child, _ in left)
            return failed("processes", f"the desk is down, but {names} still run", "'kontor down' ends them")
        return skipped("processes", "the desk is down")
    alive = {child.name for child in (record.children if record else []) if child.find() is not None}
    if missing := [name for name in CHILDREN if name not in alive]:
        return failed(
            "processes", f"not running: {', '.join(missing)}", f"see {', '.join(missing)} in KONTOR_HOME/logs"
        )
    return well("processes", f"{len(alive)} running")


async def server(api: PrefectApi) -> Verdict:
    """Whether the server answers, and to us."""
    if not await api.is_healthy():
        return failed(
            "server", f"Prefect's server at {api.url} does not answer", "see Prefect-server.log in KONTOR_HOME/logs"
        )
    try:
        await api.deployments()
    except ServerRefused as error:
        if error.status == UNAUTHORIZED:
            return failed(
                "server",
                "it does not take the password in prefect-auth",
                "restart the desk: the file was changed under it",
            )
        raise
    return well("server", f"{api.url} answers, and only with the password")


async def page(url: str, patience: timedelta, transport: httpx.AsyncBaseTransport | None = None) -> Verdict:
    """Whether the desk's page is served: it starts last, and the desk goes on without it."""
    if not url:
        return skipped("page", "not wanted (KONTOR_WEB_PORT=off)")
    remedy = "see page.log in KONTOR_HOME/logs; trading goes on without it"
    try:
        seconds = patience.total_seconds()
        async with httpx.AsyncClient(trust_env=False, timeout=seconds, transport=transport) as client:
            answer = await client.get(f"{url}/health")
    except httpx.HTTPError as error:
        return warning("page", f"{url} does not answer ({type(error).__name__})", remedy)
    if not answer.is_success:
        return warning("page", f"{url} answers with {answer.status_code}", remedy)
    return well("page", f"{url} answers")


async def scheduler(api: PrefectApi, now: datetime | None = None) -> Verdict:
    """Whether future runs are being planned: a server can look healthy and schedule nothing."""
    moment = now or datetime.now(UTC)
    scheduled = [each for each in await api.deployments() if each.interval is not None]
    if not scheduled:
        return failed(
            "scheduler", "no deployment has an active schedule", "prefect deploy --all, or resume them in the UI"
        )
    planned = [due for due in await api.planned() if due > moment]
    if not planned:
        return failed(
            "scheduler",
            f"{len(scheduled)} deployments have schedules, and not one run is planned",
            "look at the versions above: SQLAlchemy 2.1 makes the scheduler fail silently; then restart the desk",
        )
    return well("scheduler", f"{len(planned)} runs planned for {len(scheduled)} schedules")


async def gate(store: Store, account: str) -> Verdict:
    """Whether the account has been initialized since the desk came up: nothing of it works before."""
    if await is_gate_open(store.desk, account):
        return well("initialization", "done, the gate is open")
    noted = await store.desk.attribute(account, INITIALIZATION)
    found = noted.value if noted is not None and noted.value else {}
    problem = found.get("problem") or "the flow initialize has not done its work yet"
    remedy = found.get("remedy") or f"wait a moment; then run: prefect deployment run {FLOW}/{account}"
    if retry_at := found.get("retry_at"):
        remedy = f"tried again at {retry_at[11:19]} UTC; {remedy}"
    return failed("initialization", f"the gate is closed: {problem}", remedy)


async def updaters(api: PrefectApi, store: Store, account: str) -> Verdict:
    """Whether every updater has succeeded lately, by its own interval."""
    found = await api.deployments(account)
    intervals = {each.updater: each.interval for each in found if each.interval is not None}
    verdicts = judge(intervals, await store.desk.heartbeats(account), datetime.now(UTC))
    down = [f"{each.updater} ({each.reason})" for each in verdicts if not each.ok]
    if down:
        return failed("updaters", f"down: {'; '.join(down)}", LOOK)
    if paused := sorted(each.updater for each in found if each.is_paused):
        return warning("updaters", f"paused: {', '.join(paused)}", "resume them in the UI under Deployments")
    return well("updaters", f"{len(verdicts)} report as they should")


async def trading(store: Store, account: str, now: datetime | None = None) -> Sequence[Verdict]:
    """Whether the account trades, and every order's fate is known."""
    moment = now or datetime.now(UTC)
    halt = await halted(store.desk, account)
    if halt is not None:
        since = f"{halt.at:%Y-%m-%d %H:%M} UTC"
        first = warning(
            "trading", f"halted since {since} by {halt.actor}: {halt.reason}", "mend the cause, then run resume-trading"
        )
    else:
        first = well("trading", "not halted")
    waiting = await store.orders.find(account, states={OrderState.SUBMITTED})
    old = [order for order in waiting if moment - (order.unknown_since or order.updated_at or moment) > UNKNOWN_FOR]
    if old:
        names = ", ".join(order.client_order_id for order in old[:3])
        second = failed(
            "orders",
            f"{len(old)} of unknown outcome for over ten minutes: {names}",
            "look at the exchange, then resolve-order",
        )
    else:
        second = well("orders", f"{len(waiting)} of unknown outcome")
    return [first, second]
