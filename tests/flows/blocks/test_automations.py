"""Prefect's own automations: made once, kept as a person edits them, and told through our blocks."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.events.worker import EventsWorker

from blocks.notifiers import DiscordWebhook, TelegramBot
from kontor.config.alerts import AlertSettings
from kontor.notify.queued import Queued
from kontor.ports import Alert
from tasks.automations import ensure_automations, watchwords
from tasks.prefect_events import PrefectEvents
from tests.flows.blocks.conftest import delete_block
from tests.support import telegram as telegram_support
from tests.support.discord import DiscordServer
from tests.support.telegram import TelegramServer

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

SETTINGS = AlertSettings()
NAMES = {word.name for word in watchwords("desk")}


async def ours() -> dict[str, Automation]:
    """The automations that are there, by name."""
    async with get_client() as client:
        return {each.name: each for each in await client.read_automations() if each.name in NAMES}


async def ensure(settings: AlertSettings = SETTINGS) -> list[str]:
    async with get_client() as client:
        return await ensure_automations(client, settings, "desk")


@pytest.fixture(autouse=True)
async def clean(prefect_database: Path) -> AsyncIterator[None]:
    """No automation of ours before or after."""
    yield
    async with get_client() as client:
        for automation in (await ours()).values():
            await client.delete_automation(automation.id)


def blocks_of(automation: Automation) -> list[object]:
    return [each.block_document_id for each in automation.actions if isinstance(each, SendNotification)]


async def test_they_are_made_once_however_often_the_desk_comes_up(discord: DiscordServer) -> None:
    """Six of them, each with the block of the channel that exists."""
    assert len(await ensure()) == len(NAMES) == 6
    first = await ours()
    assert set(first) == NAMES
    async with get_client() as client:
        block = await client.read_block_document_by_name("default", "kontor-discord-webhook")
    assert all(blocks_of(each) == [block.id] for each in first.values())
    assert await ensure() == []
    assert {each.id for each in (await ours()).values()} == {each.id for each in first.values()}


async def test_without_a_channel_there_is_nobody_to_tell_and_nothing_is_made(prefect_database: Path) -> None:
    """They come when the block does: watch-desk looks once a minute."""
    assert await ensure() == []
    assert await ours() == {}


async def test_what_a_person_edited_stays_and_a_block_that_is_gone_is_replaced(
    discord: DiscordServer, telegram: TelegramServer
) -> None:
    """Switched off is a decision; a message to a block that was deleted is a mistake nobody would see."""
    await ensure()
    edited = (await ours())["Kontor: flow late"]
    edited.enabled = False
    async with get_client() as client:
        await client.update_automation(
            edited.id, AutomationCore.model_validate(edited.model_dump(exclude={"id", "owner_resource"}))
        )
    assert await ensure() == []
    await delete_block(DiscordWebhook, "default")
    bot = TelegramBot.model_validate(
        {"token": telegram_support.TOKEN, "chat_id": telegram_support.CHAT, "api_url": telegram.address}
    )
    await bot.asave("default", overwrite=True)
    try:
        assert len(await ensure()) == 6
        async with get_client() as client:
            block = await client.read_block_document_by_name("default", "kontor-telegram-bot")
        after = await ours()
        assert all(blocks_of(each) == [block.id] for each in after.values())
        assert not after["Kontor: flow late"].enabled
    finally:
        await delete_block(TelegramBot, "default")


async def test_a_channel_gets_only_the_automations_its_rules_want(discord: DiscordServer) -> None:
    """The filters of kontor.yaml hold here too, as they were when the automation was made."""
    await ensure(AlertSettings.model_validate({"channels": {"discord": {"severity": "critical"}}}))
    quiet = {name for name, each in (await ours()).items() if not blocks_of(each)}
    assert quiet == {"Kontor: flow late", "Kontor: breaker open", "Kontor: order rejected"}


async def test_an_alert_becomes_an_event_without_secrets(prefect_database: Path) -> None:
    """What automations of a user's own can match and show."""
    at = datetime.now(UTC)
    fields = (("Symbol", "BTC/USD:USD"),)
    alert = Alert("Rejected", "no funds, secret=abcdef12", "warning", at, "paper", fields, event="order.rejected")
    await PrefectEvents().send(None, [Queued(alert, repeats=2)])
    await asyncio.to_thread(EventsWorker.instance().wait_until_empty)
    async with get_client() as client, asyncio.timeout(30):
        wanted = {"filter": {"event": {"name": ["kontor.order.rejected"]}}}
        while not (found := (await client._client.post("/events/filter", json=wanted)).json()["events"]):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)
    assert found[0]["resource"]["prefect.resource.id"] == "kontor.account.paper"
    assert found[0]["payload"] == {
        "title": "Rejected",
        "text": "no funds, secret=***",
        "severity": "warning",
        "side": None,
        "repeats": 2,
        "facts": {"Symbol": "BTC/USD:USD"},
    }
