"""Where alerts go: asked whether they are there, without sending anything to anybody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from deployments.doctor.verdict import Verdict, failed, skipped, warning, well

DISCORD, TELEGRAM = "kontor-discord-webhook", "kontor-telegram-bot"
REMEDY = "make a new one there and put it into the block default; alerts are lost until then"


async def webhooks(
    discord: Mapping[str, Any] | None,
    telegram: Mapping[str, Any] | None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> list[Verdict]:
    """A verdict for each channel; a warning when there is none, because nobody would be told anything."""
    if not discord and not telegram:
        remedy = "make a block Kontor Discord Webhook or Kontor Telegram Bot named default (docs/alerts.md)"
        return [warning("alerts", "no channel: nobody is told when trading halts", remedy)]
    async with httpx.AsyncClient(timeout=10, transport=transport) as client:
        return [
            await _ask(client, "Discord webhook", str((discord or {}).get("url") or "")),
            await _ask(client, "Telegram bot", _telegram_url(telegram)),
        ]


def _telegram_url(block: Mapping[str, Any] | None) -> str:
    if not block:
        return ""
    return f"{str(block.get('api_url') or 'https://api.telegram.org').rstrip('/')}/bot{block.get('token')}/getMe"


async def _ask(client: httpx.AsyncClient, name: str, url: str) -> Verdict:
    if not url:
        return skipped(name, "not set up")
    try:
        answer = await client.get(url)
    except httpx.HTTPError as error:
        # The address is a secret: only the kind of trouble is said.
        return failed(
            name, f"cannot be reached ({type(error).__name__})", "check the network; alerts are lost until then"
        )
    if answer.is_success:
        return well(name, "is there")
    return failed(name, f"answers {answer.status_code}: it was deleted, or its address is wrong", REMEDY)
