"""Trades from outside take what people hold first, then the strategies' positions: sums stay what the venue says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontor.domain.attribution import Shared, opening_of, share_out, shared_out
from kontor.domain.fill import Fill
from kontor.domain.order import Side
from kontor.domain.outside import OutsideKind, OutsideMove
from tests.fakes.venue import MARKETS

BTC, SPOT = "BTC/USD:USD", "BTC/USD"
D = Decimal
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def fill(number: int, quantity: str | int, symbol: str = BTC, price: str = "100") -> Fill:
    side = Side.BUY if D(quantity) > 0 else Side.SELL
    at = NOW + timedelta(seconds=number)
    return Fill(f"t{number}", symbol, side, abs(D(quantity)), D(price), at, "v", client_order_id="c")


def move(number: int, quantity: str, *, symbol: str | None = None, currency: str | None = None) -> OutsideMove:
    at = NOW + timedelta(seconds=number)
    return OutsideMove(f"drift:{number}", OutsideKind.ADJUSTMENT, at, D(quantity), symbol, currency)


def held(shared: Shared) -> dict[str, Decimal]:
    return {name: each.quantity for (name, _), each in shared.positions.items() if each.is_open}


CASES: list[tuple[str, str, dict[str, str], dict[str, str], str]] = [
    # change from outside, by hand before, strategies before, what is taken from them, by hand after
    ("-1", "0", {"a": "1"}, {"a": "-1"}, "0"),
    ("-1", "1", {"a": "1"}, {}, "0"),
    ("-1.5", "1", {"a": "1"}, {"a": "-0.5"}, "0"),
    ("-5", "1", {"a": "1"}, {"a": "-1"}, "-3"),
    ("1", "0", {"a": "1"}, {}, "1"),
    ("2", "0", {"a": "-3"}, {"a": "2"}, "0"),
    ("-1", "0", {"a": "1", "b": "2"}, {"a": "-0.33", "b": "-0.67"}, "0"),
    # Only who is on the side that gets smaller.
    ("-1", "0", {"a": "3", "b": "-1"}, {"a": "-1"}, "0"),
    # What leaves nothing at the venue has closed everything.
    ("-2", "0", {"a": "3", "b": "-1"}, {"a": "-3", "b": "1"}, "0"),
    ("-1", "-2", {"a": "3"}, {"a": "-3"}, "0"),
    # But what people open and close beside strategies that cancel each other out is none of theirs.
    ("-1", "1", {"a": "1", "b": "-1"}, {}, "0"),
    # Short by hand before the strategy went long: that stays as it is.
    ("2", "-2", {"a": "3"}, {}, "0"),
]


@pytest.mark.parametrize(("change", "by_hand", "strategies", "taken", "after"), CASES)
def test_a_change_from_outside_is_shared_out(
    change: str, by_hand: str, strategies: dict[str, str], taken: dict[str, str], after: str
) -> None:
    found = share_out(D(change), D(by_hand), {name: D(q) for name, q in strategies.items()}, D("0.01"))
    assert found == ({name: D(q) for name, q in taken.items()}, D(after))


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(-500, 500).filter(bool), max_size=4),
    st.integers(-500, 500),
    st.integers(-900, 900).filter(bool),
    st.sampled_from(["0", "0.01", "0.3"]),
)
def test_shares_sum_to_the_change_and_turn_nobody_around(
    strategies: dict[str, int], by_hand: int, change: int, step: str
) -> None:
    held = {name: D(quantity) / 100 for name, quantity in strategies.items()}
    taken, after = share_out(D(change) / 100, D(by_hand) / 100, held, D(step))
    before = sum(held.values()) + D(by_hand) / 100
    assert abs(before + D(change) / 100 - (sum(held.values()) + sum(taken.values()) + after)) < D("1e-20")
    for name, quantity in taken.items():
        assert quantity * held[name] < 0
        assert abs(quantity) <= abs(held[name])


def test_a_close_by_hand_ends_the_position_at_its_price() -> None:
    shared = shared_out([("a", fill(1, 2)), (None, fill(2, -2, price="110"))], [], MARKETS, {})
    position = shared.positions["a", BTC]
    assert (position.is_open, position.realized_pnl, shared.by_hand) == (False, 20, {BTC: 0})
    assert [str(each) for each in shared.attributed] == [f"a {BTC} -2 by fill:{BTC}:t2"]


def test_what_was_held_before_the_first_fill_is_peoples() -> None:
    """Ten coins from before the desk: selling three of them is not the strategy's loss."""
    fills = [("a", fill(1, 2, SPOT)), (None, fill(2, -3, SPOT))]
    shared = shared_out(fills, [], MARKETS, {"BTC": D(10)})
    assert (held(shared), shared.by_hand) == ({"a": D(2)}, {"BTC": D(7)})
    unknown = shared_out(fills, [], MARKETS, None)
    assert (held(unknown), unknown.attributed) == ({"a": D(2)}, ())


def test_a_withdrawal_of_coins_and_a_delisting_close_what_the_strategies_held() -> None:
    fills = [("a", fill(1, 2, SPOT)), ("b", fill(2, 1))]
    moves = [move(3, "-1.5", currency="BTC"), move(4, "-1", symbol=BTC)]
    shared = shared_out(fills, moves, MARKETS, {})
    assert held(shared) == {"a": D("0.5")}
    # Nobody knows a price: nothing is earned or lost by it.
    assert shared.positions["b", BTC].realized_pnl == 0


def test_a_fill_that_is_told_late_and_the_correction_of_it_change_nothing_in_the_end() -> None:
    """The strategy's own sale shows in the position first: reconciliation books a move, and later takes it back."""
    fills = [("a", fill(1, 1)), ("a", fill(2, -1))]
    shared = shared_out(fills, [move(3, "-1", symbol=BTC), move(9, "1", symbol=BTC)], MARKETS, {})
    assert (held(shared), shared.by_hand[BTC], shared.attributed) == ({}, 0, ())


def test_news_lead_where_a_fresh_reading_leads() -> None:
    fills = [("a", fill(1, 2)), (None, fill(2, -1)), ("b", fill(3, 3)), (None, fill(4, -2))]
    whole = shared_out(fills, [], MARKETS, {})
    first = shared_out(fills[:2], [], MARKETS, {})
    assert shared_out(fills[2:], [], MARKETS, {}, first) == whole


def test_the_opening_is_what_fills_and_moves_do_not_explain() -> None:
    moves = [move(1, "2", currency="BTC"), replace(move(2, "5", symbol=BTC), source_id=f"fill:{BTC}:t1")]
    opening = opening_of({"BTC": D(10), BTC: D(3)}, {"BTC": D(1), BTC: D(3)}, moves)
    assert opening == {"BTC": D(7)}
