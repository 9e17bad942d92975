"""Unmodified ccxt.pro.okx over WebSocket, and the protocol underneath."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

import aiohttp
import ccxt
import pytest

from kontor.paper import websocket
from kontor.paper.auth import LOGIN_PATH, sign
from kontor.paper.clock import ManualClock
from kontor.paper.websocket import MAX_BACKLOG
from tests.contract.paper.resting import SPOT, SWAP, price_far_below

SOON = 5.0


async def within(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, SOON)


async def test_watch_tickers_follows_the_market(client: Any, clock: ManualClock) -> None:
    """The first message at once, the next when the price moves."""
    await client.load_markets()
    await within(client.watch_tickers([SPOT, SWAP]))
    await until(lambda: {SPOT, SWAP} <= client.tickers.keys())
    seen = dict(client.tickers)
    clock.advance(60)
    moved = await within(client.watch_tickers([SPOT, SWAP]))
    symbol = next(iter(moved))
    assert moved[symbol]["timestamp"] > seen[symbol]["timestamp"]
    assert moved[symbol]["last"] == (await client.fetch_ticker(symbol))["last"]


async def test_watch_ohlcv_agrees_with_the_fetched_candle(client: Any, clock: ManualClock) -> None:
    """On the business address; a new minute begins a new candle."""
    (first,) = await within(client.watch_ohlcv(SWAP, "1m"))
    assert first == (await client.fetch_ohlcv(SWAP, "1m", limit=1))[-1]
    clock.advance(61)
    while (candles := await within(client.watch_ohlcv(SWAP, "1m")))[-1][0] == first[0]:
        pass
    assert candles[-1][0] >= first[0] + 60_000


async def test_watch_order_book_keeps_a_local_book_equal_to_the_venues(client: Any, clock: ManualClock) -> None:
    """Snapshot and numbered updates add up; ccxt rejects a gap."""
    local = await within(client.watch_order_book(SWAP))
    for _ in range(3):
        clock.advance(5)
        local = await within(client.watch_order_book(SWAP))
    fetched = await client.fetch_order_book(SWAP, 50)
    assert [level[:2] for level in local["bids"]] == [level[:2] for level in fetched["bids"]]
    assert [level[:2] for level in local["asks"]] == [level[:2] for level in fetched["asks"]]


async def test_watch_order_book_shows_ones_own_order(client: Any) -> None:
    """A resting order is part of the book."""
    await client.load_markets()
    await within(client.watch_order_book(SWAP, 5))
    best = (await client.fetch_order_book(SWAP, 1))["bids"][0][0]
    await client.create_order(SWAP, "limit", "buy", 7, best)
    book = await within(client.watch_order_book(SWAP, 5))
    assert book["bids"][0][0] == best
    assert book["bids"][0][1] >= 7


async def test_watch_bids_asks_and_trades(client: Any, clock: ManualClock) -> None:
    """The best prices and the crowd's trades, as they come."""
    await client.load_markets()
    best = await within(client.watch_bids_asks([SWAP]))
    assert best[SWAP]["bid"] < best[SWAP]["ask"]
    trades = await within(client.watch_trades(SWAP))
    clock.advance(5)
    more = await within(client.watch_trades(SWAP))
    assert more[-1]["timestamp"] >= trades[-1]["timestamp"]


async def test_watch_mark_price(client: Any) -> None:
    """What positions are valued at."""
    ticker = await within(client.watch_mark_price(SWAP))
    assert ticker["markPrice"] == (await client.fetch_mark_price(SWAP))["markPrice"]


async def test_watch_orders_tells_of_an_order_from_birth_to_end(client: Any) -> None:
    """Placed, then canceled, both pushed."""
    watching = asyncio.create_task(client.watch_orders())
    await subscribed(client, "orders")
    client_id = uuid.uuid4().hex
    price = await price_far_below(client)
    order = await client.create_order(SWAP, "limit", "buy", 1, price, {"clientOrderId": client_id})
    (update,) = await within(watching)
    assert (update["id"], update["clientOrderId"], update["status"]) == (order["id"], client_id, "open")
    watching = asyncio.create_task(client.watch_orders())
    await asyncio.sleep(0)
    await client.cancel_order(order["id"], SWAP)
    (update,) = await within(watching)
    assert update["status"] == "canceled"


async def test_watch_my_trades_brings_fill_price_and_fee(client: Any) -> None:
    """A fill is booked from the stream alone."""
    watching = asyncio.create_task(client.watch_my_trades())
    await subscribed(client, "orders")
    order = await client.create_order(SWAP, "market", "buy", 2)
    trades = await within(watching)
    fetched = await client.fetch_my_trades(SWAP)
    assert {trade["order"] for trade in trades} == {order["id"]}
    assert {trade["id"] for trade in trades} <= {trade["id"] for trade in fetched}
    # ccxt turns the sign of a fetched fee and leaves that of a watched one as OKX has it.
    paid = {trade["id"]: trade["fee"]["cost"] for trade in fetched}
    assert all(-trade["fee"]["cost"] == paid[trade["id"]] > 0 for trade in trades)


async def test_watch_balance_and_positions_follow_a_fill(client: Any) -> None:
    """A snapshot on subscription, then what a fill changes."""
    balance = await within(client.watch_balance())
    assert balance["USD"]["total"] == 100_000.0
    assert await within(client.watch_positions()) == []
    order = await client.create_order(SWAP, "market", "buy", 10)
    await until(lambda: bool(client.positions))
    assert (client.positions[0]["symbol"], client.positions[0]["contracts"]) == (SWAP, 10.0)
    await until(lambda: client.balance["USD"]["total"] < 100_000.0)
    fetched = await client.fetch_order(order["id"], SWAP)
    assert fetched["status"] == "closed"


async def test_orders_are_placed_and_canceled_over_the_socket(client: Any) -> None:
    """The same venue behind both doors."""
    await client.load_markets()
    price = await price_far_below(client)
    order = await within(client.create_order_ws(SWAP, "limit", "buy", 1, price))
    assert [each["id"] for each in await client.fetch_open_orders()] == [order["id"]]
    await within(client.cancel_order_ws(order["id"], SWAP))
    assert (await client.fetch_order(order["id"], SWAP))["status"] == "canceled"


async def test_a_refused_order_over_the_socket_raises_like_over_rest(client: Any) -> None:
    """Same codes, same exceptions."""
    await client.load_markets()
    price = await price_far_below(client)
    with pytest.raises(ccxt.InsufficientFunds):
        await within(client.create_order_ws(SWAP, "limit", "buy", 5000, price))


async def test_wrong_credentials_fail_the_login(connect: Any) -> None:
    """Before anything private is told."""
    stranger = connect(secret="wrong", has={"fetchCurrencies": False})
    with pytest.raises(ccxt.AuthenticationError, match="60007"):
        await within(stranger.watch_orders())


async def test_another_account_hears_nothing_of_my_orders(connect: Any) -> None:
    """Sub-accounts do not see each other, on the stream either."""
    mine, other = connect(), connect("paper-sub")
    watching = asyncio.create_task(other.watch_orders())
    await subscribed(other, "orders")
    await mine.create_order(SWAP, "market", "buy", 1)
    theirs = await other.create_order(SWAP, "market", "buy", 2)
    assert {order["id"] for order in await within(watching)} == {theirs["id"]}


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens by itself soon."""
    async with asyncio.timeout(SOON):
        while not true():  # noqa: ASYNC110 - neither ccxt nor the server has an event for it
            await asyncio.sleep(0.002)


async def subscribed(client: Any, channel: str) -> None:
    """Wait until the server has confirmed the subscription of a private channel."""

    def sockets() -> list[Any]:
        return [each for each in client.clients.values() if any(key.startswith(channel) for key in each.subscriptions)]

    await until(lambda: bool(sockets()))
    (socket,) = sockets()
    # The server works messages off in order: its pong comes after the subscription.
    before = socket.lastPong
    await asyncio.sleep(0.002)
    await socket.send("ping")
    await until(lambda: socket.lastPong not in (None, before))


@pytest.fixture
async def session() -> Any:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def told(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    return await within(socket.receive_json())


async def confirmed(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """The next answer to a request, whatever is pushed before it."""
    while "event" not in (answer := await told(socket)):
        pass
    return answer


async def test_text_ping_is_answered_with_pong(paper: Any, session: Any) -> None:
    """OKX's own heartbeat, besides the protocol's."""
    async with session.ws_connect(f"{paper.ws_url}/public") as socket:
        await socket.send_str("ping")
        assert await within(socket.receive_str()) == "pong"


@pytest.mark.parametrize(
    ("address", "request_", "code"),
    [
        ("public", {"op": "subscribe", "args": [{"channel": "tickers", "instId": "NOSUCH-USD"}]}, "60018"),
        ("public", {"op": "subscribe", "args": [{"channel": "weather", "instId": "BTC-USD"}]}, "60018"),
        ("public", {"op": "subscribe", "args": [{"channel": "candle1m", "instId": "BTC-USD"}]}, "60018"),
        ("business", {"op": "subscribe", "args": [{"channel": "tickers", "instId": "BTC-USD"}]}, "60018"),
        ("private", {"op": "subscribe", "args": [{"channel": "orders", "instType": "ANY"}]}, "60011"),
        ("public", {"op": "subscribe", "args": ["tickers"]}, "60013"),
        ("public", {"op": "dance", "args": [{}]}, "60012"),
        ("public", {"op": "subscribe"}, "60012"),
    ],
)
async def test_a_wrong_request_is_told_why(
    paper: Any, session: Any, address: str, request_: dict[str, Any], code: str
) -> None:
    """With OKX's code, and the connection stays."""
    async with session.ws_connect(f"{paper.ws_url}/{address}") as socket:
        await socket.send_json(request_)
        answer = await told(socket)
        assert (answer["event"], answer["code"]) == ("error", code)
        await socket.send_str("ping")
        assert await within(socket.receive_str()) == "pong"


async def test_subscriptions_are_confirmed_and_ended(paper: Any, session: Any, clock: ManualClock) -> None:
    """After the end there is silence on the channel."""
    arg = {"channel": "tickers", "instId": "BTC-USD"}
    async with session.ws_connect(f"{paper.ws_url}/public") as socket:
        await socket.send_json({"op": "subscribe", "args": [arg]})
        answer = await told(socket)
        assert (answer["event"], answer["arg"]) == ("subscribe", arg)
        assert (await told(socket))["arg"] == arg
        await socket.send_json({"op": "unsubscribe", "args": [arg]})
        while (answer := await told(socket)).get("event") != "unsubscribe":
            assert answer["arg"] == arg
        clock.advance(60)
        paper.venue.advance()
        paper.venue.flush()
        await socket.send_str("ping")
        assert await within(socket.receive_str()) == "pong"


async def test_a_login_is_confirmed_and_the_positions_channel_starts_with_a_snapshot(paper: Any, session: Any) -> None:
    """What is open already is told at once."""
    stamp = str(int(time.time()))
    login = {"apiKey": "paper-key", "passphrase": "paper-passphrase", "timestamp": stamp}
    login["sign"] = sign("paper-secret", stamp + LOGIN_PATH)
    paper.venue.place_order(
        "paper", {"instId": "BTC-USD-SWAP", "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "3"}
    )
    async with session.ws_connect(f"{paper.ws_url}/private") as socket:
        await socket.send_json({"op": "login", "args": [login]})
        answer = await told(socket)
        assert (answer["event"], answer["code"]) == ("login", "0")
        await socket.send_json({"op": "subscribe", "args": [{"channel": "positions", "instType": "SWAP"}]})
        assert (await told(socket))["event"] == "subscribe"
        pushed = await told(socket)
        assert (pushed["arg"]["channel"], pushed["eventType"]) == ("positions", "snapshot")
        assert [row["pos"] for row in pushed["data"]] == ["3"]
        await socket.send_json({"op": "subscribe", "args": [{"channel": "balance_and_position"}]})
        assert (await confirmed(socket))["event"] == "subscribe"
        while (pushed := await told(socket))["arg"]["channel"] != "balance_and_position":
            pass
        assert pushed["data"][0]["eventType"] == "snapshot"
        assert pushed["data"][0]["balData"][0]["ccy"] == "USD"


async def test_an_order_over_the_socket_needs_a_login(paper: Any, session: Any) -> None:
    """And is answered under its own id."""
    async with session.ws_connect(f"{paper.ws_url}/private") as socket:
        await socket.send_json({"id": "77", "op": "order", "args": [{"instId": "BTC-USD"}]})
        answer = await told(socket)
        assert (answer["id"], answer["op"], answer["code"]) == ("77", "order", "60011")


async def test_a_client_that_does_not_read_is_cut_off(paper: Any, admin: Any) -> None:
    """Its backlog must not grow without bound."""
    host, port = paper.settings.host, paper.port
    reader, writer = await asyncio.open_connection(host, port, limit=1024)
    writer.write(
        f"GET /ws/v5/public HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    await within(reader.readuntil(b"\r\n\r\n"))
    await until(lambda: bool(paper.services.stats.open_sockets))
    (connection,) = list(paper._hub.connections)
    for _ in range(2 * MAX_BACKLOG):
        connection.send("x" * 4000)
    await until(lambda: not paper.services.stats.open_sockets)
    stats = (await admin.stats())["websockets"]
    assert (stats["open"], stats["dropped_slow"]) == (0, 1)
    writer.close()


async def test_connections_are_counted_over_time(paper: Any, admin: Any, session: Any) -> None:
    """A reconnect storm would show here."""
    for _ in range(3):
        async with session.ws_connect(f"{paper.ws_url}/public") as socket:
            await socket.send_str("ping")
            await within(socket.receive_str())
    stats = (await admin.stats())["websockets"]
    assert stats["connected"] == 3
    assert [each["path"] for each in stats["connects"]] == ["/ws/v5/public"] * 3


async def test_a_socket_on_which_nothing_happens_is_closed(
    paper: Any, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After thirty seconds on OKX; a ping now and then keeps it open."""
    monkeypatch.setattr(websocket, "IDLE_SECONDS", 0.4)
    async with (
        session.ws_connect(f"{paper.ws_url}/public") as idle,
        session.ws_connect(f"{paper.ws_url}/public") as busy,
    ):
        closed = asyncio.create_task(idle.receive())
        while not closed.done():
            await busy.send_str("ping")
            assert await within(busy.receive_str()) == "pong"
            await asyncio.wait([closed], timeout=0.05)
        message = await closed
        assert (message.type, idle.close_code) == (aiohttp.WSMsgType.CLOSE, 4004)
