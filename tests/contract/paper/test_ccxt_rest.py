"""Unmodified ccxt.okx over REST: what a desk asks of an exchange all day."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from kontor.paper.clock import ManualClock

SPOT, SWAP = "BTC/USD", "BTC/USD:USD"


async def limit_far_below(client: Any, symbol: str = SWAP, quantity: float = 1, **params: Any) -> dict[str, Any]:
    """A resting buy order three percent below the market."""
    last = (await client.fetch_ticker(symbol))["last"]
    price = float(client.price_to_precision(symbol, last * 0.97))
    return await client.create_order(symbol, "limit", "buy", quantity, price, params)


async def test_load_markets_finds_spot_and_linear_swaps(client: Any) -> None:
    """Symbols, sizes and steps come out as the desk expects them."""
    markets = await client.load_markets()
    assert len(markets) == 20
    assert {SPOT, SWAP, "BNB/USD:USD", "USDT/USD:USD"} <= markets.keys()
    swap, spot = markets[SWAP], markets[SPOT]
    assert swap["linear"] is True
    assert swap["active"] is True
    assert (swap["type"], spot["type"]) == ("swap", "spot")
    assert swap["contractSize"] == 0.01
    assert swap["limits"]["leverage"]["max"] > 1
    assert all(market["precision"]["price"] and market["limits"]["amount"]["min"] for market in markets.values())
    assert len({market["contractSize"] for market in markets.values() if market["swap"]}) > 2


async def test_fetch_tickers_covers_every_market_of_a_type(client: Any) -> None:
    """With the turnover in USD that the watchlist filters on."""
    await client.load_markets()
    for kind in ("spot", "swap"):
        tickers = await client.fetch_tickers(params={"type": kind})
        assert set(tickers) == {symbol for symbol, market in client.markets.items() if market["type"] == kind}
        for ticker in tickers.values():
            assert ticker["bid"] < ticker["ask"]
            assert ticker["low"] <= ticker["last"] <= ticker["high"]
            assert float(ticker["info"]["volumeUsd24h"]) > 0


async def test_fetch_ohlcv_ends_with_the_unfinished_candle_at_the_tickers_price(client: Any) -> None:
    """Candles and ticks tell the same story."""
    candles = await client.fetch_ohlcv(SWAP, "1m", limit=300)
    assert len(candles) == 300
    steps = {later[0] - earlier[0] for earlier, later in itertools.pairwise(candles)}
    assert steps == {60_000}
    for _, opened, high, low, close, volume in candles:
        assert low <= min(opened, close) <= max(opened, close) <= high
        assert volume >= 0
    assert candles[-1][4] == (await client.fetch_ticker(SWAP))["last"]


@pytest.mark.parametrize("timeframe", ["5m", "15m", "1h", "4h", "1d"])
async def test_fetch_ohlcv_knows_the_timeframes_the_desk_uses(client: Any, timeframe: str) -> None:
    """From the last five minutes to the last months."""
    candles = await client.fetch_ohlcv(SPOT, timeframe, limit=50)
    assert len(candles) == 50
    assert {b[0] - a[0] for a, b in itertools.pairwise(candles)} == {client.parse_timeframe(timeframe) * 1000}


async def test_fetch_ohlcv_since_returns_what_came_after(client: Any) -> None:
    """Incremental fetches, of recent candles and of the archive."""
    now = client.milliseconds()
    for back, timeframe, step in ((10, "1m", 60_000), (2000, "1m", 60_000)):
        since = (now - back * step) // step * step
        candles = await client.fetch_ohlcv(SWAP, timeframe, since=since, limit=5)
        assert [candle[0] for candle in candles] == [since + step * place for place in range(5)]


async def test_fetch_order_book_is_sorted_and_finite(client: Any) -> None:
    """Depth is limited, so that large orders fill in part."""
    book = await client.fetch_order_book(SWAP, 10)
    bids, asks = [level[0] for level in book["bids"]], [level[0] for level in book["asks"]]
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    assert 0 < len(bids) <= 10


async def test_fetch_trades_lie_in_the_candles(client: Any) -> None:
    """The crowd trades at the prices that are shown."""
    trades = await client.fetch_trades(SWAP, limit=10)
    assert len(trades) == 10
    candles = await client.fetch_ohlcv(SWAP, "1m", limit=5)
    low, high = min(candle[3] for candle in candles), max(candle[2] for candle in candles)
    assert all(low <= trade["price"] <= high for trade in trades)


async def test_fetch_balance_shows_what_the_account_was_opened_with(client: Any) -> None:
    """Free, used and total, as the desk stores them."""
    balance = await client.fetch_balance()
    assert balance["USD"] == {"free": 100_000.0, "used": 0.0, "total": 100_000.0}
    assert float(balance["info"]["data"][0]["totalEq"]) == 100_000.0


async def test_an_open_order_freezes_what_it_may_cost(client: Any) -> None:
    """Really free is less than total while an order rests."""
    order = await limit_far_below(client, SPOT, 0.1)
    balance = await client.fetch_balance()
    last = (await client.fetch_ticker(SPOT))["last"]
    assert balance["USD"]["total"] == 100_000.0
    assert balance["USD"]["used"] == pytest.approx(0.1 * last * 0.97, rel=0.01)
    await client.cancel_order(order["id"], SPOT)
    assert (await client.fetch_balance())["USD"]["used"] == 0.0


async def test_a_market_order_on_a_swap_becomes_a_position_in_contracts(client: Any) -> None:
    """0.1 BTC are ten contracts of 0.01; notional and average price agree."""
    await client.load_markets()
    created = await client.create_order(SWAP, "market", "buy", 10)
    order = await client.fetch_order(created["id"], SWAP)
    assert (order["status"], order["filled"], order["remaining"]) == ("closed", 10.0, 0.0)
    (position,) = await client.fetch_positions()
    assert (position["symbol"], position["side"], position["contracts"]) == (SWAP, "long", 10.0)
    assert position["contractSize"] == 0.01
    assert position["entryPrice"] == pytest.approx(order["average"])
    assert position["notional"] == pytest.approx(0.1 * position["markPrice"], rel=1e-6)


async def test_a_spot_market_buy_in_base_currency_changes_both_balances(client: Any) -> None:
    """What was bought less the fee comes in, what it cost goes out."""
    created = await client.create_order(SPOT, "market", "buy", 0.1)
    order = await client.fetch_order(created["id"], SPOT)
    balance = await client.fetch_balance()
    assert order["filled"] == 0.1
    fee = order["fee"]
    bought = 0.1 - (fee["cost"] if fee["currency"] == "BTC" else 0)
    paid = order["cost"] + (fee["cost"] if fee["currency"] == "USD" else 0)
    assert balance["BTC"]["total"] == pytest.approx(bought)
    assert balance["USD"]["total"] == pytest.approx(100_000 - paid)


async def test_an_order_is_found_by_its_id_and_by_its_client_id(client: Any) -> None:
    """The lookup that decides whether an order may be sent again."""
    client_id = uuid.uuid4().hex
    created = await limit_far_below(client, clientOrderId=client_id)
    by_id = await client.fetch_order(created["id"], SWAP)
    by_client_id = await client.fetch_order("", SWAP, {"clOrdId": client_id})
    assert by_id["id"] == by_client_id["id"] == created["id"]
    assert by_id["clientOrderId"] == client_id
    assert by_id["status"] == "open"
    assert by_id["info"]["state"] == "live"


async def test_an_order_is_canceled_by_its_id_and_by_its_client_id(client: Any) -> None:
    """And says so afterwards."""
    client_id = uuid.uuid4().hex
    first = await limit_far_below(client)
    await client.cancel_order(first["id"], SWAP)
    second = await limit_far_below(client, clientOrderId=client_id)
    await client.cancel_order("", SWAP, {"clOrdId": client_id})
    for order in (first, second):
        assert (await client.fetch_order(order["id"], SWAP))["status"] == "canceled"
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


async def test_orders_are_created_and_canceled_in_batches(client: Any) -> None:
    """Each order of a batch has its own answer."""
    await client.load_markets()
    last = (await client.fetch_ticker(SWAP))["last"]
    price = float(client.price_to_precision(SWAP, last * 0.97))
    ids = [uuid.uuid4().hex for _ in range(3)]
    wanted = [
        {"symbol": SWAP, "type": "limit", "side": "buy", "amount": 1, "price": price, "params": {"clientOrderId": id_}}
        for id_ in ids
    ]
    created = await client.create_orders(wanted)
    assert [order["clientOrderId"] for order in created] == ids
    assert {order["clientOrderId"] for order in await client.fetch_open_orders(SWAP)} == set(ids)
    canceled = await client.cancel_orders([order["id"] for order in created], SWAP)
    assert len(canceled) == 3
    assert await client.fetch_open_orders(SWAP) == []


async def test_a_batch_may_succeed_in_part(client: Any) -> None:
    """One bad order does not take the good ones with it."""
    await client.load_markets()
    last = (await client.fetch_ticker(SWAP))["last"]
    price = float(client.price_to_precision(SWAP, last * 0.97))
    base = {"symbol": SWAP, "type": "limit", "side": "buy", "price": price}
    results = await client.create_orders([{**base, "amount": 1}, {**base, "amount": 10_000_000}])
    assert [result["info"]["sCode"] == "0" for result in results] == [True, False]
    assert len(await client.fetch_open_orders()) == 1


async def test_open_orders_are_listed_for_one_market_or_all(client: Any) -> None:
    """Both ways the desk asks."""
    await limit_far_below(client, SWAP)
    await limit_far_below(client, SPOT, 0.01)
    assert [order["symbol"] for order in await client.fetch_open_orders(SPOT)] == [SPOT]
    assert {order["symbol"] for order in await client.fetch_open_orders()} == {SPOT, SWAP}


async def test_my_trades_are_the_fills_of_my_orders(client: Any) -> None:
    """Quantity, price and fee add up to what the order says."""
    created = await client.create_order(SWAP, "market", "buy", 3)
    order = await client.fetch_order(created["id"], SWAP)
    trades = await client.fetch_my_trades(SWAP)
    assert {trade["order"] for trade in trades} == {created["id"]}
    assert sum(trade["amount"] for trade in trades) == 3
    assert sum(trade["fee"]["cost"] for trade in trades) == pytest.approx(order["fee"]["cost"])
    assert len({trade["id"] for trade in trades}) == len(trades)
    assert [trade["id"] for trade in await client.fetch_order_trades(created["id"], SWAP)] == [
        trade["id"] for trade in trades
    ]


async def test_finished_orders_move_to_the_history(client: Any) -> None:
    """Filled and canceled ones alike; a resting one stays out."""
    filled = await client.create_order(SWAP, "market", "buy", 1)
    canceled = await limit_far_below(client)
    await client.cancel_order(canceled["id"], SWAP)
    await limit_far_below(client)
    closed = await client.fetch_closed_orders(SWAP)
    assert [order["id"] for order in closed] == [filled["id"]]
    assert [order["id"] for order in await client.fetch_canceled_orders(SWAP)] == [canceled["id"]]


async def test_set_leverage_shows_in_the_position_and_in_the_margin(client: Any) -> None:
    """Ten times leverage binds a tenth."""
    await client.load_markets()
    await client.set_leverage(10, SWAP, {"mgnMode": "cross"})
    leverage = await client.fetch_leverage(SWAP, {"marginMode": "cross"})
    assert leverage["longLeverage"] == 10
    await client.create_order(SWAP, "market", "buy", 10)
    (position,) = await client.fetch_positions([SWAP])
    assert position["leverage"] == 10
    assert position["initialMargin"] == pytest.approx(position["notional"] / 10, rel=1e-6)


async def test_leverage_beyond_the_maximum_is_refused(client: Any) -> None:
    """With a message that names the reason."""
    await client.load_markets()
    with pytest.raises(ccxt.ExchangeError, match="59102"):
        await client.private_post_account_set_leverage({"instId": "BTC-USD-SWAP", "lever": "1000", "mgnMode": "cross"})


async def test_cancel_all_after_cancels_when_nobody_calls_again(client: Any, clock: ManualClock) -> None:
    """The dead man's switch, on the venue's own clock."""
    order = await limit_far_below(client)
    answer = await client.cancel_all_orders_after(10_000)
    assert int(answer["data"][0]["triggerTime"]) > int(answer["data"][0]["ts"])
    clock.advance(9)
    assert (await client.fetch_order(order["id"], SWAP))["status"] == "open"
    clock.advance(2)
    assert (await client.fetch_order(order["id"], SWAP))["status"] == "canceled"


async def test_a_disarmed_switch_cancels_nothing(client: Any, clock: ManualClock) -> None:
    """A timeout of zero takes it back."""
    order = await limit_far_below(client)
    await client.cancel_all_orders_after(10_000)
    await client.cancel_all_orders_after(0)
    clock.advance(30)
    assert (await client.fetch_order(order["id"], SWAP))["status"] == "open"


Wrong = Callable[[Any], None]


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


async def test_the_account_introduces_itself(client: Any) -> None:
    """Ids, fees, mode and status."""
    await client.load_markets()
    (account,) = await client.fetch_accounts()
    assert account["id"]
    assert (await client.fetch_position_mode())["hedged"] is False
    fee = await client.fetch_trading_fee(SWAP)
    assert 0 < fee["maker"] < fee["taker"] < 0.01
    assert (await client.fetch_status())["status"] == "ok"
    assert abs(await client.fetch_time() - time.time() * 1000) < 60_000
    assert (await client.fetch_funding_rate(SWAP))["fundingRate"] is not None
    assert (await client.fetch_mark_price(SWAP))["markPrice"] > 0
    assert await client.fetch_currencies() is not None


async def test_the_ledger_tells_every_movement_of_cash(client: Any) -> None:
    """Bills add up to the balance. ccxt's fetch_ledger asks OKX for one kind of market only, transfers left out."""
    await client.create_order(SWAP, "market", "buy", 10)
    assert await client.fetch_ledger("USD") == []
    assert await client.fetch_ledger("USD") == []
    assert len(await client.fetch_ledger("USD", params={"type": "swap"})) == 1
    entries = client.parse_ledger((await client.private_get_account_bills({"ccy": "USD"}))["data"])
    total = sum(float(entry["info"]["balChg"]) for entry in entries)
    balance = await client.fetch_balance()
    cash = next(row["cashBal"] for row in balance["info"]["data"][0]["details"] if row["ccy"] == "USD")
    assert total == pytest.approx(float(cash))


async def test_orders_are_paged_by_their_ids(client: Any) -> None:
    """after: older than; before: newer than; limit."""
    orders = [await limit_far_below(client) for _ in range(5)]
    newest_first = [order["id"] for order in reversed(orders)]
    page = await client.private_get_trade_orders_pending({"limit": "2"})
    assert [row["ordId"] for row in page["data"]] == newest_first[:2]
    older = await client.private_get_trade_orders_pending({"after": newest_first[1]})
    assert [row["ordId"] for row in older["data"]] == newest_first[2:]
    newer = await client.private_get_trade_orders_pending({"before": newest_first[3]})
    assert [row["ordId"] for row in newer["data"]] == newest_first[:3]


async def test_an_unknown_path_is_404_and_a_wrong_method_405(client: Any, paper: Any) -> None:
    """In OKX's envelope, so that ccxt can read it."""
    session = client.session or client.open() or client.session
    async with session.get(f"{paper.url}/api/v5/no/such/path") as response:
        assert response.status == 404
        assert (await response.json())["error_message"] == "Not Found"
    async with session.get(f"{paper.url}/api/v5/trade/cancel-order") as response:
        assert response.status == 405
        assert (await response.json())["code"] == "50115"
