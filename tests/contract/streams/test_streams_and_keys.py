"""stream-account as its flow runs it, through what a process shares: a key that is rotated, refused, and good again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from kontor.config import KontorConfig
from kontor.desk import Desk
from kontor.exchange import sessions
from kontor.execution.halt import halted
from kontor.paper.faults import FaultKind, FaultRule
from kontor.paper.server import PaperServer
from kontor.ports import Alert, ExchangeSettings, Store
from kontor.resilience.budget_state import load_budgets
from kontor.streams import keeper
from kontor.streams.account import CHANNELS, AccountStreamer
from kontor.streams.freshness import load_channels
from tasks import resources as resources_module
from tasks.resources import Resources
from tasks.streams import settings_in_use, stream
from tests.support.streaming import ACCOUNT, settings_of


@dataclass
class Ears:
    """Takes alerts."""

    heard: list[Alert] = field(default_factory=list)

    def notify(self, alert: Alert) -> None:
        self.heard.append(alert)

    async def drain(self, *, seconds: float) -> int:  # noqa: ARG002 - the port's
        return 0


class Blocks:
    """The blocks of a desk, as an editor of the UI changes them."""

    def __init__(self, url: str, settings: ExchangeSettings) -> None:
        self.url, self.settings = SecretStr(url), settings

    async def load(self, _kind: Any, _name: str) -> Blocks:
        return self

    def to_settings(self, _account: str) -> ExchangeSettings:
        return self.settings


@dataclass
class Process:
    """One process of a desk at a paper exchange."""

    desk: Desk
    blocks: Blocks
    paper: PaperServer
    ears: Ears
    store: Store

    async def is_fresh(self) -> bool:
        found = await load_channels(self.store.desk, ACCOUNT, self.desk.clock.now())
        return bool(found) and all(found[name].is_fresh for name in CHANNELS)

    async def until(self, *, fresh: bool) -> None:
        async with asyncio.timeout(30):
            while await self.is_fresh() is not fresh:  # noqa: ASYNC110 - the store sets no event of ours
                await asyncio.sleep(0.05)

    def drop_sockets(self) -> None:
        """The exchange ends every connection once."""
        self.paper.services.plan.add(FaultRule(kind=FaultKind.WS_CLOSE, path="/ws/*", times=1))
        for connection in list(self.paper._hub.connections):
            connection.befall()

    async def until_connected(self, count: int) -> None:
        async with asyncio.timeout(30):
            while self.paper.services.stats.connected < count:  # noqa: ASYNC110 - the venue sets no event of ours
                await asyncio.sleep(0.05)


@pytest.fixture
async def process(paper: PaperServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    """Its session is open; blocks are looked at five times a second."""
    blocks = Blocks(f"sqlite:///{tmp_path / 'desk.db'}", settings_of(paper))
    monkeypatch.setattr(resources_module, "load_block", blocks.load)
    monkeypatch.setattr(resources_module, "BLOCK_SECONDS", 0.2)
    monkeypatch.setattr(Resources, "breaker_changed", lambda *_: None)
    monkeypatch.setattr(sessions, "RETRY_SECONDS", 0.5)
    monkeypatch.setattr(keeper, "LOOK_SECONDS", 0.1)
    resources, ears = Resources.here(), Ears()
    resources.enter()
    store = await resources.store()
    exchange = await resources.exchange(ACCOUNT, 0)
    desk = Desk(ACCOUNT, KontorConfig(), exchange, store, resources.clock, ears)
    try:
        yield Process(desk, blocks, paper, ears, store)
    finally:
        await resources.leave()


async def test_a_key_is_rotated_refused_and_mended_while_one_run_goes_on(process: Process) -> None:
    """Nobody starts a flow at night; and a login every two seconds locks a key."""
    first, desk = process.blocks.settings, process.desk
    other = process.paper.settings.accounts[1]
    rotated = replace(
        first,
        api_key=other.api_key,
        secret=other.secret.get_secret_value(),
        password=other.passphrase.get_secret_value(),
    )
    streaming = asyncio.create_task(stream(desk, AccountStreamer, "test"))
    try:
        await process.until(fresh=True)
        process.blocks.settings = rotated
        await process.until_connected(2)
        await process.until(fresh=True)
        assert (await settings_in_use(desk)).api_key == rotated.api_key
        # The session takes no key that the exchange refuses: the one in use goes on.
        process.blocks.settings = replace(rotated, secret="mistyped")
        await asyncio.sleep(1)
        assert (await settings_in_use(desk)).secret == rotated.secret
        assert await process.is_fresh()
        # Revoked at the exchange, which ends its sockets.
        process.paper.venue.add_account(replace(other.as_config(), secret="a new one"))
        process.drop_sockets()
        await process.until(fresh=False)
        async with asyncio.timeout(30):
            while (found := await halted(process.store.desk, ACCOUNT)) is None:  # noqa: ASYNC110 - no event of ours
                await asyncio.sleep(0.05)
        assert found.blocked
        # The desk's watch tells of every halt, and nobody else does.
        assert process.ears.heard == []
        tried = process.paper.services.stats.connected
        await asyncio.sleep(3)
        assert process.paper.services.stats.connected == tried
        assert not streaming.done()
        process.blocks.settings = replace(rotated, secret="a new one")
        await process.until(fresh=True)
        assert process.ears.heard == []
    finally:
        streaming.cancel()
        await asyncio.gather(streaming, return_exceptions=True)


async def test_a_session_has_its_share_of_the_limit_and_the_stream_spends_from_it(process: Process) -> None:
    """Nothing of a desk sends with a budget of its own."""
    streaming = asyncio.create_task(stream(process.desk, AccountStreamer, "test"))
    try:
        await process.until(fresh=True)
        [own] = await load_budgets(process.store.desk, ACCOUNT, process.desk.clock.now())
        assert 0 < own.per_second < 1000
        gate = Resources.here().gate(ACCOUNT, "okx", AccountStreamer.name, 50)
        assert gate.connects == 1
    finally:
        streaming.cancel()
        await asyncio.gather(streaming, return_exceptions=True)
