"""Positions from fills: opened, grown, reduced, turned and closed, with exact P&L."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontor.domain.fill import Fill
from kontor.domain.order import Side
from kontor.notify.holdings import Closed, Holding, Opened, book

AT = datetime(2026, 1, 1, tzinfo=UTC)
SWAP, SPOT = "BTC/USD:USD", "BTC/USD"


def run(symbol: str, *trades: tuple[str, str], **fee: Any) -> tuple[Holding, list[str]]:
    """The holding after trades of (signed quantity, price), and what happened."""
    holding, said = Holding(), []
    for quantity, price in trades:
        amount = Decimal(quantity)
        side = Side.BUY if amount > 0 else Side.SELL
        fill = Fill("t", symbol, side, abs(amount), Decimal(price), AT, "v", **fee)
        for after, change in book(symbol, holding, fill):
            holding = after
            if isinstance(change, Opened):
                said.append(f"opened {change.holding.quantity} at {change.holding.entry}")
            elif isinstance(change, Closed):
                said.append(f"closed {change.holding.quantity} with {change.holding.pnl.normalize():f}")
    return holding, said


@pytest.mark.parametrize(
    ("trades", "said"),
    [
        ([("1", "100"), ("-1", "110")], ["opened 1 at 100", "closed 1 with 10"]),
        ([("-2", "100"), ("2", "90")], ["opened -2 at 100", "closed -2 with 20"]),
        ([("1", "100"), ("1", "200"), ("-2", "140")], ["opened 1 at 100", "closed 2 with -20"]),
        ([("2", "100"), ("-1", "110"), ("-1", "90")], ["opened 2 at 100", "closed 1 with 0"]),
        (
            [("1", "100"), ("-3", "110"), ("2", "100")],
            ["opened 1 at 100", "closed 1 with 10", "opened -2 at 110", "closed -2 with 20"],
        ),
    ],
)
def test_a_position_earns_what_its_fills_say(trades: list[tuple[str, str]], said: list[str]) -> None:
    """Long, short, grown, reduced, turned."""
    assert run(SWAP, *trades)[1] == said


def test_fees_in_the_quote_currency_count_against_the_profit() -> None:
    """Both ways are paid for."""
    assert run(SWAP, ("1", "100"), ("-1", "110"), fee=Decimal("0.5"), fee_currency="USD")[1][-1] == "closed 1 with 9"


def test_a_fee_in_the_base_currency_is_quantity_that_never_came() -> None:
    """On spot one buys 1 and has 0.999: selling that is the end of the position."""
    holding = Holding()
    bought = Fill("t1", SPOT, Side.BUY, Decimal(1), Decimal(100), AT, "v", fee=Decimal("0.001"), fee_currency="BTC")
    sold = Fill("t2", SPOT, Side.SELL, Decimal("0.999"), Decimal(100), AT, "v")
    for fill in (bought, sold):
        for after, _ in book(SPOT, holding, fill):
            holding = after
    assert holding == Holding()


@given(st.lists(st.tuples(st.integers(-5, 5).filter(bool), st.integers(1, 200)), min_size=1, max_size=20))
def test_profit_and_what_is_left_add_up_to_the_cash_that_moved(trades: list[tuple[int, int]]) -> None:
    """Whatever the order of trades: cash in, less cash out, plus the rest at its entry price, is the P&L."""
    holding, earned, cash = Holding(), Decimal(0), Decimal(0)
    for quantity, price in trades:
        side = Side.BUY if quantity > 0 else Side.SELL
        cash -= quantity * Decimal(price)
        for after, change in book(
            SWAP, holding, Fill("t", SWAP, side, Decimal(abs(quantity)), Decimal(price), AT, "v")
        ):
            holding = after
            earned += change.holding.pnl if isinstance(change, Closed) else 0
    assert holding.quantity == sum(quantity for quantity, _ in trades)
    total = earned + holding.pnl
    assert abs(total - (cash + holding.quantity * holding.entry)) < Decimal("1e-15")
