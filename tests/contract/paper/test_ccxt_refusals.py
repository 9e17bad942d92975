"""Unmodified ccxt.okx over REST: what is refused, filled in part or changed, with OKX's own codes."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from kontor.paper.clock import ManualClock
from tests.contract.paper.resting import SPOT, SWAP, limit_far_below


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"secret": "wrong"}, "50113"),
        ({"password": "wrong"}, "50105"),
        ({"apiKey": "wrong"}, "50111"),
    ],
)
async def test_wrong_credentials_are_an_authentication_error(connect: Any, config: dict[str, str], code: str) -> None:
    """Each with OKX's own code."""
    stranger = connect(**config)
    with pytest.raises(ccxt.AuthenticationError, match=code):
        await stranger.fetch_balance()


async def test_a_request_signed_in_the_past_is_refused(connect: Any) -> None:
    """A clock that is a minute off shows as InvalidNonce."""
    late = connect(options={"timeDifference": 60_000})
    with pytest.raises(ccxt.InvalidNonce, match="50102"):
        await late.fetch_balance()


async def test_an_order_that_costs_too_much_is_insufficient_funds(client: Any) -> None:
    """On spot by price, on swaps by margin."""
    await client.load_markets()
    with pytest.raises(ccxt.InsufficientFunds):
        await limit_far_below(client, SPOT, 50)
    with pytest.raises(ccxt.InsufficientFunds):
        await limit_far_below(client, SWAP, 5000)
    with pytest.raises(ccxt.InsufficientFunds):
        await client.create_order(SPOT, "market", "sell", 1)
    assert await client.fetch_open_orders() == []


async def test_a_duplicate_client_id_is_refused(client: Any) -> None:
    """With 51016, while the first order rests and after it was canceled."""
    client_id = uuid.uuid4().hex
    order = await limit_far_below(client, clientOrderId=client_id)
    with pytest.raises(ccxt.InvalidOrder, match="51016"):
        await limit_far_below(client, clientOrderId=client_id)
    assert len(await client.fetch_open_orders()) == 1
    assert (await client.fetch_order("", SWAP, {"clOrdId": client_id}))["id"] == order["id"]


async def test_a_malformed_client_id_is_refused(client: Any) -> None:
    """Alphanumeric, at most 32 characters."""
    for wrong in ("a-b", "x" * 33):
        with pytest.raises(ccxt.BadRequest, match="51000"):
            await limit_far_below(client, clientOrderId=wrong)


async def test_an_order_below_the_minimum_size_is_refused(connect: Any) -> None:
    """Ccxt does not check it, the venue does."""
    client = connect()
    market = (await client.load_markets())[SWAP]
    market["precision"]["amount"] = market["limits"]["amount"]["min"] / 100
    with pytest.raises(ccxt.InvalidOrder, match=r"51020|51121"):
        await limit_far_below(client, SWAP, market["limits"]["amount"]["min"] / 10)


async def test_a_price_between_two_ticks_is_refused(connect: Any) -> None:
    """What ccxt would round away is refused when it gets through."""
    client = connect()
    await client.load_markets()
    market = client.market(SWAP)
    ticker = await client.fetch_ticker(SWAP)
    body = {
        "instId": market["id"],
        "tdMode": "cross",
        "side": "buy",
        "ordType": "limit",
        "sz": "1",
        "px": str(Decimal(str(ticker["last"])) + Decimal("0.00001")),
    }
    with pytest.raises(ccxt.ExchangeError):
        await client.private_post_trade_order(body)
    assert await client.fetch_open_orders() == []


async def test_an_unknown_instrument_is_a_bad_symbol(client: Any) -> None:
    """By name, with OKX's code."""
    with pytest.raises(ccxt.BadSymbol, match="51001"):
        await client.public_get_market_ticker({"instId": "NOSUCH-USD"})
    with pytest.raises(ccxt.BadSymbol, match="51001"):
        await client.private_post_trade_order(
            {"instId": "NOSUCH-USD", "tdMode": "cash", "side": "buy", "ordType": "market", "sz": "1"}
        )


async def test_a_post_only_order_that_would_take_is_canceled_and_a_fok_that_cannot_fill_too(client: Any) -> None:
    """Accepted, then canceled without a fill, as OKX does."""
    await client.load_markets()
    ask = (await client.fetch_ticker(SWAP))["ask"]
    price = float(client.price_to_precision(SWAP, ask * 1.005))
    post_only = await client.create_order(SWAP, "limit", "buy", 1, price, {"postOnly": True})
    fill_or_kill = await client.create_order(
        SWAP, "limit", "buy", 10, float(client.price_to_precision(SWAP, ask * 0.99)), {"timeInForce": "FOK"}
    )
    for order in (post_only, fill_or_kill):
        fetched = await client.fetch_order(order["id"], SWAP)
        assert (fetched["status"], fetched["filled"]) == ("canceled", 0.0)


async def test_an_order_larger_than_the_book_fills_in_part(client: Any) -> None:
    """Finite depth: an immediate-or-cancel order takes what is there."""
    await client.load_markets()
    book = await client.fetch_order_book(SWAP, 1)
    price, quantity = book["asks"][0][:2]
    created = await client.create_order(SWAP, "limit", "buy", quantity + 1, price, {"timeInForce": "IOC"})
    order = await client.fetch_order(created["id"], SWAP)
    assert (order["status"], order["filled"]) == ("canceled", quantity)


async def test_reduce_only_never_opens_a_position(client: Any) -> None:
    """Closing more than there is closes what there is."""
    await client.create_order(SWAP, "market", "buy", 5)
    await client.create_order(SWAP, "market", "sell", 5, None, {"reduceOnly": True})
    assert await client.fetch_positions() == []


async def test_an_order_is_amended(client: Any) -> None:
    """Price and quantity, under the same id."""
    order = await limit_far_below(client, quantity=2)
    fetched = await client.fetch_order(order["id"], SWAP)
    lower = float(client.price_to_precision(SWAP, fetched["price"] * 0.99))
    await client.edit_order(order["id"], SWAP, "limit", "buy", 1, lower)
    changed = await client.fetch_order(order["id"], SWAP)
    assert (changed["amount"], changed["price"]) == (1.0, lower)


async def test_an_order_whose_expiry_has_passed_is_not_placed(client: Any, clock: ManualClock) -> None:
    """A late send of a stopped process is harmless: the venue will not have it."""
    await client.load_markets()
    client.headers = {"expTime": str(clock.now_ms() - 1)}
    with pytest.raises(ccxt.ExchangeError, match="50036"):
        await limit_far_below(client)
    client.headers = {"expTime": str(clock.now_ms() + 60_000)}
    order = await limit_far_below(client)
    assert [each["id"] for each in await client.fetch_open_orders()] == [order["id"]]
    # A cancel never comes too late.
    client.headers = {"expTime": str(clock.now_ms() - 1)}
    await client.cancel_order(order["id"], SWAP)
    assert await client.fetch_open_orders() == []


async def test_an_unknown_order_is_not_found(client: Any) -> None:
    """Looking up and canceling answer the same: there is none."""
    await client.load_markets()
    with pytest.raises(ccxt.OrderNotFound):
        await client.fetch_order("", SWAP, {"clOrdId": uuid.uuid4().hex})
    with pytest.raises(ccxt.OrderNotFound):
        await client.cancel_order("123456789", SWAP)


async def test_a_canceled_order_cannot_be_canceled_again(client: Any) -> None:
    """The second cancel is told it came too late."""
    order = await limit_far_below(client)
    await client.cancel_order(order["id"], SWAP)
    with pytest.raises(ccxt.OrderNotFound, match="51401"):
        await client.cancel_order(order["id"], SWAP)


async def test_leverage_beyond_the_maximum_is_refused(client: Any) -> None:
    """With a message that names the reason."""
    await client.load_markets()
    with pytest.raises(ccxt.ExchangeError, match="59102"):
        await client.private_post_account_set_leverage({"instId": "BTC-USD-SWAP", "lever": "1000", "mgnMode": "cross"})


async def test_an_unknown_path_is_404_and_a_wrong_method_405(client: Any, paper: Any) -> None:
    """In OKX's envelope, so that ccxt can read it."""
    session = client.session or client.open() or client.session
    async with session.get(f"{paper.url}/api/v5/no/such/path") as response:
        assert response.status == 404
        assert (await response.json())["error_message"] == "Not Found"
    async with session.get(f"{paper.url}/api/v5/trade/cancel-order") as response:
        assert response.status == 405
        assert (await response.json())["code"] == "50115"
