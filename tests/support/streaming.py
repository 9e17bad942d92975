"""A desk's streams on a paper exchange: real sockets, a store in memory, and faults on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from aiohttp import web

from kontor.config import KontorConfig
from kontor.exchange.guarded import GuardedExchange
from kontor.exchange.opening import open_exchange
from kontor.exchange.streams import CcxtStreams
from kontor.paper.faults import FaultKind, FaultRule
from kontor.paper.server import PaperServer
from kontor.ports import ExchangeSettings
from kontor.resilience.clock import SystemClock
from kontor.resilience.connection_budget import ConnectionBudget
from kontor.resilience.connection_gate import ConnectionGate
from kontor.store.memory import MemoryStore
from kontor.streams.freshness import load_channels
from kontor.streams.streamer import StreamParts
from tests.support.streamed import StreamedDesk

ACCOUNT = "paper"
SYMBOLS = ("BTC/USD:USD", "ETH/USD:USD", "BTC/USD", "SOL/USD:USD")


@dataclass
class StreamingDesk(StreamedDesk):
    """One account with its venue in reach."""

    paper: PaperServer
    exchange: GuardedExchange
    streams: CcxtStreams
    gate: ConnectionGate
    config: KontorConfig
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: SystemClock = field(default_factory=SystemClock)
    account: str = ACCOUNT

    @property
    def parts(self) -> StreamParts:
        return StreamParts(self.account, self.config, self.store, self.exchange, self.streams, self.clock)

    async def until(self, holds: Callable[[], Awaitable[bool]], *, seconds: float = 20) -> float:
        """Wait until something holds; how long that took."""
        began = self.clock.monotonic()
        try:
            async with asyncio.timeout(seconds):
                while not await holds():  # noqa: ASYNC110 - the venue and the store set no event of ours
                    await asyncio.sleep(0.01)
        except TimeoutError:
            found = await load_channels(self.store.desk, self.account, self.clock.now())
            raise AssertionError(f"not within {seconds} s; channels: {found}") from None
        return self.clock.monotonic() - began

    def befall(self, kind: FaultKind, path: str = "/ws/*", **more: Any) -> None:
        """Let a fault happen, on sockets that are open at once."""
        self.paper.services.plan.add(FaultRule(kind=kind, path=path, **more))
        if kind.on_websocket:
            for connection in list(self.paper._hub.connections):
                connection.befall()

    def recover(self) -> None:
        """No more faults."""
        self.paper.services.plan.remove()

    def connections(self) -> int:
        """How many sockets the venue has seen."""
        return self.paper.services.stats.connected


def settings_of(paper: PaperServer, **more: Any) -> ExchangeSettings:
    """How the first account of a paper exchange is reached."""
    account = paper.settings.accounts[0]
    usual: dict[str, Any] = {
        "api_key": account.api_key,
        "secret": account.secret.get_secret_value(),
        "password": account.passphrase.get_secret_value(),
        "urls": {"rest": paper.url, "ws": paper.ws_url},
        "request_timeout": timedelta(seconds=5),
        "requests_per_second": 1000.0,
    }
    return ExchangeSettings("okx", ACCOUNT, **{**usual, **more})


@asynccontextmanager
async def streaming_desk(paper: PaperServer, config: KontorConfig | None = None) -> AsyncIterator[StreamingDesk]:
    """A desk at a running paper exchange, its watchlist set."""
    async with AsyncExitStack() as stack:
        clock = SystemClock()
        settings = settings_of(paper)
        exchange = open_exchange(settings, clock=clock)
        stack.push_async_callback(exchange.close)
        gate = ConnectionGate("okx stream-test", clock=clock, budget=ConnectionBudget(clock=clock))
        streams = CcxtStreams(settings, clock=clock, gate=gate)
        stack.push_async_callback(streams.close)
        desk = StreamingDesk(paper, exchange, streams, gate, config or KontorConfig())
        await desk.store.market.save_watchlist(ACCOUNT, SYMBOLS, clock.now())
        yield desk


@asynccontextmanager
async def closed_port(paper: PaperServer) -> AsyncIterator[None]:
    """Nobody listens at the venue's port meanwhile, and every connection is gone: the next one is refused."""
    runner = paper._runner
    assert runner is not None
    assert runner.server is not None
    for site in list(runner.sites):
        await site.stop()
    for connection in list(runner.server.connections):
        connection.force_close()
    try:
        yield
    finally:
        await web.TCPSite(runner, paper.settings.host, paper.port).start()
