"""Markets: steps and limits in base currency, whatever the venue counts in."""

from decimal import Decimal
from typing import Any

import pytest
from ccxt.base.decimal_to_precision import DECIMAL_PLACES, SIGNIFICANT_DIGITS, TICK_SIZE
from hypothesis import given
from hypothesis import strategies as st

from kontor.domain.market import Market, MarketKind
from kontor.errors import NotSupported, Rejected
from kontor.exchange.markets import parse_market, parse_markets, to_base, to_contracts, unknown_symbol

from .conftest import made, raw_market, raw_spot


def test_a_swap_counts_in_base_currency(swap: Market) -> None:
    """One contract is 0.01 BTC: step, minimum and maximum are a hundredth of the venue's figures."""
    assert (swap.kind, swap.contract_size) == (MarketKind.SWAP, Decimal("0.01"))
    assert (swap.quantity_step, swap.min_quantity, swap.max_quantity) == (Decimal("0.01"), Decimal("0.01"), Decimal(10))
    assert (swap.price_step, swap.min_cost, swap.max_leverage) == (Decimal("0.1"), None, Decimal(100))
    assert (to_base(3, swap), to_contracts(Decimal("0.03"), swap)) == (Decimal("0.03"), Decimal(3))


def test_contracts_of_a_thousand_coins_are_multiplied() -> None:
    """The other end of the scale: DOGE contracts hold 1000 coins and come in hundredths."""
    doge = made(
        raw_market(contractSize=1000, precision={"amount": 0.01, "price": 1e-05}, limits={"amount": {"min": 0.01}})
    )
    assert (doge.quantity_step, doge.min_quantity, doge.max_quantity) == (Decimal(10), Decimal(10), None)
    assert (to_base("1.23", doge), to_contracts(Decimal(1230), doge)) == (Decimal(1230), Decimal("1.23"))


def test_spot_counts_as_it_is(spot: Market) -> None:
    """No contracts there; a leverage limit means margin, which is not traded."""
    assert (spot.kind, spot.contract_size, spot.settle, spot.max_leverage) == (MarketKind.SPOT, Decimal(1), None, None)
    assert (spot.quantity_step, spot.min_quantity, spot.min_cost) == (
        Decimal("0.00000001"),
        Decimal("0.00001"),
        Decimal(5),
    )


@pytest.mark.parametrize(
    ("mode", "precision", "step"),
    [
        (TICK_SIZE, 1e-08, Decimal("0.00000001")),
        (TICK_SIZE, "0.0050", Decimal("0.005")),
        (TICK_SIZE, None, Decimal(0)),
        (DECIMAL_PLACES, 3, Decimal("0.001")),
        (DECIMAL_PLACES, 0, Decimal(1)),
        (DECIMAL_PLACES, -2, Decimal(100)),
        (SIGNIFICANT_DIGITS, 5, Decimal(0)),
    ],
)
def test_steps_follow_the_exchanges_precision_mode(mode: int, precision: Any, step: Decimal) -> None:
    """Significant digits are no step: rounding to one is left to ccxt then."""
    assert made(raw_spot(precision={"amount": 1e-08, "price": precision}), mode).price_step == step


@pytest.mark.parametrize(
    "raw",
    [
        raw_market(linear=False, inverse=True, settle="BTC", contractSize=100),
        raw_market(linear=False, inverse=False, settle="ETH"),
        raw_market(swap=False, type="future", future=True),
        raw_market(swap=False, type="option", option=True),
        raw_market(contractSize=None),
        raw_spot(base="", symbol="ETH-USD_UM-SWAP"),
    ],
    ids=["inverse", "quanto", "future", "option", "unknown contract size", "preopen placeholder"],
)
def test_markets_whose_value_is_not_quantity_times_price_are_left_out(raw: dict[str, Any]) -> None:
    """Every limit of the desk would be computed wrongly for them."""
    assert parse_market(raw, TICK_SIZE) is None
    assert parse_markets({"a": raw, "b": raw_spot()}, TICK_SIZE).keys() == {"BTC/USD"}


def test_a_market_without_a_word_on_being_active_is_active() -> None:
    """Many venues list only what is open."""
    assert made(raw_spot(active=None)).active
    assert not made(raw_spot(active=False)).active


def test_an_unknown_symbol_is_told_with_the_nearest_one() -> None:
    """Mostly it is a slip of the finger."""
    error = unknown_symbol("BTC/USDX", "okx", None, ["BTC/USD", "ETH/USD"])
    assert type(error) is Rejected
    assert str(error) == "okx has no market BTC/USDX; did you mean BTC/USD?"


def test_a_symbol_that_is_left_out_is_told_with_the_reason() -> None:
    """It exists, only not here."""
    error = unknown_symbol("BTC/USD:BTC", "okx", {"inverse": True, "type": "swap"}, [])
    assert type(error) is NotSupported
    assert str(error) == "okx BTC/USD:BTC is an inverse contract; Kontor trades spot and linear swaps only"


@given(
    steps=st.integers(1, 10**9),
    size=st.sampled_from(["0.0001", "0.01", "0.1", "1", "10", "1000"]),
    lot=st.sampled_from(["1", "0.1", "0.01"]),
)
def test_a_quantity_on_the_step_survives_the_way_to_contracts_and_back(steps: int, size: str, lot: str) -> None:
    """Nothing is lost or gained on the way, for any contract size."""
    market = made(raw_market(contractSize=float(size), precision={"amount": float(lot), "price": 0.1}))
    quantity = steps * market.quantity_step
    contracts = to_contracts(quantity, market)
    assert contracts == quantity / Decimal(size)
    assert to_base(float(contracts), market) == quantity
