"""The order state machine: whatever order the news comes in, and however often, the order ends up the same."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kontor.domain.fill import Fill, total_of
from kontor.domain.order import (
    FINISHED,
    LIVE,
    TRANSITIONS,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    Side,
    advance,
    apply_fills,
    apply_report,
    reopen,
)
from kontor.errors import IllegalTransition

S = OrderState
AT = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = Order(
    client_order_id="o1",
    account="paper",
    symbol="BTC/USD:USD",
    side=Side.BUY,
    order_type=OrderType.LIMIT,
    quantity=Decimal(10),
    created_at=AT,
    price=Decimal(100),
    state=S.SUBMITTED,
    submitted_at=AT,
    unknown_since=AT,
)


def report(state: S, filled: int = 0, *, quantity: int = 10, at: datetime = AT, price: int = 100) -> OrderReport:
    """What a venue says of ORDER."""
    return OrderReport(
        symbol=ORDER.symbol,
        side=ORDER.side,
        order_type=ORDER.order_type,
        state=state,
        quantity=Decimal(quantity),
        filled_quantity=Decimal(filled),
        venue_order_id="v1",
        at=at,
        client_order_id="o1",
        average_price=Decimal(price) if filled else None,
    )


def fill(number: int, quantity: int, price: int = 100) -> Fill:
    """A fill of ORDER."""
    return Fill(f"t{number}", ORDER.symbol, ORDER.side, Decimal(quantity), Decimal(price), AT, "v1", "o1")


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[OrderReport], list[Fill]]:
    """A life at the venue: fills one after the other, reports in between, perhaps a cancel at the end."""
    quantities = draw(st.lists(st.integers(1, 4), max_size=4))
    reports, fills, filled = [report(S.ACCEPTED)], [], 0
    for number, quantity in enumerate(quantities):
        if filled + quantity > 10:
            break
        price = 100 + number
        filled += quantity
        fills.append(fill(number, quantity, price))
        state = S.FILLED if filled == 10 else S.PARTIALLY_FILLED
        average = total_of(fills)[1]
        reports.append(replace(report(state, filled), average_price=average))
    if filled < 10 and draw(st.booleans()):
        average = total_of(fills)[1] if fills else None
        ended = draw(st.sampled_from([S.CANCELED, S.EXPIRED]))
        reports.append(replace(report(ended, filled), average_price=average))
    return reports, fills


@settings(deadline=None, max_examples=60)
@given(histories(), st.randoms(use_true_random=False), st.data())
def test_news_in_any_order_and_repeated_converge(
    history: tuple[list[OrderReport], list[Fill]], rng: object, data: st.DataObject
) -> None:
    """REST and WebSocket race and repeat each other; the order must not depend on who won."""
    del rng
    reports, fills = history
    news: list[OrderReport | Fill] = [*reports, *fills]
    shuffled = data.draw(st.permutations(news))
    repeated = [*shuffled, *data.draw(st.lists(st.sampled_from(news), max_size=5))]
    in_order = play(ORDER, news)
    mixed_up = play(ORDER, repeated)
    assert facts(mixed_up) == facts(in_order)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(sorted(S)), st.integers(0, 10)), max_size=12))
def test_filled_quantity_never_goes_down_and_decides_over_words(words: list[tuple[S, int]]) -> None:
    """Even a venue that contradicts itself cannot take a fill back, or leave a filled order open."""
    order = ORDER
    for state, filled in words:
        before = order.filled_quantity
        order = apply_report(order, report(state, filled))
        assert order.filled_quantity == max(before, filled)
        assert (order.state is S.FILLED) == (order.filled_quantity >= 10)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([S.ACCEPTED, S.PARTIALLY_FILLED, S.CANCELED]), st.integers(0, 9)), max_size=9)
)
def test_after_the_venues_last_word_it_does_not_matter_what_was_said_before(words: list[tuple[S, int]]) -> None:
    """Tracking asks until the order is over; what it hears last decides."""
    order = ORDER
    for state, filled in words:
        order = apply_report(order, report(state, filled))
    last = report(S.CANCELED, max([filled for _, filled in words], default=0))
    assert apply_report(order, last).state is S.CANCELED


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(S)), st.sampled_from(sorted(S)), st.integers(0, 12))
def test_reports_only_take_the_ways_the_table_allows(state: S, word: S, filled: int) -> None:
    """No report can move an order along an edge that is not drawn."""
    order = replace(ORDER, state=state, filled_quantity=Decimal(10) if state is S.FILLED else Decimal(0))
    changed = apply_report(order, report(word, filled))
    assert changed.state is state or changed.state in TRANSITIONS[state]


def test_the_same_news_twice_changes_nothing() -> None:
    """A duplicate is the same object: nothing is recorded, nobody is woken."""
    once = apply_report(ORDER, report(S.PARTIALLY_FILLED, 3))
    assert apply_report(once, report(S.PARTIALLY_FILLED, 3)) is once
    booked = apply_fills(once, Decimal(3), Decimal(100), AT)
    assert apply_fills(booked, Decimal(3), Decimal(100), AT) == booked


def test_a_fill_can_overtake_a_cancel() -> None:
    """The venue said canceled with nothing filled; then the fill of the same moment arrived."""
    canceled = apply_report(ORDER, report(S.CANCELED))
    assert apply_report(canceled, report(S.PARTIALLY_FILLED, 3)).state is S.PARTIALLY_FILLED
    assert apply_fills(canceled, Decimal(10), Decimal(100), AT).state is S.FILLED


def test_an_old_open_report_does_not_reopen_a_canceled_order() -> None:
    """A late WebSocket message must not bring a dead order back."""
    canceled = apply_report(ORDER, report(S.CANCELED, 3))
    assert apply_report(canceled, report(S.PARTIALLY_FILLED, 3)).state is S.CANCELED
    assert apply_report(canceled, report(S.ACCEPTED)).state is S.CANCELED


@pytest.mark.parametrize("ours", [S.CANCELED, S.EXPIRED, S.REJECTED, S.INITIALIZED])
def test_what_we_closed_ourselves_is_open_when_the_venue_says_so(ours: S) -> None:
    """We thought it never arrived; it did. The venue is believed."""
    order = replace(ORDER, state=ours)
    assert apply_report(order, report(S.ACCEPTED)).state is S.ACCEPTED
    assert apply_report(order, report(S.PARTIALLY_FILLED, 2)).state is S.PARTIALLY_FILLED


def test_a_venue_asked_by_id_can_reopen_what_it_had_closed() -> None:
    """An answer to a question of now is not a late message."""
    canceled = apply_report(ORDER, report(S.CANCELED, 3))
    assert reopen(canceled, report(S.PARTIALLY_FILLED, 3)).state is S.PARTIALLY_FILLED
    assert reopen(canceled, report(S.CANCELED, 3)).state is S.CANCELED


def test_a_quantity_the_venue_cut_is_filled_when_its_own_is() -> None:
    """9 of 10 were all the venue's step allowed: there is no tenth to wait for."""
    assert apply_report(ORDER, report(S.FILLED, 9, quantity=9)).state is S.FILLED


def test_a_rejection_after_a_fill_is_a_cancel() -> None:
    """Part of it happened; "rejected" would say that nothing did."""
    order = apply_report(apply_report(ORDER, report(S.PARTIALLY_FILLED, 2)), report(S.REJECTED))
    assert (order.state, order.filled_quantity) == (S.CANCELED, 2)


def test_an_answer_clears_the_unknown_outcome() -> None:
    """Unknown means nobody has answered; now somebody has."""
    assert apply_report(ORDER, report(S.ACCEPTED)).unknown_since is None


def test_fills_give_the_exact_average_and_a_report_does_not_overwrite_it() -> None:
    """The venue rounds its average; ours comes from the fills."""
    exact = Decimal("100.3333333333333333333333333")
    order = apply_fills(ORDER, Decimal(3), exact, AT)
    assert apply_report(order, report(S.PARTIALLY_FILLED, 3)).average_price == exact


@pytest.mark.parametrize(("old", "new"), [pair for pair in product(S, S) if pair[1] not in TRANSITIONS[pair[0]]])
def test_an_illegal_transition_is_refused_with_both_states(old: S, new: S) -> None:
    """A bug that skips a state is found where it happens."""
    with pytest.raises(IllegalTransition, match=f"order o1: cannot go from {old} to {new}"):
        advance(replace(ORDER, state=old), new, AT + timedelta(seconds=1))


def test_every_state_is_either_waiting_live_or_finished() -> None:
    """Whoever asks for live and finished orders misses none."""
    assert {S.INITIALIZED} | LIVE | FINISHED == set(S)
    assert not LIVE & FINISHED


def test_a_trade_seen_twice_counts_once() -> None:
    """REST and WebSocket both bring it."""
    assert total_of([fill(1, 2), fill(1, 2), fill(2, 1, 130)]) == (Decimal(3), Decimal(110))


def play(order: Order, news: list[OrderReport | Fill]) -> Order:
    """Apply news as the journal does: fills are summed up over all that are known."""
    known: list[Fill] = []
    for item in news:
        if isinstance(item, Fill):
            known.append(item)
            order = apply_fills(order, *total_of(known), item.filled_at)
        else:
            order = apply_report(order, item)
    return order


def facts(order: Order) -> Order:
    """The order without the moment it was last touched."""
    return replace(order, updated_at=None)
