"""Every flow of prefect.yaml fails once, on the in-process worker: one alert each, with a link that works."""

import re
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate

from blocks.state_store import StateStore
from deployments.worker import InProcessWorker
from tests.flows.blocks.test_hooks import facts
from tests.support.discord import DiscordServer

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.timeout(240),
]

REPOSITORY = Path(__file__).parents[3]
DEPLOYMENTS = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
# What a person would have to give as well.
GIVEN: dict[str, dict[str, Any]] = {
    "place_order": {"symbol": "BTC/USD:USD", "side": "buy", "quantity": 0.1},
    "set_leverage": {"symbol": "BTC/USD:USD", "leverage": 2},
    "close_position": {"symbol": "BTC/USD:USD"},
    "resolve_order": {"client_order_id": "k1", "verdict": "absent"},
}
NOWHERE = "no-such-account"


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Flow[Any, Any]]:
    """Every deployed flow by its entrypoint, retried at once; nothing is grouped."""
    config = tmp_path / "kontor.yaml"
    config.write_text("alerts: {channels: {discord: {grouping: {burst: 1000}}}}\n")
    monkeypatch.setenv("KONTOR_CONFIG", str(config))
    found: dict[str, Flow[Any, Any]] = {}
    for entry in DEPLOYMENTS:
        module, _, name = entry["entrypoint"].rpartition(".")
        flow: Flow[Any, Any] = getattr(import_module(module), name)
        monkeypatch.setattr(flow, "retry_delay_seconds", 0)
        found[entry["entrypoint"]] = flow
    return found


async def start_all(client: PrefectClient, flows: dict[str, Flow[Any, Any]], pool: str) -> dict[UUID, str]:
    """A run of each flow, for an account that has no block; the flow's name by run."""
    template = InProcessWorker.get_default_base_job_template()
    await client.create_work_pool(WorkPoolCreate(name=pool, type="in-process", base_job_template=template))
    runs: dict[UUID, str] = {}
    for entrypoint, flow in flows.items():
        flow_id = await client.create_flow_from_name(flow.name)
        deployment = await client.create_deployment(
            flow_id, NOWHERE, entrypoint=entrypoint, work_pool_name=pool, pull_steps=[]
        )
        given = GIVEN.get(entrypoint.rpartition(".")[2], {})
        run = await client.create_flow_run_from_deployment(deployment, parameters={"account": NOWHERE, **given})
        runs[run.id] = flow.name
    return runs


async def test_every_deployed_flow_that_fails_is_told_once_with_a_link_to_its_run(
    discord: DiscordServer, flows: dict[str, Flow[Any, Any]], tmp_path: Path
) -> None:
    """A flow without the hook would fail in silence; a second hook, or a retry that tells, would cry wolf."""
    await StateStore.model_validate({"url": f"sqlite:///{tmp_path}/store.db"}).asave("default", overwrite=True)
    async with get_client() as client:
        runs = await start_all(client, flows, "every-flow")
        await InProcessWorker(work_pool_name="every-flow").start(run_once=True, printer=lambda *_: None)
        ended = {run_id: await client.read_flow_run(run_id) for run_id in runs}
        assert {runs[run_id]: run.state_name for run_id, run in ended.items()} == dict.fromkeys(runs.values(), "Failed")
        assert Counter(discord.titles) == Counter(f"{name} failed" for name in runs.values())
        told: dict[UUID, str] = {}
        for embed in discord.embeds:
            link = re.fullmatch(r"http://127\.0\.0\.1:\d+/runs/flow-run/([0-9a-f-]{36})", facts(embed)["Link"])
            assert link is not None, embed
            told[UUID(link[1])] = embed["title"]
        assert told == {run_id: f"{name} failed" for run_id, name in runs.items()}
        for embed in discord.embeds:
            assert facts(embed)["State"] == "Failed"
            assert NOWHERE in embed["description"].replace("\\", "") or "commands are off" in embed["description"]
    retried = {embed["title"]: facts(embed)["Retries"] for embed in discord.embeds}
    assert retried["initialize failed"] == "5"
    assert retried["place-order failed"] == "0"
