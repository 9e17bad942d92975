"""Every planned fault, as unmodified ccxt sees it: what is raised, and whether the order exists all the same."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

import aiohttp
import ccxt
import pytest

from tests.contract.paper.resting import SWAP, price_far_below

ORDERS = "/api/v5/trade/batch-orders"
SOON = 5.0


class NoIdGiven(Exception):
    """Nothing was raised: ccxt made an order without an id out of an answer it could not read."""


async def place(client: Any, price: float) -> tuple[str, Exception | None]:
    """Send a resting order; its client id and what ccxt raised."""
    client_id = uuid.uuid4().hex
    try:
        order = await client.create_order(SWAP, "limit", "buy", 1, price, {"clientOrderId": client_id})
    except Exception as error:  # noqa: BLE001 - which one it is, is the question
        return client_id, error
    return client_id, None if order["id"] else NoIdGiven()


async def hasty_copy(client: Any, connect: Any, timeout: int) -> Any:
    """A client that gives up soon; it knows the markets already."""
    hasty = connect(timeout=timeout)
    hasty.set_markets(client.markets)
    return hasty


async def exists(client: Any, client_id: str) -> bool:
    return client_id in {order["clientOrderId"] for order in await client.fetch_open_orders(SWAP)}


@pytest.mark.parametrize(
    ("fault", "raised", "placed"),
    [
        ({"kind": "drop_before"}, ccxt.ExchangeNotAvailable, False),
        ({"kind": "drop_after"}, ccxt.ExchangeNotAvailable, True),
        ({"kind": "http_500"}, ccxt.ExchangeNotAvailable, False),
        ({"kind": "http_500", "when": "after"}, ccxt.ExchangeNotAvailable, True),
        ({"kind": "http_502"}, ccxt.ExchangeNotAvailable, False),
        ({"kind": "http_502", "when": "after"}, ccxt.ExchangeNotAvailable, True),
        ({"kind": "http_503"}, ccxt.ExchangeNotAvailable, False),
        ({"kind": "http_503", "when": "after"}, ccxt.ExchangeNotAvailable, True),
        ({"kind": "http_429"}, ccxt.RateLimitExceeded, False),
        ({"kind": "html_200"}, NoIdGiven, True),
        ({"kind": "html_200", "when": "before"}, NoIdGiven, False),
        ({"kind": "truncated_json"}, NoIdGiven, True),
        ({"kind": "empty_body"}, NoIdGiven, True),
        ({"kind": "hang", "seconds": 3}, ccxt.RequestTimeout, False),
        ({"kind": "hang", "seconds": 3, "when": "after"}, ccxt.RequestTimeout, True),
    ],
)
async def test_a_fault_on_create_raises_and_the_order_exists_or_not(
    client: Any, connect: Any, admin: Any, fault: dict[str, Any], raised: type[Exception], placed: bool
) -> None:
    """The same exception with and without an order: that is why it must be looked up."""
    await client.load_markets()
    price = await price_far_below(client)
    await admin.fault(path=ORDERS, **fault)
    client_id, error = await place(await hasty_copy(client, connect, 1000), price)
    assert isinstance(error, raised)
    assert await exists(client, client_id) is placed
    (rule,) = await admin.faults()
    assert rule["hits"] == 1
    assert (await admin.stats())["accepted_by_client_id"] == ({client_id: 1} if placed else {})


async def test_a_delayed_order_arrives_after_its_sender_gave_up(client: Any, connect: Any, admin: Any) -> None:
    """The late send: given up as timed out, placed half a second later."""
    await client.load_markets()
    price = await price_far_below(client)
    hasty = await hasty_copy(client, connect, 300)
    await admin.fault(path=ORDERS, kind="delay", seconds=1)
    client_id, error = await place(hasty, price)
    assert isinstance(error, ccxt.RequestTimeout)
    assert not await exists(client, client_id)
    deadline = time.monotonic() + SOON
    while not await exists(client, client_id):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_short_delay_is_only_slow(client: Any, admin: Any) -> None:
    """Nothing is lost, it takes longer."""
    await client.load_markets()
    await admin.fault(path=ORDERS, kind="delay", seconds=0.3)
    price = await price_far_below(client)
    begun = time.monotonic()
    client_id, error = await place(client, price)
    assert error is None
    assert time.monotonic() - begun >= 0.3
    assert await exists(client, client_id)


async def test_a_429_says_when_to_come_back(client: Any, admin: Any, paper: Any) -> None:
    """Retry-After, and OKX's own code in the body."""
    await client.load_markets()
    await admin.fault(path="/api/v5/market/ticker", kind="http_429", seconds=7)
    url = f"{paper.url}/api/v5/market/ticker?instId=BTC-USD"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "7")
        assert (await response.json())["code"] == "50011"


async def test_a_wrong_clock_shows_in_the_time_and_refuses_honest_signatures(client: Any, admin: Any) -> None:
    """The exchange's clock is two minutes ahead: its time says so, and signed requests look old."""
    await client.load_markets()
    await admin.fault(kind="wrong_clock", seconds=120, probability=1)
    drift = await client.fetch_time() - client.milliseconds()
    assert 115_000 < drift < 125_000
    ticker = await client.fetch_ticker(SWAP)
    assert ticker["timestamp"] - client.milliseconds() > 110_000
    with pytest.raises(ccxt.InvalidNonce):
        await client.fetch_balance()
    await client.load_time_difference()
    assert (await client.fetch_balance())["USD"]["total"] == 100_000.0


async def test_faults_are_removed_together(client: Any, admin: Any) -> None:
    """After a campaign everything works again."""
    await client.load_markets()
    await admin.fault(kind="http_500", probability=1)
    with pytest.raises(ccxt.ExchangeNotAvailable):
        await client.fetch_ticker(SWAP)
    await admin.clear()
    assert (await client.fetch_ticker(SWAP))["last"] > 0
    assert await admin.faults() == []


async def test_a_rule_that_makes_no_sense_is_refused_in_one_sentence(admin: Any) -> None:
    """A typing error in a test must not pass as a quiet exchange."""
    async with admin.session.post(f"{admin.url}/admin/faults", json={"kind": "earthquake"}) as response:
        assert response.status == 400
        assert "kind" in (await response.json())["error"]


async def listening(client: Any) -> asyncio.Task[Any]:
    """A ccxt client that has its first ticker and waits for the next."""
    await client.load_markets()
    await asyncio.wait_for(client.watch_ticker(SWAP), SOON)
    task = asyncio.create_task(client.watch_ticker(SWAP))
    await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("kind", ["ws_close", "ws_drop"])
async def test_a_closed_socket_is_a_network_error_and_a_new_one_works(client: Any, admin: Any, kind: str) -> None:
    """With a closing handshake or without."""
    task = await listening(client)
    await admin.fault(path="/ws/v5/public", kind=kind)
    with pytest.raises(ccxt.NetworkError):
        await asyncio.wait_for(task, SOON)
    assert (await asyncio.wait_for(client.watch_ticker(SWAP), SOON))["last"] > 0
    assert (await admin.stats())["websockets"]["connected"] == 2


async def test_a_silent_socket_sends_nothing_not_even_pongs(client: Any, admin: Any, clock: Any) -> None:
    """Half open: ccxt finds out by its missing pongs."""
    client.streaming["keepAlive"] = 200
    task = await listening(client)
    await admin.fault(path="/ws/v5/public", kind="ws_silence")
    clock.advance(60)
    with pytest.raises(ccxt.RequestTimeout):
        await asyncio.wait_for(task, SOON)


async def test_a_silence_ends_when_its_time_is_over(client: Any, admin: Any, clock: Any) -> None:
    """What was due meanwhile is lost, what comes after arrives."""
    task = await listening(client)
    await admin.fault(path="/ws/v5/public", kind="ws_silence", seconds=0.2)
    begun = time.monotonic()
    while not task.done():
        clock.advance(2)
        await asyncio.sleep(0.02)
        assert time.monotonic() - begun < SOON
    assert time.monotonic() - begun >= 0.15
    assert (await task)["last"] > 0


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


async def test_garbage_on_a_socket_reaches_the_client(paper: Any, admin: Any) -> None:
    """A text that is no JSON, between good messages."""
    arg = {"channel": "tickers", "instId": "BTC-USD"}
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{paper.ws_url}/public") as socket:
        await socket.send_json({"op": "subscribe", "args": [arg]})
        for _ in range(2):
            await asyncio.wait_for(socket.receive_json(), SOON)
        await admin.fault(path="/ws/v5/public", kind="ws_garbage")
        while is_json(await asyncio.wait_for(socket.receive_str(), SOON)):
            pass
        await socket.send_str("ping")
        while await asyncio.wait_for(socket.receive_str(), SOON) != "pong":
            pass


async def test_garbage_makes_ccxt_deaf_until_it_misses_its_pongs(client: Any, admin: Any, clock: Any) -> None:
    """The receive loop ends at a frame that looks like JSON and is not: only the heartbeat finds out."""
    client.streaming["keepAlive"] = 200
    task = await listening(client)
    await admin.fault(path="/ws/v5/public", kind="ws_garbage")
    clock.advance(60)
    with pytest.raises(ccxt.RequestTimeout):
        await asyncio.wait_for(task, SOON)
    assert (await asyncio.wait_for(client.watch_ticker(SWAP), SOON))["last"] > 0


async def test_a_refused_handshake_is_a_network_error(client: Any, admin: Any) -> None:
    """The door itself can be closed for a while."""
    await client.load_markets()
    await admin.fault(path="/ws/*", kind="http_503")
    with pytest.raises(ccxt.NetworkError):
        await asyncio.wait_for(client.watch_ticker(SWAP), SOON)
    assert (await asyncio.wait_for(client.watch_ticker(SWAP), SOON))["last"] > 0


async def test_the_admin_endpoints_answer_on_this_machine_only(paper: Any) -> None:
    """An exchange that listens on every address must not let strangers break it."""
    from aiohttp.test_utils import make_mocked_request

    from kontor.paper.admin import _guarded

    async def never(_request: Any) -> Any:
        raise AssertionError("a stranger got in")

    request = make_mocked_request("GET", "/admin/stats")
    response = await _guarded(never)(request.clone(remote="192.0.2.7"))
    assert response.status == 403


async def test_the_admin_endpoints_do_not_answer_to_web_pages(admin: Any) -> None:
    """A page open in the operator's browser must not reach them by the back door."""
    headers = {"Origin": "https://example.com"}
    async with admin.session.post(f"{admin.url}/admin/faults", json={"kind": "http_500"}, headers=headers) as response:
        assert response.status == 403
    assert await admin.faults() == []


async def test_a_price_shock_fills_resting_orders(client: Any, admin: Any) -> None:
    """Tests move the market where they need it."""
    await client.load_markets()
    client_id, error = await place(client, await price_far_below(client))
    assert error is None
    order = await client.fetch_order("", SWAP, {"clOrdId": client_id})
    await admin.price("BTC-USD-SWAP", str(order["price"] * 0.95))
    filled = await client.fetch_order("", SWAP, {"clOrdId": client_id})
    assert (filled["status"], filled["filled"]) == ("closed", 1.0)
    assert filled["average"] == order["price"]
