"""A paper exchange, a store and blocks for the flows, on the session's Prefect server; an account for every test."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from blocks.exchange_account import ExchangeAccount
from blocks.state_store import StateStore
from flows.operate import initialize
from flows.orders import execute_orders
from kontor.paper.server import PaperServer
from kontor.paper.settings import PaperSettings
from kontor.ports import Store
from tasks.resources import Resources

NUMBERS = itertools.count(1)
CONFIG = """
watchlist:
  filter:
    info.volumeUsd24h: {value: 2000000, type: greater_or_equal}
  restricted: ["BNB/USD:USD", "USDT/USD:USD"]
  max_symbols: 4
candles: {keep: 50}
risk: {max_ticker_age_seconds: 120}
"""


@dataclass
class Account:
    """One paper account and the hands to use it: its name, its store, its venue's faults, its settings file."""

    name: str
    store: Store
    url: str
    config: Path
    session: aiohttp.ClientSession

    async def fault(self, **rule: Any) -> None:
        """Make the venue misbehave."""
        async with self.session.post(f"{self.url}/admin/faults", json=rule) as response:
            assert response.status == 200, await response.text()

    async def heal(self) -> None:
        """End every fault."""
        async with self.session.delete(f"{self.url}/admin/faults") as response:
            assert response.status == 200

    async def requests(self) -> dict[str, Any]:
        """What the venue has seen."""
        async with self.session.get(f"{self.url}/admin/stats") as response:
            return await response.json()


@pytest.fixture
async def account(prefect_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Account]:
    """A fresh account on a fresh paper exchange, with the desk's own store."""
    name = f"account-{os.getpid()}-{next(NUMBERS)}"
    config = tmp_path / "kontor.yaml"
    config.write_text(CONFIG)
    monkeypatch.setenv("KONTOR_CONFIG", str(config))
    monkeypatch.setenv("KONTOR_KEEP_SESSIONS_OPEN", "1")
    # Nobody waits for a venue's limits here: those have tests of their own.
    settings = PaperSettings(persist=False, port=0, markets=8, rate_limit_factor=0)
    async with PaperServer(settings) as paper, aiohttp.ClientSession() as session:
        keys = settings.accounts[0]
        store = StateStore.model_validate({"url": f"sqlite:///{tmp_path}/store.db"})
        await store.asave("default", overwrite=True)
        block = ExchangeAccount(
            exchange_id="okx",
            api_key=keys.api_key,  # pyright: ignore[reportArgumentType]
            secret=keys.secret,
            password=keys.passphrase,
            urls={"rest": paper.url, "ws": paper.ws_url},  # pyright: ignore[reportArgumentType]
            requests_per_second=500,
        )
        await block.asave(name, overwrite=True)
        resources = Resources.here()
        yield Account(name, await resources.store(), paper.url, config, session)
        await resources.close()


@pytest.fixture
async def trading(account: Account) -> AsyncIterator[Account]:
    """An initialized account with its executor at work."""
    state = await initialize(account=account.name, return_state=True)
    assert state.is_completed(), state.message
    executor = asyncio.create_task(execute_orders(account=account.name))
    yield account
    executor.cancel()
    with suppress(asyncio.CancelledError):
        await executor
