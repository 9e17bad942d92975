"""What a desk needs inside Prefect besides its deployments: work pool, queues and blocks. Run in a process of its own.

Everything is made when it is missing and left alone when it is there, so that what a user edits stays edited.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from blocks.exchange_account import ExchangeAccount, ExchangeUrls
from blocks.loading import find_block
from blocks.notifiers import CHANNELS, HeartbeatUrl
from blocks.state_store import StateStore
from deployments.home import LOOPBACK, Home
from deployments.lineup import POOL, POOL_TYPE, QUEUES
from deployments.paper_keys import PaperKey, read_keys
from deployments.prefect_api import PrefectApi
from deployments.worker import InProcessWorker
from kontor.config import load_config
from kontor.errors import ConfigError, KontorError
from tasks.automations import ensure_automations
from tasks.resources import config_path

STORE_BLOCK = "default"
PAPER_ACCOUNT = "paper"


@dataclass(frozen=True, slots=True)
class PaperPlace:
    """Where the paper exchange listens now, where it did when the desk last ran, and whether its keys are new."""

    url: str
    previous_url: str = ""
    keys_are_new: bool = False

    @property
    def urls(self) -> ExchangeUrls:
        """REST and WebSocket share one port; OKX's WebSocket addresses begin with /ws/v5."""
        return ExchangeUrls(rest=self.url, ws=f"{self.url.replace('http', 'ws', 1)}/ws/v5")

    def is_meant_by(self, block: ExchangeAccount) -> bool:
        """Whether a block is for this exchange, rather than for one the user has put in its place."""
        if block.mode != "paper" or block.exchange_id != "okx":
            return False
        if self.previous_url:
            return block.urls.rest in {self.url, self.previous_url}
        return urlsplit(block.urls.rest).hostname == LOOPBACK


async def prepare(home: Home, paper: PaperPlace) -> list[str]:
    """Make what is missing; returns a sentence for each thing made or changed."""
    await wait_for_server()
    async with get_client() as client:
        done = await ensure_pool(client)
    for block_class in (ExchangeAccount, StateStore, HeartbeatUrl, *CHANNELS.values()):
        await block_class.aregister_type_and_schema()
    done += await ensure_store()
    done += await ensure_paper_account(read_keys(home.paper_keys_file)[PAPER_ACCOUNT], paper)
    async with get_client() as client:
        done += await ensure_automations(client, load_config(config_path()).alerts, POOL)
    return done


async def wait_for_server() -> None:
    """Return when the server answers; `kontor up` starts both at once and ends this when the server does not come."""
    async with PrefectApi(os.environ["PREFECT_API_URL"].removesuffix("/api"), timeout=timedelta(seconds=2)) as api:
        while not await api.is_healthy():  # noqa: ASYNC110 - another process cannot set our event
            await asyncio.sleep(0.2)


async def ensure_pool(client: PrefectClient) -> list[str]:
    """The work pool and its queues; raises ConfigError when a pool of that name has another type."""
    done = []
    try:
        pool = await client.read_work_pool(POOL)
    except ObjectNotFound:
        template = InProcessWorker.get_default_base_job_template()
        pool = await client.create_work_pool(WorkPoolCreate(name=POOL, type=POOL_TYPE, base_job_template=template))
        done.append(f"work pool {POOL} made")
    if pool.type != POOL_TYPE:
        raise ConfigError(
            f"its type is {pool.type}, not {POOL_TYPE}; rename or delete it in the UI, and start again",
            where=f"work pool {POOL}",
        )
    known = {queue.name for queue in await client.read_work_queues(work_pool_name=POOL)}
    for name in QUEUES:
        if name not in known:
            await client.create_work_queue(name=name, work_pool_name=POOL)
            done.append(f"work queue {name} made")
    return done


async def ensure_store() -> list[str]:
    """The block that says where the desk's state is; its default is the embedded file in the home."""
    if await find_block(StateStore, STORE_BLOCK) is not None:
        return []
    block = StateStore()
    # Saved empty: the address then follows the home, wherever that is moved.
    block.url = SecretStr("")
    await block.asave(STORE_BLOCK)
    return [f"block {StateStore.get_block_type_slug()}/{STORE_BLOCK} made"]


async def ensure_paper_account(key: PaperKey, paper: PaperPlace) -> list[str]:
    """The block of the paper account; one that is there keeps everything but an address that points nowhere any more.

    When the home's key file had been lost, a block for our own paper exchange gets the new key too: its old one opens
    nothing.
    """
    where = f"block {ExchangeAccount.get_block_type_slug()}/{PAPER_ACCOUNT}"
    block = await find_block(ExchangeAccount, PAPER_ACCOUNT)
    if block is None:
        await _with_key(ExchangeAccount(exchange_id="okx", urls=paper.urls), key).asave(PAPER_ACCOUNT)
        return [f"{where} made"]
    if not paper.is_meant_by(block):
        return []
    done = []
    if block.urls.rest != paper.url:
        block.urls = paper.urls
        done.append(f"{where} now points at {paper.url}")
    if paper.keys_are_new:
        block = _with_key(block, key)
        done.append(f"{where} has the new key of the paper exchange")
    if done:
        await block.asave(PAPER_ACCOUNT, overwrite=True)
    return done


def _with_key(block: ExchangeAccount, key: PaperKey) -> ExchangeAccount:
    block.api_key, block.secret = SecretStr(key.api_key), SecretStr(key.secret)
    block.password = SecretStr(key.passphrase)
    return block


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the Prefect server that PREFECT_API_URL names, for the home that KONTOR_HOME names."""
    parser = argparse.ArgumentParser(prog="python -m deployments.bootstrap_prefect", description=main.__doc__)
    parser.add_argument("--paper-url", required=True, help="where the paper exchange listens")
    parser.add_argument("--previous-paper-url", default="", help="where it listened when the desk last ran")
    parser.add_argument("--keys-are-new", action="store_true", help="the paper exchange's key file had to be made")
    options = parser.parse_args(arguments)
    try:
        paper = PaperPlace(options.paper_url, options.previous_paper_url, options.keys_are_new)
        for sentence in asyncio.run(prepare(Home.from_environment(), paper)):
            print(sentence)  # noqa: T201 - `kontor up` passes these lines on
    except KontorError as error:
        print(error, file=sys.stderr)  # noqa: T201 - likewise
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
