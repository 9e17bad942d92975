"""Chat servers for the tests of blocks and hooks, on the session's Prefect server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from blocks.notifiers import DiscordWebhook, TelegramBot
from tests.support.discord import DiscordServer
from tests.support.telegram import TelegramServer


@pytest.fixture
async def discord(prefect_database: Path) -> AsyncIterator[DiscordServer]:
    """A Discord, and the block `default` that leads to it."""
    async with DiscordServer() as server:
        await DiscordWebhook(url=server.url).save("default", overwrite=True)  # pyright: ignore[reportArgumentType, reportGeneralTypeIssues]
        yield server
        await delete_block(DiscordWebhook, "default")


@pytest.fixture
async def telegram(prefect_database: Path) -> AsyncIterator[TelegramServer]:
    """A Telegram, without a block."""
    async with TelegramServer() as server:
        yield server


async def delete_block(block_class: type[DiscordWebhook | TelegramBot], name: str) -> None:
    """Remove a block, if it is there."""
    async with get_client() as client:
        try:
            block = await client.read_block_document_by_name(name, block_class.get_block_type_slug())
        except ObjectNotFound:
            return
        await client.delete_block_document(block.id)
