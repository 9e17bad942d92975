"""Balances, positions, fills and tickers as the venue's payloads have them, odd ones included."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from kontor.domain.account import CurrencyBalance, PositionSide
from kontor.domain.fill import FillCause
from kontor.domain.market import Market
from kontor.domain.order import Side
from kontor.exchange.accounts import is_flat, parse_balance, parse_position
from kontor.exchange.fills import parse_fill
from kontor.exchange.numbers import decimal, moment, positive
from kontor.exchange.tickers import parse_ticker

from .conftest import NOW

EPOCH_MS = int(NOW.timestamp() * 1000)


def test_a_balance_is_that_of_the_capital_currency_with_the_others_beside_it() -> None:
    """Free is the venue's own figure; used is what remains."""
    raw = {
        "info": {},
        "timestamp": 1,
        "free": {"USD": 90.5},
        "total": {},
        "used": {},
        "USD": {"free": 90.5, "used": None, "total": 100.0},
        "BTC": {"free": None, "used": 0.1, "total": 0.5},
        "ETH": {"free": 0.0, "used": 0.0, "total": 0.0},
    }
    balance = parse_balance(raw, "USD", NOW)
    assert (balance.currency, balance.total, balance.free, balance.used) == (
        "USD",
        Decimal(100),
        Decimal("90.5"),
        Decimal("9.5"),
    )
    assert balance.at == NOW
    assert balance.currencies == {
        "USD": CurrencyBalance(Decimal("90.5"), Decimal("9.5"), Decimal(100)),
        "BTC": CurrencyBalance(Decimal("0.4"), Decimal("0.1"), Decimal("0.5")),
    }


def test_a_currency_the_venue_does_not_list_is_one_it_holds_nothing_of() -> None:
    """A fresh account has an empty list."""
    balance = parse_balance({"info": {}}, "USD", NOW)
    assert (balance.total, balance.free, balance.currencies) == (Decimal(0), Decimal(0), {})


def raw_position(**changes: Any) -> dict[str, Any]:
    """A ccxt position: three contracts short."""
    return {
        "symbol": "BTC/USD:USD",
        "side": "short",
        "contracts": 3.0,
        "entryPrice": 60000.0,
        "markPrice": 61000.0,
        "unrealizedPnl": -30.0,
        "notional": -1830.0,
        "leverage": 5.0,
        "marginMode": "cross",
        **changes,
    }


def test_a_position_is_base_currency_and_positive_with_a_side(swap: Market) -> None:
    """Its notional too, whatever sign the venue gives it."""
    position = parse_position(raw_position(), swap, NOW)
    assert (position.side, position.quantity, position.signed_quantity) == (
        PositionSide.SHORT,
        Decimal("0.03"),
        Decimal("-0.03"),
    )
    assert (position.notional, position.unrealized_pnl, position.leverage) == (Decimal(1830), Decimal(-30), Decimal(5))


def test_a_position_without_side_or_notional_says_both_by_its_figures(swap: Market) -> None:
    """One-way venues give a signed number of contracts."""
    position = parse_position(raw_position(side=None, contracts=-3.0, notional=None), swap, NOW)
    assert (position.side, position.quantity, position.notional) == (PositionSide.SHORT, Decimal("0.03"), Decimal(1830))
    blind = parse_position(raw_position(notional=None, markPrice=None, leverage=None), swap, NOW)
    assert (blind.notional, blind.mark_price, blind.leverage) == (None, None, None)


def test_a_notional_is_quantity_times_mark_price_where_that_is_known(swap: Market) -> None:
    """A real OKX answer gave 0.2 USD for two litecoins; without a mark price the venue's word is all there is."""
    assert parse_position(raw_position(notional=0.2), swap, NOW).notional == Decimal(1830)
    assert parse_position(raw_position(notional=-1800.0, markPrice=None), swap, NOW).notional == Decimal(1800)


@pytest.mark.parametrize(("contracts", "flat"), [(0.0, True), (None, True), ("0", True), (1.0, False), (-1.0, False)])
def test_a_closed_position_is_flat(contracts: Any, flat: bool) -> None:
    """Venues go on listing them."""
    assert is_flat(raw_position(contracts=contracts)) is flat


def raw_trade(trade_id: str = "7", at: int = EPOCH_MS, **changes: Any) -> dict[str, Any]:
    """A ccxt trade of two contracts."""
    return {
        "id": trade_id,
        "symbol": "BTC/USD:USD",
        "order": "123",
        "side": "sell",
        "amount": 2.0,
        "price": 60000.0,
        "timestamp": at,
        "takerOrMaker": "maker",
        "fee": {"cost": -0.05, "currency": "USD"},
        "info": {"clOrdId": "k1"},
        **changes,
    }


def test_a_fill_carries_what_the_ledger_needs(swap: Market) -> None:
    """A rebate is a negative fee."""
    fill = parse_fill(raw_trade(), swap, NOW)
    assert (fill.trade_id, fill.venue_order_id, fill.client_order_id) == ("7", "123", "k1")
    assert (fill.side, fill.quantity, fill.price) == (Side.SELL, Decimal("0.02"), Decimal(60000))
    assert (fill.fee, fill.fee_currency, fill.is_maker, fill.filled_at) == (Decimal("-0.05"), "USD", True, NOW)


def test_a_fill_with_null_fields_is_still_a_fill(swap: Market) -> None:
    """Fee, maker flag and our id are often missing."""
    fill = parse_fill(raw_trade(fee=None, takerOrMaker=None, info=None, timestamp=None, order=None), swap, NOW)
    assert (fill.fee, fill.is_maker, fill.client_order_id, fill.filled_at) == (None, None, None, NOW)


@pytest.mark.parametrize("missing", ["id", "amount", "price"])
def test_a_trade_that_cannot_be_named_or_measured_is_an_error(swap: Market, missing: str) -> None:
    """It would be booked as something else."""
    with pytest.raises(KeyError):
        parse_fill({**raw_trade(), missing: None}, swap, NOW)


def test_a_ticker_without_a_price_is_a_ticker_without_a_price() -> None:
    """Null, zero and missing are the same: the old price stays, with its age."""
    for last in (None, 0, 0.0, "", float("nan")):
        ticker = parse_ticker({"symbol": "BTC/USD", "last": last, "close": None, "timestamp": None, "bid": 0}, NOW)
        assert (ticker.last, ticker.last_at, ticker.bid) == (None, NOW, None)


def test_a_ticker_carries_the_time_of_the_trade_and_the_raw_payload() -> None:
    """Filters read keys such as info.volumeUsd24h."""
    raw = {"symbol": "BTC/USD", "last": 1.5e-05, "bid": 1.4e-05, "ask": 1.6e-05, "timestamp": EPOCH_MS - 1000}
    ticker = parse_ticker({**raw, "info": {"volumeUsd24h": "5"}}, NOW)
    assert (ticker.last, ticker.ask) == (Decimal("0.000015"), Decimal("0.000016"))
    assert ticker.last_at == NOW - timedelta(seconds=1)
    assert ticker.raw["info"]["volumeUsd24h"] == "5"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (0.1, Decimal("0.1")),
        (1e-08, Decimal("0.00000001")),
        ("0.10", Decimal("0.1")),
        (100.0, Decimal(100)),
        (7, Decimal(7)),
        (None, None),
        ("", None),
        ("abc", None),
        (float("nan"), None),
        (float("inf"), None),
        ("NaN", None),
        (True, None),
    ],
)
def test_numbers_become_the_decimals_the_venue_wrote(value: Any, found: Decimal | None) -> None:
    """0.1 is a tenth, not 0.1000000000000000055511151231257827."""
    assert decimal(value) == found
    assert str(decimal(100.0)) == "100"


def test_moments_and_positive_numbers_know_nothing() -> None:
    """Zero is how venues write "none"."""
    assert (moment(None), moment(""), moment(0)) == (None, None, None)
    assert moment(EPOCH_MS) == NOW
    assert (positive(0), positive("-1"), positive("2")) == (None, None, Decimal(2))


@pytest.mark.parametrize(("told", "paid"), [(-0.001674387, "0.001674387"), (0.0002, "-0.0002"), (0.0, "0")])
def test_a_fee_from_okxs_orders_channel_is_positive_when_we_pay(swap: Market, told: float, paid: str) -> None:
    """Ccxt 4.5.90 passes that channel's sign on; the books then believed in a rebate, and every purchase was drift."""
    raw = raw_trade(fee={"cost": told, "currency": "ETC"}, info={"fillFee": str(told), "tradeId": "1"})
    assert parse_fill(raw, swap, NOW).fee == Decimal(paid)


def test_a_liquidation_is_known_by_the_venues_own_mark(swap: Market) -> None:
    """OKX numbers the kinds of trades; nobody ordered those."""
    marks = {"104": FillCause.LIQUIDATION, "100": FillCause.LIQUIDATION, "125": FillCause.AUTO_DELEVERAGING, "1": None}
    found = {mark: parse_fill(raw_trade(info={"subType": mark}), swap, NOW).cause for mark in marks}
    assert found == marks
    assert parse_fill(raw_trade(info={"execType": "BustTrade"}), swap, NOW).cause is FillCause.LIQUIDATION
    assert parse_fill(raw_trade(info={"execType": "T"}), swap, NOW).cause is None
