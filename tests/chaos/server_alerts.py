"""Each automation of a desk on a real Prefect server: what it waits for really happens there, and is told once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Crashed, Running, Scheduled

from blocks.notifiers import DiscordWebhook
from deployments.server_settings import server_environment
from deployments.worker import InProcessWorker
from kontor.config.alerts import AlertSettings
from kontor.notify.queued import Queued
from kontor.ports import Alert, Store
from kontor.resilience.circuit_breaker import BreakerState, BreakerStatus
from kontor.store.memory import MemoryStore
from tasks.automations import ensure_automations, watchwords
from tasks.breakers import BreakerReporter, breaker_alert
from tasks.prefect_events import PrefectEvents
from tests.support.desk import REPOSITORY, free_ports
from tests.support.discord import DiscordServer

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.timeout(900),
]

POOL, QUEUE = "desk", "orders"
# Two minutes for a worker, and what a busy machine makes of them.
LONGEST_SECONDS = 400
QUIET_SECONDS = 75


@contextmanager
def running_server(home: Path) -> Iterator[str]:
    """The desk's own Prefect server, and nothing else of a desk; its API's address."""
    [port] = free_ports(1)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "KONTOR_"))}
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "deployments.server", "--port", str(port)],
            env=own | server_environment(home, port),
            cwd=REPOSITORY,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield f"http://127.0.0.1:{port}/api"
    finally:
        server.terminate()
        server.wait(60)


@dataclass
class Stage:
    """A server with a channel and all automations, and hands to make things happen on it."""

    client: PrefectClient
    chat: DiscordServer

    async def deployed(self, flow: str, name: str = "paper") -> UUID:
        flow_id = await self.client.create_flow_from_name(flow)
        return await self.client.create_deployment(
            flow_id, name, entrypoint="flows.orders.execute_orders", work_pool_name=POOL, work_queue_name=QUEUE
        )

    async def ran(self, deployment: UUID) -> FlowRun:
        """A run that was at work."""
        run = await self.client.create_flow_run_from_deployment(deployment)
        await self.client.set_flow_run_state(run.id, Running(), force=True)
        return run


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    with running_server(tmp_path) as url, temporary_settings({PREFECT_API_URL: url}):
        await _until(lambda: _answers(url), 180)
        async with DiscordServer() as chat, get_client() as client:
            await DiscordWebhook(url=chat.url).asave("default")  # pyright: ignore[reportArgumentType]
            template = InProcessWorker.get_default_base_job_template()
            await client.create_work_pool(WorkPoolCreate(name=POOL, type="in-process", base_job_template=template))
            await client.create_work_queue(QUEUE, work_pool_name=POOL)
            assert len(await ensure_automations(client, AlertSettings(), POOL)) == len(watchwords(POOL))
            yield Stage(client, chat)


async def test_each_automation_fires_once_when_what_it_watches_happens(stage: Stage) -> None:
    """A run that ends for good, a worker that asks no more, a late run, and our own events twice; no other message."""
    client = stage.client
    executor, restarted = await stage.deployed("execute-orders"), await stage.deployed("execute-orders", "other")
    await client.get_scheduled_flow_runs_for_work_pool(POOL, [QUEUE])  # as a worker asks; then never again
    gone, back = await stage.ran(executor), await stage.ran(restarted)
    await client.set_flow_run_state(gone.id, Cancelled(), force=True)
    await client.set_flow_run_state(back.id, Crashed(), force=True)
    await stage.ran(restarted)
    late = Scheduled(scheduled_time=datetime.now(UTC) - timedelta(seconds=60))
    updater = await stage.deployed("update-tickers")
    for _ in range(2):
        await client.create_flow_run_from_deployment(updater, state=late)
    await _our_own_events()
    expected = Counter(
        [
            "The executor is not running",
            "A worker is offline",
            "update-tickers is late",
            # Of two breakers the first: the desk itself tells of each.
            "Circuit breaker open: okx orders",
            "Rejected: buy 1 BTC",
            "Outcome unknown: buy 1 BTC",
        ]
    )
    await _until(lambda: set(stage.chat.titles) >= set(expected), LONGEST_SECONDS)
    await asyncio.sleep(QUIET_SECONDS)
    assert Counter(stage.chat.titles) == expected
    shown = {each["title"]: each for each in stage.chat.embeds}
    assert shown["A worker is offline"]["footer"]["text"] == "critical"
    assert shown["update-tickers is late"]["footer"]["text"] == "warning"
    assert "/runs/flow-run/" in shown["update-tickers is late"]["description"].replace("\\", "")
    assert shown["Rejected: buy 1 BTC"]["description"] == "no funds\nSymbol: BTC/USD\nAbout: paper"
    assert shown["Circuit breaker open: okx orders"]["description"].startswith("5 timeouts; tried again in")


async def _our_own_events() -> None:
    """As the desk emits them, each twice."""
    at, fields = datetime.now(UTC), (("Symbol", "BTC/USD"),)
    alerts = [
        Alert("Rejected: buy 1 BTC", "no funds", "warning", at, "paper", fields, event="order.rejected"),
        Alert("Outcome unknown: buy 1 BTC", "nobody knows", "critical", at, "paper", fields, event="order.unknown"),
    ]
    store = MemoryStore()

    async def the_store() -> Store:
        return store

    reporter = BreakerReporter(the_store)
    for _ in range(2):
        for alert in alerts:
            await PrefectEvents().send(None, [Queued(alert)])
        for name in ("okx orders", "okx market"):
            status = BreakerStatus(name, BreakerState.OPEN, 5, at, at + timedelta(seconds=30), "5 timeouts")
            reporter._emit("paper", status, breaker_alert("paper", status, at))


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False


async def _until(holds: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.5)
