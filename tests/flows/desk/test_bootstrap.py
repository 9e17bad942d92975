"""What `kontor up` puts into Prefect: made once, and left as the user edits it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from blocks.exchange_account import ExchangeAccount, ExchangeUrls
from blocks.loading import find_block
from blocks.state_store import StateStore
from deployments.bootstrap_prefect import PAPER_ACCOUNT, PaperPlace, ensure_paper_account, ensure_pool, ensure_store
from deployments.home import Home
from deployments.lineup import POOL, POOL_TYPE, QUEUES
from deployments.paper_keys import PaperKey
from deployments.prefect_api import PrefectApi
from deployments.stores import store_url
from kontor.errors import ConfigError

pytestmark = pytest.mark.usefixtures("prefect_database")

KEY = PaperKey("a-key", "a-secret", "a-passphrase")
HERE = PaperPlace("http://127.0.0.1:8400")
MOVED = PaperPlace("http://127.0.0.1:8500", previous_url=HERE.url)


@pytest.fixture
async def client(prefect_database: Path) -> AsyncIterator[PrefectClient]:
    """The server without anything of a desk, before and after."""
    async with get_client() as client:
        await _clear(client)
        yield client
        await _clear(client)


async def _clear(client: PrefectClient) -> None:
    with contextlib.suppress(ObjectNotFound):
        await client.delete_work_pool(POOL)
    for block_class, name in ((ExchangeAccount, PAPER_ACCOUNT), (StateStore, "default")):
        if await find_block(block_class, name) is not None:
            await block_class.adelete(name)


async def paper_block() -> ExchangeAccount:
    block = await find_block(ExchangeAccount, PAPER_ACCOUNT)
    assert block is not None
    return block


async def test_pool_and_queues_are_made_once_and_kept(client: PrefectClient) -> None:
    """A pool somebody has paused must not be running again after a restart."""
    assert len(await ensure_pool(client)) == 1 + len(QUEUES)
    await client.update_work_pool(POOL, WorkPoolUpdate(is_paused=True))
    assert await ensure_pool(client) == []
    pool = await client.read_work_pool(POOL)
    assert (pool.type, pool.is_paused) == (POOL_TYPE, True)
    assert set(QUEUES) <= {queue.name for queue in await client.read_work_queues(work_pool_name=POOL)}
    assert "when_drained" in str(pool.base_job_template)


async def test_a_pool_of_another_type_is_one_sentence(client: PrefectClient) -> None:
    """Our workers would wait on it for ever."""
    await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    with pytest.raises(ConfigError, match="work pool desk: its type is process, not in-process; rename or delete it"):
        await ensure_pool(client)


@pytest.mark.usefixtures("client")
async def test_the_store_block_names_no_file_so_that_it_follows_the_home(tmp_path: Path) -> None:
    """A home can be moved, and restored elsewhere."""
    assert len(await ensure_store()) == 1
    assert await ensure_store() == []
    async with get_client() as client:
        url = str(client.api_url).rstrip("/").removesuffix("/api")
    home = Home(tmp_path)
    async with PrefectApi(url) as api:
        assert await store_url(api, home) == home.default_store_url
        edited = StateStore(url=SecretStr("postgresql://user:word@host/kontor"))
        await edited.asave("default", overwrite=True)
        assert await ensure_store() == []
        assert await store_url(api, home) == "postgresql://user:word@host/kontor"


@pytest.mark.usefixtures("client")
async def test_the_paper_account_gets_key_and_address(tmp_path: Path) -> None:
    """And is a paper account in every respect."""
    assert await ensure_paper_account(KEY, HERE) == ["block kontor-exchange-account/paper made"]
    settings = (await paper_block()).to_settings("paper")
    assert (settings.api_key, settings.secret, settings.password) == ("a-key", "a-secret", "a-passphrase")
    assert settings.urls == {"rest": "http://127.0.0.1:8400", "ws": "ws://127.0.0.1:8400/ws/v5"}
    assert await ensure_paper_account(KEY, HERE) == []


@pytest.mark.usefixtures("client")
async def test_an_edited_paper_account_keeps_everything_but_an_address_that_moved() -> None:
    """The block belongs to the user; an address of ours that nobody listens on any more helps nobody."""
    await ensure_paper_account(KEY, HERE)
    block = await paper_block()
    block.requests_per_second, block.api_key = 3.0, SecretStr("rotated")
    await block.asave(PAPER_ACCOUNT, overwrite=True)
    assert await ensure_paper_account(KEY, MOVED) == [
        "block kontor-exchange-account/paper now points at http://127.0.0.1:8500"
    ]
    block = await paper_block()
    assert (block.urls, block.requests_per_second) == (MOVED.urls, 3.0)
    assert block.api_key.get_secret_value() == "rotated"


@pytest.mark.usefixtures("client")
async def test_an_account_that_points_elsewhere_is_left_alone() -> None:
    """A proxy on this machine, another exchange, or real money under the name `paper`."""
    await ensure_paper_account(KEY, HERE)
    block = await paper_block()
    block.urls = ExchangeUrls(rest="http://127.0.0.1:9999", ws="ws://127.0.0.1:9999/ws/v5")
    await block.asave(PAPER_ACCOUNT, overwrite=True)
    assert await ensure_paper_account(KEY, MOVED) == []
    live = ExchangeAccount(exchange_id="okx", mode="live", api_key=SecretStr("k"), secret=SecretStr("s"))
    await live.asave(PAPER_ACCOUNT, overwrite=True)
    assert await ensure_paper_account(KEY, PaperPlace(MOVED.url, keys_are_new=True)) == []
    assert (await paper_block()).api_key.get_secret_value() == "k"


@pytest.mark.usefixtures("client")
async def test_when_the_key_file_was_lost_the_account_gets_the_new_key() -> None:
    """The old one opens nothing any more, and nobody would know why."""
    await ensure_paper_account(KEY, HERE)
    fresh = PaperKey("b-key", "b-secret", "b-passphrase")
    assert await ensure_paper_account(fresh, PaperPlace(HERE.url, HERE.url, keys_are_new=True)) == [
        "block kontor-exchange-account/paper has the new key of the paper exchange"
    ]
    assert (await paper_block()).secret.get_secret_value() == "b-secret"
