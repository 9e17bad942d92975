"""One real Prefect server for the tests of blocks and hooks, on a port and in a folder of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL
from prefect.testing.utilities import prefect_test_harness

from blocks.notifiers import DiscordWebhook, TelegramBot
from tests.support.discord import DiscordServer
from tests.support.telegram import TelegramServer


@pytest.fixture(scope="session")
def prefect_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running server; the value is the file it keeps everything in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.delenv("KONTOR_KEEP_SESSIONS_OPEN", raising=False)
        with prefect_test_harness(server_startup_timeout=90):
            yield Path(PREFECT_SERVER_DATABASE_CONNECTION_URL.value().partition("///")[2])


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
