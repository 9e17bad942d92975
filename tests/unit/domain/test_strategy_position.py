"""Virtual positions: folded from fills, each strategy's own, and how to close one beside the others."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from kontor.domain.fill import Fill
from kontor.domain.order import Side
from kontor.domain.strategy_position import StrategyPosition, by_hand, closing_of, positions_of
from tests.fakes.venue import MARKETS

BTC, SPOT = "BTC/USD:USD", "BTC/USD"
D = Decimal
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def fill(number: int, quantity: str, price: str, symbol: str = BTC) -> Fill:
    side = Side.BUY if D(quantity) > 0 else Side.SELL
    return Fill(f"t{number}", symbol, side, abs(D(quantity)), D(price), NOW, "v")


def position(*fills: Fill) -> StrategyPosition:
    return positions_of([("one", each) for each in fills], MARKETS)["one", fills[0].symbol]


def test_entries_average_and_a_part_closed_keeps_the_entry() -> None:
    held = position(fill(1, "1", "100"), fill(2, "3", "120"), fill(3, "-2", "130"))
    assert (held.quantity, held.entry_price, held.realized_pnl, held.opened_by) == (2, 115, 30, "t1")
    assert held.pnl_at(D(100)) == -30


def test_through_zero_the_rest_is_a_new_position() -> None:
    held = position(fill(1, "2", "100"), fill(2, "-5", "90"))
    assert (held.quantity, held.entry_price, held.realized_pnl, held.opened_by) == (-3, 90, -20, "t2")


def test_closed_and_opened_again_is_another_position() -> None:
    held = position(fill(1, "1", "100"), fill(2, "-1", "110"), fill(3, "-1", "120"))
    assert (held.quantity, held.opened_by, held.realized_pnl) == (-1, "t3", 10)


def test_a_fee_taken_in_the_base_is_not_held() -> None:
    bought = replace(fill(1, "1", "100", SPOT), fee=D("0.001"), fee_currency="BTC")
    held = position(bought)
    assert (held.quantity, held.fees) == (D("0.999"), {"BTC": D("0.001")})


@given(st.lists(st.tuples(st.integers(-5, 5).filter(bool), st.integers(50, 150)), min_size=1, max_size=20))
def test_what_is_earned_is_what_the_cash_says(trades: list[tuple[int, int]]) -> None:
    """Realized and unrealized together are cash received plus what is held, whatever the order of trades."""
    held = position(*(fill(n, str(q), str(p)) for n, (q, p) in enumerate(trades)))
    cash = -sum((D(q) * p for q, p in trades), D(0))
    worth = cash + held.quantity * 100
    assert abs(held.realized_pnl + held.pnl_at(D(100)) - worth) < D("1e-15")


def test_what_people_hold_is_the_difference() -> None:
    positions = positions_of([("one", fill(1, "2", "100")), ("two", fill(2, "-3", "100"))], MARKETS)
    assert by_hand(positions, {BTC: D(-1)}, MARKETS) == {}
    assert by_hand(positions, {BTC: D(4)}, MARKETS) == {BTC: D(5)}


def test_closing_takes_what_the_venue_has_and_trades_the_rest_against_the_other_strategy() -> None:
    positions = positions_of([("one", fill(1, "2", "100")), ("two", fill(2, "-3", "100"))], MARKETS)
    one, two = positions["one", BTC], positions["two", BTC]
    closing = closing_of(one, positions, D(-1))
    assert (closing.reduce_only, closing.plain) == (0, 2)
    closing = closing_of(two, positions, D(-1))
    assert (closing.reduce_only, closing.plain) == (1, 2)
    alone = positions_of([("one", fill(1, "2", "100"))], MARKETS)
    closing = closing_of(alone["one", BTC], alone, D("0.5"))
    assert (closing.reduce_only, closing.plain) == (D("0.5"), 0)
    closing = closing_of(alone["one", BTC], alone, D(-1))
    assert (closing.reduce_only, closing.plain) == (0, 0)
