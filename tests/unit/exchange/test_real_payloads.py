"""Real OKX payloads through the adapter: every field that came over a wire once, nulls and oddities included.

They lie beside the repository and are not part of it; a clone elsewhere skips these tests.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kontor.domain.account import PositionSide
from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.exchange.adapter import CcxtExchange
from kontor.exchange.markets import parse_markets
from kontor.ports import ExchangeSettings
from kontor.resilience.clock import VirtualClock

from .conftest import NOW

DATA = Path(__file__).parents[3].parent / "shared" / "data" / "okx"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real payloads at {DATA}")


def payload(method: str, description: str) -> Any:
    """What OKX answered once."""
    methods: Mapping[str, Any] = json.loads((DATA / "response.json").read_text())["methods"]
    return next(case["httpResponse"] for case in methods[method] if case["description"] == description)


@pytest.fixture
def okx() -> CcxtExchange:
    """An adapter with the real markets and no network."""
    settings = ExchangeSettings("okx", "main", "key", "secret", "pass", capital_currency="USDT")
    exchange = CcxtExchange(settings, clock=VirtualClock(datetime(2024, 2, 1, tzinfo=UTC)))
    client = exchange.connection.client
    client.set_markets(list(json.loads((DATA / "markets.json").read_text()).values()))
    exchange.connection.markets = parse_markets(client.markets, client.precisionMode)
    return exchange


def answer(exchange: CcxtExchange, by_path: Mapping[str, Any]) -> None:
    """Answer requests whose path contains a key with its payload."""
    time = payload("fetchTime", "Fetch time")

    async def fetch(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        return next((found for part, found in {**by_path, "public/time": time}.items() if part in url), None)

    exchange.connection.client.fetch = fetch


async def test_markets_keep_spot_and_linear_swaps(okx: CcxtExchange) -> None:
    """Inverse swaps and options are left out; contract sizes from 0.01 to 1000."""
    markets = await okx.load_markets()
    assert {"BTC/USDT", "BTC/USDT:USDT", "DOGE/USDT:USDT"} <= markets.keys()
    assert not {"BTC/USD:BTC", "BTC/USD:BTC-241227-60000-P"} & markets.keys()
    assert markets["BTC/USDT:USDT"].quantity_step == Decimal("0.0001")
    assert markets["DOGE/USDT:USDT"].quantity_step == Decimal(10)
    assert markets["BTC/USDT"].min_quantity == Decimal("0.00001")


async def test_a_real_balance(okx: CcxtExchange) -> None:
    """Dozens of fields, many of them empty strings."""
    answer(okx, {"account/balance": payload("fetchBalance", "spot balance")})
    balance = await okx.fetch_balance()
    assert balance.currency == "USDT"
    assert balance.total > 0
    assert all(held.total == held.free + held.used for held in balance.currencies.values())


@pytest.mark.parametrize(
    ("description", "symbol", "quantity"),
    [
        ("fetch position", "LTC/USDT:USDT", Decimal(2)),
        ("fetchPosition linear isolated swap", "BTC/USDT:USDT", Decimal("0.0001")),
    ],
)
async def test_real_positions(okx: CcxtExchange, description: str, symbol: str, quantity: Decimal) -> None:
    """0.01 contracts of 0.01 BTC are a ten-thousandth of a bitcoin."""
    answer(okx, {"account/positions": payload("fetchPosition", description)})
    [position] = await okx.fetch_positions()
    assert (position.symbol, position.quantity, position.side) == (symbol, quantity, PositionSide.LONG)
    assert position.entry_price > 0
    assert position.notional == pytest.approx(
        position.quantity * (position.mark_price or Decimal(0)), rel=Decimal("0.02")
    )


async def test_a_real_inverse_position_is_left_out_and_said(
    okx: CcxtExchange, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody trades by hand on the same account."""
    answer(okx, {"account/positions": payload("fetchPosition", "Inverse swap cross fetch position")})
    assert await okx.fetch_positions() == []
    assert await okx.fetch_positions() == []
    assert caplog.text.count("left_out what=position symbol=BTC/USD:BTC") == 1


async def test_a_real_order(okx: CcxtExchange) -> None:
    """Filled, on spot."""
    answer(okx, {"trade/order": payload("fetchOrder", "fetch spot order")})
    report = await okx.fetch_order("LTC/USDT", venue_order_id="1339107111507525632")
    assert (report.state, report.quantity, report.filled_quantity) == (
        OrderState.FILLED,
        Decimal("0.1"),
        Decimal("0.1"),
    )
    assert report.average_price == Decimal("101.58")
    assert report.venue_order_id


async def test_a_real_open_order_with_stops_attached(okx: CcxtExchange) -> None:
    """On a swap of 100 ADA a contract."""
    answer(
        okx,
        {"orders-pending": payload("fetchOpenOrders", "fetch swap limit open order with take profit and stop loss")},
    )
    [report] = await okx.fetch_open_orders("ADA/USDT:USDT")
    assert (report.state, report.order_type, report.filled_quantity) == (
        OrderState.ACCEPTED,
        OrderType.LIMIT,
        Decimal(0),
    )
    assert report.quantity % 100 == 0


async def test_a_real_fill(okx: CcxtExchange) -> None:
    """The fee is paid in the coin that was bought."""
    answer(okx, {"fills-history": payload("fetchMyTrades", "Fetch spot trade")})
    fills = await okx.fetch_fills()
    assert {(fill.symbol, fill.side, fill.quantity, fill.price) for fill in fills} == {
        ("LTC/USDT", Side.BUY, Decimal("0.1"), Decimal("67.84"))
    }
    assert fills[0].fee == Decimal("0.0001")
    assert fills[0].fee_currency == "LTC"


async def test_real_candles(okx: CcxtExchange) -> None:
    """Newest first on the wire, oldest first here."""
    answer(okx, {"candles": payload("fetchOHLCV", "spot ohlcv with limit and since")})
    candles = await okx.fetch_candles("BTC/USDT", "1h", since=datetime(2024, 1, 30, 16, tzinfo=UTC), limit=3)
    assert candles.shape == (3, 6)
    assert (candles[1:, 0] - candles[:-1, 0] == 3_600_000).all()
    assert candles[-1].tolist() == [1706637600000, 43398.6, 43493.9, 43279.9, 43373.9, 5070.79611732]


async def test_a_real_ticker_passes_its_raw_fields_on(okx: CcxtExchange) -> None:
    """One market at a time and all at once give the same."""
    answer(okx, {"market/ticker": payload("fetchTicker", "public spot ticker")})
    tickers = await okx.fetch_tickers(["BTC/USDT"])
    assert tickers["BTC/USDT"].last == Decimal("73384.8")
    assert tickers["BTC/USDT"].raw["info"]["instId"] == "BTC-USDT"


async def test_a_real_receipt(okx: CcxtExchange) -> None:
    """Two ids and "Order placed"."""
    receipt = payload("createOrder", "type2 & type3 together")
    answer(okx, {"batch-orders": receipt})
    order = Order("k1", "main", "BTC/USDT:USDT", Side.BUY, OrderType.MARKET, Decimal("0.01"), NOW)
    report = await okx.create_order(order)
    assert (report.venue_order_id, report.state) == (receipt["data"][0]["ordId"], OrderState.ACCEPTED)
    assert (report.quantity, report.client_order_id) == (Decimal("0.01"), "k1")
