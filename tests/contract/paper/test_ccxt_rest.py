"""Unmodified ccxt.okx over REST: what a desk asks of an exchange all day."""

from __future__ import annotations

import itertools
import time
import uuid
from typing import Any

import pytest

from kontor.paper.clock import ManualClock
from tests.contract.paper.resting import SPOT, SWAP, limit_far_below, price_far_below


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


async def test_orders_are_created_and_canceled_in_batches(client: Any) -> None:
    """Each order of a batch has its own answer."""
    await client.load_markets()
    price = await price_far_below(client)
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
    price = await price_far_below(client)
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
