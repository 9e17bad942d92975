"""The failure hook on real runs: one alert with a working link, delivered, and nobody waits for it for long."""

import asyncio
import logging
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.blocks.abstract import NotificationError
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Crashed, Failed
from pydantic import SecretStr

from blocks.notifiers import DiscordWebhook, TelegramBot
from kontor.notify.formatting import CRITICAL, GREY
from kontor.ports import Alert
from tasks import notifications
from tasks.hooks import alert, describe_run, reason
from tasks.notifications import close_sender, load_outlets, notify, process_sender
from tests.flows.blocks.conftest import delete_block
from tests.flows.blocks.failing_flow import update_nothing
from tests.support import telegram as telegram_support
from tests.support.discord import DiscordServer
from tests.support.telegram import TelegramServer

# Prefect leaves connections of its own to the garbage collector when the loop of a test ends.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the in-process worker, whose loop outlives its runs."""
    # The store of another test would hold back what this one waits for.
    monkeypatch.setattr(notifications, "StoredPacing", lambda *_: None)
    monkeypatch.setenv(notifications.KEEP_OPEN, "1")


def facts(embed: dict[str, Any]) -> dict[str, str]:
    return {field["name"]: field["value"] for field in embed["fields"]}


async def test_a_failed_run_makes_one_alert_with_a_link_to_it(
    discord: DiscordServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What failed, why, after how many retries, and where to look: without the secret and without a traceback."""
    with pytest.raises(RuntimeError, match="login failed"):
        await update_nothing()
    (shown,) = discord.embeds
    assert shown["title"] == "update-nothing failed"
    assert shown["description"] == "RuntimeError: paper: login failed, api\\_key=\\*\\*\\*"
    assert facts(shown)["Retries"] == "1"
    assert facts(shown)["State"] == "Failed"
    link = facts(shown)["Link"]
    match = re.fullmatch(r"http://127\.0\.0\.1:\d+/runs/flow-run/([0-9a-f-]{36})", link)
    assert match
    assert f"View at {link}\n" in caplog.text  # Prefect's own words for where the run is
    async with get_client() as client:
        run = await client.read_flow_run(UUID(match[1]))
    assert run.name == facts(shown)["Run"]
    assert run.state_name == "Failed"


async def test_a_crashed_run_makes_one_alert(discord: DiscordServer, in_a_worker: None) -> None:
    """A run that was torn down is no failure in Prefect's words, and has a hook of its own."""
    started = asyncio.Event()

    @flow(name="torn-down", on_failure=[alert], on_crashed=[alert])
    async def torn_down() -> None:
        started.set()
        await asyncio.Event().wait()

    run = asyncio.create_task(torn_down())
    await started.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await close_sender(seconds=10) == 0
    assert discord.titles == ["torn-down crashed"]


async def test_a_run_that_takes_too_long_says_so(discord: DiscordServer) -> None:
    """TimedOut is a failure with a name of its own."""

    @flow(name="slow", timeout_seconds=0.1, on_failure=[alert])
    async def slow() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await slow()
    assert discord.titles == ["slow ran out of time"]


async def test_every_channel_that_has_a_block_gets_the_alert(discord: DiscordServer, telegram: TelegramServer) -> None:
    """Two channels are two chances to be heard."""
    bot = TelegramBot(token=SecretStr(telegram_support.TOKEN), chat_id=telegram_support.CHAT, api_url=telegram.address)
    await bot.save("default", overwrite=True)  # pyright: ignore[reportGeneralTypeIssues]
    try:
        with pytest.raises(RuntimeError):
            await update_nothing()
    finally:
        await delete_block(TelegramBot, "default")
    assert discord.titles == ["update-nothing failed"]
    assert len(telegram.texts) == 1
    assert "update-nothing failed" in telegram.texts[0]
    assert "K-abcdef-123" not in telegram.texts[0]


async def test_a_process_that_ends_with_its_run_delivers_first(discord: DiscordServer) -> None:
    """`python -m flows.x` ends its loop at once: an alert that was only queued would die with it."""
    environment = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value() or "", "PYTHONPATH": str(REPOSITORY)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("failing_flow.py")),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert discord.titles == ["update-nothing failed"]
    assert b"Unclosed" not in errors
    assert b"never retrieved" not in errors


async def test_a_stalled_webhook_delays_a_lone_run_only_until_the_deadline(
    discord: DiscordServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The alert is worth a few seconds, and no more."""
    monkeypatch.setattr(notifications, "SETTLE_SECONDS", 0.5)
    discord.always = discord.stall
    started = time.perf_counter()
    await alert(update_nothing, a_run(), Failed(message="no"))
    assert 0.4 < time.perf_counter() - started < 4
    assert "left=1" in caplog.text


async def test_in_a_worker_no_run_waits_for_its_alert(discord: DiscordServer, in_a_worker: None) -> None:
    """The loop lives on, and the executor shares it: the alert goes out behind the run's back."""
    discord.always = discord.stall
    started = time.perf_counter()
    await alert(update_nothing, a_run(), Failed(message="no"))
    assert time.perf_counter() - started < notifications.SETTLE_SECONDS / 2
    await discord.stalled.wait()
    discord.always = None
    assert process_sender().waiting == 1


async def test_the_blocks_are_asked_for_once_a_minute_even_when_there_are_none(
    prefect_database: Path, in_a_worker: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A desk without channels must not ask Prefect's server at every failure."""
    asked = 0
    find_block = notifications.find_block

    async def counting(*args: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        return await find_block(*args, **options)

    monkeypatch.setattr(notifications, "find_block", counting)
    with caplog.at_level(logging.INFO, "kontor"):
        for number in range(5):
            await alert(update_nothing, a_run(), Failed(message=f"reason {'x' * number}"))
            assert await process_sender().drain(seconds=10) == 0
    assert asked == 3  # Discord, Telegram and Apprise, once each
    assert caplog.text.count("alerts are off") == 1
    await close_sender(seconds=1)


async def test_a_flow_that_goes_on_failing_is_one_alert_and_then_a_digest(
    discord: DiscordServer, in_a_worker: None
) -> None:
    """An updater that fails every ten seconds would fill the channel."""
    for number in range(13):
        await alert(update_nothing, a_run(), Failed(message=f"took {number} s"))
    assert await close_sender(seconds=10) == 0
    assert discord.titles == ["update-nothing failed"] * 2
    assert facts(discord.embeds[1])["Again"] == "11 more of these"


async def test_a_hook_never_raises(prefect_database: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its error would stand where the run's own error belongs."""
    await alert(object(), a_run(), Failed())  # pyright: ignore[reportArgumentType]
    assert "no alert for run=red-fox" in caplog.text


async def test_a_flow_may_notify_and_goes_on(discord: DiscordServer) -> None:
    """The task is a thin wrapper: what flows tell people goes the same way."""

    @flow
    async def tells() -> str:
        await notify(Alert("Bought 0.1 BTC", "", "info", datetime.now(UTC), "paper", side="buy"))
        return "went on"

    assert await tells() == "went on"
    assert await close_sender(seconds=10) == 0
    assert discord.titles == ["Bought 0.1 BTC"]
    assert discord.embeds[0]["color"] == 0x2ECC71


async def test_a_spoiled_block_is_reported_and_the_other_channel_works(
    discord: DiscordServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wrong field must not silence everything."""
    bot = TelegramBot(token=SecretStr(telegram_support.TOKEN), chat_id="1")
    await bot.save("default", overwrite=True)  # pyright: ignore[reportGeneralTypeIssues]
    async with get_client() as client:
        document = await client.read_block_document_by_name("default", "kontor-telegram-bot")
        data = {"token": telegram_support.TOKEN, "chat_id": "my chat"}
        response = await client._client.patch(
            f"/block_documents/{document.id}", json={"data": data, "merge_existing_data": False}
        )
        response.raise_for_status()
    try:
        assert [outlet.channel.name for outlet in await load_outlets()] == ["prefect", "discord"]
    finally:
        await delete_block(TelegramBot, "default")
    assert "block kontor-telegram-bot/default: the chat must be a number" in caplog.text
    assert telegram_support.TOKEN not in caplog.text


async def test_prefects_automations_can_use_the_blocks(discord: DiscordServer, telegram: TelegramServer) -> None:
    """They load the saved block and call notify(subject, body)."""
    block = await DiscordWebhook.aload("default")
    assert "notify" in block.get_block_capabilities()
    await block.notify(subject="Executor is down", body="No run for 60 s.")
    await block.notify(subject="[critical] A worker is offline", body="Its runs do not start.")
    assert discord.titles == ["Executor is down", "A worker is offline"]
    assert [shown["color"] for shown in discord.embeds] == [GREY, CRITICAL]
    assert discord.embeds[1]["footer"] == {"text": "critical"}
    bot = TelegramBot(token=SecretStr(telegram_support.TOKEN), chat_id=telegram_support.CHAT, api_url=telegram.address)
    await bot.notify("No run for 60 s.", "Executor is down")
    assert telegram.texts[0].startswith("ℹ️ Executor is down\nNo run for 60 s.")


async def test_an_automation_learns_that_its_message_was_refused(discord: DiscordServer) -> None:
    """Prefect asks for the error explicitly; otherwise a notification never breaks its caller."""
    wrong = DiscordWebhook(url=SecretStr(discord.url + "x"))
    await wrong.notify("body")
    with wrong.raise_on_failure(), pytest.raises(NotificationError) as caught:
        await wrong.notify("body")
    assert "Invalid Webhook Token" in caught.value.log
    assert discord.url not in caught.value.log


def a_run(**changes: Any) -> FlowRun:
    facts = {"flow_id": "00000000-0000-0000-0000-000000000001", "name": "red-fox", "run_count": 1, **changes}
    return FlowRun.model_validate(facts)


@pytest.mark.parametrize(
    ("state", "title", "severity"),
    [
        (Failed(message="x"), "update-nothing failed", "warning"),
        (Failed(name="TimedOut", message="x"), "update-nothing ran out of time", "warning"),
        (Crashed(message="x"), "update-nothing crashed", "warning"),
        (Cancelled(message="x"), "update-nothing was canceled", "info"),
    ],
)
def test_the_title_says_how_a_run_ended(state: Any, title: str, severity: str) -> None:
    """A person reads the title on a phone and decides."""
    shown = describe_run(update_nothing, a_run(parameters={"account": "paper"}), state)
    assert (shown.title, shown.severity, shown.account) == (title, severity, "paper")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (None, "No reason was given; see the run's logs."),
        ("Flow run encountered an exception: ConfigError: a: b", "ConfigError: a: b"),
        ("Flow run encountered an exception: E: secret=abcdefgh12", "E: secret=***"),
        ("one\n  two\nthree", "one"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_the_reason_is_one_short_line_without_secrets(message: str | None, expected: str) -> None:
    """Exception texts hold tracebacks, payloads and addresses."""
    assert reason(Failed(message=message)) == expected
