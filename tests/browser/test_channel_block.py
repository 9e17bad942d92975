"""A channel for alerts, made and changed in Prefect's forms, and chosen by an automation that then tells something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from deployments.credentials import read_auth
from tests.support import discord
from tests.support.browser import Page, running_browser
from tests.support.desk import RunningDesk, wait_until
from tests.support.discord import DiscordServer

SLUG = "kontor-discord-webhook"
NAME = "Kontor: order rejected"
WIZARD = "//*[contains(@class, 'automation-wizard')]"
ACTION = "//*[contains(@class, 'automation-action-send-notification')]"
MAKE_AUTOMATIONS = """
import asyncio
from kontor.config.alerts import AlertSettings
from prefect import get_client
from tasks.automations import ensure_automations
async def main():
    async with get_client() as client:
        await ensure_automations(client, AlertSettings(), "desk")
asyncio.run(main())
"""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with running_browser(tmp_path / "profile") as browser:
        yield Page(browser)


@pytest.fixture
async def chat(desk: RunningDesk) -> AsyncIterator[DiscordServer]:
    """A Discord; what was made for it is gone at the end."""
    async with DiscordServer() as server:
        yield server
        for found in desk.api("POST", "/automations/filter", {}):
            if found["name"].startswith("Kontor: "):
                desk.api("DELETE", f"/automations/{found['id']}")
        desk.api("DELETE", f"/block_documents/{_block(desk)['id']}")


@pytest.mark.timeout(600)
async def test_a_channel_made_in_the_form_is_what_automations_tell_people_by(
    desk: RunningDesk, chat: DiscordServer, page: Page, tmp_path: Path
) -> None:
    """Nobody writes Python to be told that an order was rejected; and to rename the sender must not lose the secret."""
    await asyncio.to_thread(_make_and_edit, desk, chat, page, tmp_path)
    script = tmp_path / "make_automations.py"
    script.write_text(MAKE_AUTOMATIONS)
    made = await asyncio.to_thread(desk.shell, f"python {script}")
    assert made.returncode == 0, made.stderr
    await asyncio.to_thread(_look_at_the_automation, desk, page, tmp_path)
    for number in (1, 2):
        desk.api("POST", "/events", [_rejected(number)])
    await asyncio.to_thread(wait_until, lambda: "Rejected: buy 1 BTC" in chat.titles, 60, "the automation's message")
    # Once a day: the second event adds nothing.
    desk.api("POST", "/events", [_rejected(3)])
    await asyncio.sleep(3)
    (shown,) = [each for each in chat.embeds if each["title"].startswith("Rejected")]
    assert shown["footer"] == {"text": "warning"}
    assert shown["description"].splitlines() == ["no funds 1", "Symbol: BTC/USD", "About: browser"]
    assert chat.messages[0]["username"] == "Desk"


def _make_and_edit(desk: RunningDesk, chat: DiscordServer, page: Page, pictures: Path) -> None:
    page.sign_in(desk.prefect_url, read_auth(desk.home))
    page.open(f"{desk.prefect_url}/blocks/catalog/{SLUG}/create")
    page.write("Block Name", "default")
    page.write("Webhook URL", chat.url)
    page.picture(pictures / "create.png")
    page.press("Create")
    page.moves_to("/blocks/block/")
    page.has_text("Webhook URL")
    assert discord.TOKEN not in page.browser.page_source
    page.picture(pictures / "block.png")
    page.open(f"{desk.prefect_url}/blocks/block/{_block(desk)['id']}/edit")
    page.write("Name (Optional)", "Desk")
    page.picture(pictures / "edit.png")
    page.press("Save")
    wait_until(lambda: _block(desk)["data"].get("username") == "Desk", 30, "the edited block")


def _look_at_the_automation(desk: RunningDesk, page: Page, pictures: Path) -> None:
    (found,) = [each for each in desk.api("POST", "/automations/filter", {}) if each["name"] == NAME]
    page.open(f"{desk.prefect_url}/automations/automation/{found['id']}")
    page.has_text("Send a kontor discord webhook notification using")
    page.picture(pictures / "automation.png")
    page.open(f"{desk.prefect_url}/automations/automation/{found['id']}/edit")
    page.holds(WIZARD, "kontor.order.rejected")
    page.press("Next")
    page.holds(ACTION, "default")
    page.picture(pictures / "actions.png")
    assert all(picture.stat().st_size > 10_000 for picture in pictures.glob("*.png"))


def _block(desk: RunningDesk) -> dict[str, Any]:
    return desk.api("GET", f"/block_types/slug/{SLUG}/block_documents/name/default")


def _rejected(number: int) -> dict[str, object]:
    """An order's rejection as the desk emits it."""
    payload = {"title": "Rejected: buy 1 BTC", "text": f"no funds {number}", "facts": {"Symbol": "BTC/USD"}}
    return {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "kontor.order.rejected",
        "resource": {"prefect.resource.id": "kontor.account.browser", "prefect.resource.name": "browser"},
        "payload": payload,
    }
