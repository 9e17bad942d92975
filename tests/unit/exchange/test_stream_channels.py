"""Channels on a real ccxt client without a network: what a reader is told, and what it is kept from believing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import ccxt
import pytest
from ccxt.async_support.base.ws.cache import ArrayCacheByTimestamp

from kontor.errors import StreamBroken
from kontor.exchange.streams import CcxtStreams
from kontor.ports import ExchangeSettings
from kontor.resilience.clock import SystemClock
from kontor.resilience.connection_gate import ConnectionGate
from tests.fakes.desk import BTC, ETH, FakeDesk


@pytest.fixture
async def streams() -> AsyncIterator[CcxtStreams]:
    clock = SystemClock()
    settings = ExchangeSettings("okx", "paper", request_timeout=timedelta(seconds=5))
    made = CcxtStreams(settings, clock=clock, gate=ConnectionGate("test", clock=clock))
    made.connection.markets = FakeDesk().venue.markets
    yield made
    await made.close()


async def never(*_: object, **__: object) -> None:
    await asyncio.Event().wait()


async def test_a_reader_that_is_canceled_while_its_watchlist_changes_ends(streams: CcxtStreams) -> None:
    """A cancellation that is swallowed here leaves a reader that nobody ends: the flow hangs at its end."""
    client: Any = streams._client
    ends = asyncio.Event()

    async def slow_to_end(*_: object) -> None:
        try:
            await never()
        finally:
            ends.set()
            await asyncio.sleep(0.01)

    client.watch_tickers = slow_to_end

    async def read() -> None:
        await streams.tickers([BTC, ETH], seconds=0.0)
        while True:
            await streams.tickers([BTC], seconds=0.01)

    reading = asyncio.create_task(read())
    await ends.wait()
    reading.cancel()
    async with asyncio.timeout(2):
        await asyncio.wait({reading})
    assert reading.cancelled()


def an_order(number: int) -> dict[str, Any]:
    return {
        "id": f"venue{number}",
        "clientOrderId": f"ours{number}",
        "symbol": BTC,
        "side": "buy",
        "type": "limit",
        "status": "open",
        "amount": 1.0,
        "filled": 0.0,
        "price": 100.0,
        "timestamp": 1_767_225_600_000,
        "info": {},
    }


async def test_what_was_told_before_a_watch_failed_is_not_lost_with_it(streams: CcxtStreams) -> None:
    """Some failures are no lost connection and so no gap: nobody would ask by REST for what was told."""
    client: Any = streams._client
    fails = asyncio.Event()

    async def watch(*_: object) -> None:
        await fails.wait()
        raise ccxt.ExchangeError("okx: too many requests")

    client.watch_orders = watch
    assert list(await streams.orders(seconds=0.01)) == []
    # Both while the reader is busy with what came before.
    client.orders = [an_order(1)]
    fails.set()
    await asyncio.sleep(0.01)
    with pytest.raises(StreamBroken):
        await streams.orders(seconds=0.01)
    assert streams.breaks == 0
    client.watch_orders = never
    assert [report.venue_order_id for report in await streams.orders(seconds=0.01)] == ["venue1"]


class Socket:
    """A socket of ccxt's as far as the channels look at it: up, and logged in."""

    isConnected = True  # noqa: N815 - ccxt's name
    error = None

    def __init__(self, url: str) -> None:
        self.url = url
        self.futures: dict[str, Any] = {}

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("has_told", [True, False], ids=["after its watch brought something", "while it waits"])
async def test_a_channel_is_live_only_on_the_connection_that_it_was_subscribed_on(
    streams: CcxtStreams, *, has_told: bool
) -> None:
    """A reader that the store keeps busy does not see that the connection was lost; others have made a new one.

    Taken for live it is reconciled at once, and what happens until it subscribes is told to nobody.
    """
    client: Any = streams._client
    fails, tells = asyncio.Event(), asyncio.Event()

    async def watch(*_: object) -> None:
        waits = {asyncio.ensure_future(each.wait()) for each in (fails, tells)}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        if fails.is_set():
            raise ccxt.NetworkError("connection closed")

    client.watch_orders = watch
    await streams.orders(seconds=0.01)
    url = "wss://venue/private"

    def connected() -> None:
        client.clients = {url: Socket(url)}
        streams.events.heard_at[url] = streams._clock.monotonic()

    connected()
    assert streams.is_live("orders")
    (tells if has_told else fails).set()
    await asyncio.sleep(0.01)
    client.clients = {}
    streams.events.broke(url, "closed")
    assert not streams.is_live("orders")
    connected()
    assert not streams.is_live("orders")
    tells.clear()
    fails.clear()
    for _ in range(2):
        with contextlib.suppress(StreamBroken):
            await streams.orders(seconds=0.01)
    assert streams.is_live("orders")


def account_message(equity: int) -> dict[str, Any]:
    details = [{"ccy": "USD", "eq": str(equity), "availBal": str(equity), "cashBal": str(equity), "frozenBal": "0"}]
    return {"arg": {"channel": "account"}, "data": [{"uTime": "1767225600000", "details": details}]}


async def test_of_two_balances_in_a_row_the_second_one_is_told(streams: CcxtStreams) -> None:
    """A fill brings several within a millisecond, and ccxt wakes whoever waits for the first one only."""
    client: Any = streams._client
    socket = client.client("wss://venue/private")

    async def watch(*_: object) -> Any:
        return await socket.future("account")

    client.watch_balance = watch
    assert await streams.balance(seconds=0.01) is None
    client.handle_message(socket, account_message(100))
    client.handle_message(socket, account_message(90))
    found = await streams.balance(seconds=0.01)
    assert found is not None
    assert found.currencies["USD"].total == 90
    # While the reader stores it.
    client.handle_message(socket, account_message(80))
    found = await streams.balance(seconds=0.01)
    assert found is not None
    assert found.currencies["USD"].total == 80
    assert await streams.balance(seconds=0.01) is None


async def test_what_ccxt_notes_of_candles_that_nobody_waits_for_is_bounded(streams: CcxtStreams) -> None:
    """It notes each candle until that market's turn to wake somebody comes, which with 200 markets may be never."""
    client: Any = streams._client
    client.watch_ohlcv_for_symbols = never
    cache = ArrayCacheByTimestamp(20)
    client.ohlcvs = {BTC: {"1m": cache}}
    streams.connection.offset_at = streams._clock.monotonic()
    taken = 0
    for number in range(500):
        cache.append([1_767_225_600_000 - (500 - number) * 60_000, 1.0, 2.0, 0.5, 1.5, 3.0])
        found = await streams.candles([BTC], "1m", seconds=0.0)
        taken += len(found.get(BTC, ()))
    assert taken == 500
    assert len(cache._size_tracker) < 50
