"""Where alerts go: asked whether they are there, without sending anything to anybody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from deployments.doctor.verdict import Verdict, failed, skipped, warning, well

REMEDY = "make a new one there and put it into the block default; alerts are lost until then"
NAMES = {"discord": "Discord webhook", "telegram": "Telegram bot", "apprise": "Apprise"}
Block = Mapping[str, Any]


async def webhooks(
    blocks: Mapping[str, Block | None], transport: httpx.AsyncBaseTransport | None = None
) -> list[Verdict]:
    """A verdict for each kind of channel by its block; a warning when there is none: nobody would be told anything."""
    if not any(blocks.values()):
        kinds = ", ".join(sorted(blocks))
        remedy = f"make a block of one of these named default: {kinds} (docs/alerts.md)"
        return [warning("alerts", "no channel: nobody is told when trading halts", remedy)]
    async with httpx.AsyncClient(timeout=10, transport=transport) as client:
        return [await _channel(client, kind, block) for kind, block in sorted(blocks.items())]


def heartbeat(block: Block | None, *, is_live: bool) -> Verdict:
    """Whether a machine that dies is noticed. The address is not asked: asking is saying that all is well."""
    if block and block.get("url"):
        return well("heartbeat", "there is an address for it; not asked, for that would say that all is well")
    found = "no block Kontor Heartbeat: nobody is told when this machine dies"
    if not is_live:
        return skipped("heartbeat", found)
    return warning("heartbeat", found, "make one named default, at a service that alarms on silence (docs/alerts.md)")


async def _channel(client: httpx.AsyncClient, kind: str, block: Block | None) -> Verdict:
    name = NAMES.get(kind, kind)
    if not block:
        return skipped(name, "not set up")
    if kind == "discord":
        return await _ask(client, name, str(block.get("url") or ""))
    if kind == "telegram":
        return await _ask(client, name, _telegram_url(block))
    # A service of Apprise can only be asked by sending it something.
    return well(name, "there is a block; not asked, for that would send a message")


def _telegram_url(block: Block) -> str:
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
