"""A venue that hangs: on requests, on new connections, on sockets that stand. Nobody waits for ever."""

import time
from datetime import timedelta
from decimal import Decimal

import pytest

from kontor.domain.order import Order, OrderType, Side
from kontor.errors import ExchangeError, OutcomeUnknown
from kontor.exchange.opening import READ_SHARE, open_exchange
from kontor.paper.faults import FaultKind
from kontor.streams.market import MarketStreamer
from tests.support.streaming import ACCOUNT, StreamingDesk, settings_of

# What a busy machine adds to a deadline.
SLACK = 3.0


async def test_timeouts_prevent_infinite_hangs(desk: StreamingDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Testing requirement 4 of the best-practices document: reads, writes, connects and open sockets have an end."""
    monkeypatch.setattr("kontor.streams.streamer.SILENCE_SECONDS", 1.5)
    monkeypatch.setattr("kontor.exchange.stream_channels.LIVELY_SECONDS", 1.5)
    monkeypatch.setattr("kontor.exchange.stream_client.CONNECT_TIMEOUT_MS", 1000)
    patience = timedelta(seconds=1)
    exchange = open_exchange(settings_of(desk.paper, request_timeout=patience), clock=desk.clock)
    await exchange.load_markets()
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("tickers"))
        desk.befall(FaultKind.HANG, "/*", probability=1.0)

        began = time.monotonic()
        with pytest.raises(ExchangeError):
            await exchange.fetch_balance()
        assert time.monotonic() - began < READ_SHARE * patience.total_seconds() + SLACK

        began = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            await exchange.create_order(
                Order("hang1", ACCOUNT, "BTC/USD", Side.BUY, OrderType.MARKET, Decimal("0.01"), desk.clock.now())
            )
        assert time.monotonic() - began < patience.total_seconds() + SLACK

        # Half-open sockets: they stand, and nothing comes; each new one hangs on its way.
        before = desk.connections()
        for connection in list(desk.paper._hub.connections):
            connection._silent_until = float("inf")

        async def is_stale() -> bool:
            return not await desk.is_fresh("tickers")

        async def is_given_up() -> bool:
            return any("RequestTimeout" in breaker.status.reason for breaker in desk.gate.breakers)

        await desk.until(is_stale, seconds=15)
        await desk.until(is_given_up, seconds=30)
        desk.recover()
        desk.paper._injection.let_go()
        await desk.until(lambda: desk.is_fresh("tickers"), seconds=30)
        assert desk.connections() > before
    await exchange.close()
