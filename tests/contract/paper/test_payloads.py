"""Our payloads held against real ones: the same field names, the same JSON types.

The real payloads lie beside the repository and are not part of it; without them these checks are skipped, by name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "okx"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real OKX payloads (../shared/data/okx) are not here")

SWAP, SPOT = "BTC/USD:USD", "BTC/USD"
# Fields of real payloads that say something this exchange has not got.
LEFT_OUT = {
    "freq",
    "instCategory",
    "longPosRemainingQuota",
    "maxPlatOICoinLmt",
    "maxPlatOILmt",
    "method",
    "posLmtAmt",
    "posLmtPct",
    "seriesId",
    "shortPosRemainingQuota",
    "hedgedPos",
    "nonSettleAvgPx",
    "settledPnl",
}


def recorded(method: str) -> list[dict[str, Any]]:
    """The data rows of every recorded answer to a method."""
    cases = json.loads((DATA / "response.json").read_text())["methods"][method]
    return [row for case in cases for row in case["httpResponse"].get("data", [])]


def pushed(method: str) -> list[Any]:
    """The data rows of every recorded push."""
    cases = json.loads((DATA / "ws.json").read_text())["methods"][method]
    messages = [message for case in cases for message in case["messages"]]
    return [row for message in messages for row in message.get("data", [])]


def shape(value: Any) -> Any:
    """A value's JSON type; of lists, the type of what they hold."""
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def differences(ours: dict[str, Any], real: list[dict[str, Any]]) -> list[str]:
    """Fields every real row has and ours has not, and fields whose JSON types differ."""
    always = set.intersection(*(set(row) for row in real)) - LEFT_OUT
    missing = [f"{name} is missing" for name in sorted(always - set(ours))]
    for name, value in ours.items():
        kinds = [shape(row[name]) for row in real if name in row]
        if kinds and shape(value) not in kinds and [] not in (shape(value), *kinds):
            missing.append(f"{name} is {shape(value)}, really {kinds[0]}")
    return missing


async def test_order_acknowledgements(client: Any) -> None:
    """What create_order gets back, envelope included."""
    await client.load_markets()
    body = {"instId": "BTC-USD-SWAP", "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "1"}
    answer = await client.private_post_trade_order(body)
    real = [row for row in recorded("createOrder") if "ordId" in row]
    assert differences(answer["data"][0], real) == []
    assert {"code", "data", "msg", "inTime", "outTime"} == set(answer)


async def test_algo_orders(client: Any) -> None:
    """Acknowledgements and rows of stops."""
    await client.load_markets()
    await client.create_order(SWAP, "market", "buy", 10)
    body = {"instId": "BTC-USD-SWAP", "tdMode": "cross", "side": "sell", "ordType": "conditional", "sz": "1"}
    body |= {"slTriggerPx": "1000", "slOrdPx": "-1", "clOrdId": "abc"}
    answer = await client.private_post_trade_order_algo(body)
    assert differences(answer["data"][0], [row for row in recorded("createOrder") if "algoId" in row]) == []
    rows = (await client.private_get_trade_orders_algo_pending({"ordType": "conditional"}))["data"]
    real = [row for row in recorded("fetchOpenOrders") if row.get("algoId") and "slTriggerPx" in row]
    assert differences(rows[0], [row for row in real if row["ordType"] == "conditional"]) == []
    answer = await client.private_post_trade_cancel_algos([{"instId": "BTC-USD-SWAP", "algoClOrdId": "abc"}])
    assert differences(answer["data"][0], [row for row in recorded("cancelOrders") if "algoId" in row]) == []


async def test_orders_and_fills(client: Any) -> None:
    """Open, finished, and their fills."""
    await client.load_markets()
    created = await client.create_order(SWAP, "market", "buy", 1)
    order = await client.private_get_trade_order({"instId": "BTC-USD-SWAP", "ordId": created["id"]})
    assert differences(order["data"][0], recorded("fetchOrder")) == []
    closed = await client.private_get_trade_orders_history({"instType": "SWAP"})
    assert differences(closed["data"][0], recorded("fetchClosedOrders")) == []
    fills = await client.private_get_trade_fills()
    assert differences(fills["data"][0], recorded("fetchMyTrades")) == []
    last = (await client.fetch_ticker(SPOT))["last"]
    await client.create_order(SPOT, "limit", "buy", 0.01, float(client.price_to_precision(SPOT, last * 0.97)))
    pending = await client.private_get_trade_orders_pending()
    real = [row for row in recorded("fetchOpenOrders") if row.get("ordType") != "conditional"]
    assert differences(pending["data"][0], real) == []


async def test_balance_and_positions(client: Any) -> None:
    """Totals, currencies, and a swap position."""
    await client.load_markets()
    await client.create_order(SWAP, "market", "buy", 1)
    balance = (await client.private_get_account_balance())["data"][0]
    real = [row for row in recorded("fetchBalance") if "details" in row]
    assert differences(balance, real) == []
    assert differences(balance["details"][0], [detail for row in real for detail in row["details"]]) == []
    position = (await client.private_get_account_positions())["data"][0]
    open_ones = [row for row in recorded("fetchPositions") if "pos" in row]
    assert differences(position, open_ones + recorded("fetchPosition")) == []


async def test_account_bills_time_and_status(client: Any) -> None:
    """The smaller ones."""
    assert differences((await client.private_get_account_config())["data"][0], recorded("fetchAccounts")) == []
    assert differences((await client.private_get_account_bills())["data"][0], recorded("fetchLedger")) == []
    assert differences((await client.public_get_public_time())["data"][0], recorded("fetchTime")) == []
    assert (await client.public_get_system_status())["data"] == recorded("fetchStatus")


async def test_market_data(client: Any) -> None:
    """Tickers, books, candles, trades."""
    ticker = (await client.public_get_market_ticker({"instId": "BTC-USD"}))["data"][0]
    assert differences(ticker, recorded("fetchTicker")) == []
    for inst_id in ("BTC-USD", "BTC-USD-SWAP"):
        book = (await client.public_get_market_books({"instId": inst_id, "sz": "2"}))["data"][0]
        assert differences(book, recorded("fetchOrderBook")) == []
        assert shape(book["asks"][0]) == shape(recorded("fetchOrderBook")[0]["asks"][0])
        assert len(book["asks"][0]) == len(recorded("fetchOrderBook")[0]["asks"][0])
    candle = (await client.public_get_market_candles({"instId": "BTC-USD"}))["data"][0]
    assert [type(part) for part in candle] == [type(part) for part in recorded("fetchOHLCV")[0]]
    trade = (await client.public_get_market_trades({"instId": "BTC-USD"}))["data"][0]
    assert differences(trade, recorded("fetchTrades")) == []


async def test_instruments(client: Any) -> None:
    """Spot and linear swaps, as the market list has them."""
    markets = json.loads((DATA / "markets.json").read_text()).values()
    for kind in ("SPOT", "SWAP"):
        real = [market["info"] for market in markets if market["info"]["instType"] == kind]
        ours = (await client.public_get_public_instruments({"instType": kind}))["data"]
        assert [differences(row, real) for row in ours[:3]] == [[], [], []]


async def test_pushed_messages(paper: Any) -> None:
    """Tickers, candles, trades and books over the socket."""
    wanted = [
        ("public", "tickers", "watchTicker"),
        ("business", "candle1m", "watchOHLCV"),
        ("public", "trades", "watchTrades"),
        ("public", "books5", "watchOrderBook"),
    ]
    async with aiohttp.ClientSession() as session:
        for address, channel, method in wanted:
            async with session.ws_connect(f"{paper.ws_url}/{address}") as socket:
                await socket.send_json({"op": "subscribe", "args": [{"channel": channel, "instId": "BTC-USD"}]})
                confirmed = await socket.receive_json()
                assert set(confirmed) == {"event", "arg", "connId"}
                message = await socket.receive_json()
                assert set(message) == {"arg", "data"}
                row, real = message["data"][0], pushed(method)
                if channel == "candle1m":
                    assert [type(part) for part in row] == [type(part) for part in real[0]]
                else:
                    assert differences(row, real) == []
