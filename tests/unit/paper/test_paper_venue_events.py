"""What happens to an account without its doing: funding, liquidation, delisting, maintenance."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from kontor.paper.clock import ManualClock
from kontor.paper.house import Maintenance
from kontor.paper.model import VenueError
from kontor.paper.venue import Venue
from tests.unit.paper.books import BUY, SWAP, adds_up, bills, only
from tests.unit.paper.conftest import Open, Place

HOURS_8 = 8 * 3600


# Funding


def test_funding_is_paid_at_its_times_and_by_its_rate(venue: Venue, place: Place, clock: ManualClock) -> None:
    """A long pays what a short gets: the position's value at that moment times the rate, three times a day."""
    place("buy", 100)
    place("sell", 100, account="second")
    clock.advance(24 * 3600)
    venue.advance()
    paid, got = bills(venue, "funding"), bills(venue, "funding", "second")
    assert [bill.ts % (HOURS_8 * 1000) for bill in paid] == [0, 0, 0]
    for bill, other in zip(paid, got, strict=True):
        assert bill.change == bill.pnl == -(bill.px or 0) * Decimal("0.0001")  # 100 contracts are one coin
        assert (bill.sub_type, bill.sz, other.change, other.sub_type) == ("173", 100, -bill.change, "174")
    assert only(venue).funding_fee == sum(bill.change for bill in paid)
    adds_up(venue)
    adds_up(venue, "second")


def test_the_rate_can_be_changed_and_the_payment_brought_forward(
    open_venue: Open, clock: ManualClock, tmp_path: Path
) -> None:
    """For tests of what funding does to a desk; a changed rate survives a restart, and the past keeps the old one."""
    venue = open_venue(tmp_path / "state.sqlite")
    venue.place_order("paper", BUY)
    venue.set_funding_rate(SWAP, Decimal("-0.003"))
    began = venue.now()
    venue.pay_funding()
    assert bills(venue, "funding")[0].change == venue.mark_price(SWAP) * Decimal("0.003")
    assert venue.funding_rate(SWAP, began - 1) == Decimal("0.0001")
    assert venue.funding_rate("ETH-USD-SWAP") == Decimal("0.0001")
    venue.close()
    assert open_venue(tmp_path / "state.sqlite").funding_rate(SWAP) == Decimal("-0.003")


def test_how_often_somebody_looks_does_not_change_what_is_paid(open_venue: Open) -> None:
    """Funding, liquidation and stops of two days, in one look or in thousands: the same bills to the last digit."""
    pictures = []
    for looks in (1, 500):
        clock = ManualClock(1_760_000_000_000)
        venue = Venue(open_venue().config, clock=clock)
        venue.set_leverage("paper", SWAP, "100")
        venue.place_order("paper", BUY | {"sz": "15000"})
        venue.place_order("second", BUY | {"side": "sell"})
        stop = {"instId": SWAP, "tdMode": "cross", "side": "buy", "ordType": "move_order_stop", "callbackRatio": "0.02"}
        assert venue.place_algo("second", stop | {"sz": "50", "reduceOnly": True}).s_code == "0"
        for _ in range(looks):
            clock.advance(48 * 3600 / looks)
            venue.advance()
        pictures.append((venue.bills("paper"), venue.bills("second"), venue.algos_history("second")))
        adds_up(venue)
    assert pictures[0] == pictures[1]
    assert {bill.kind for bill in pictures[0][0]} >= {"funding", "trade", "transfer"}


# Liquidation


def overextended(venue: Venue) -> None:
    """A long that stands one percent above its own ruin."""
    venue.set_leverage("paper", SWAP, "100")
    value = venue.mark_price(SWAP) / 100
    contracts = int(80 * 100_000 / value)
    for _ in range(2):
        assert venue.place_order("paper", BUY | {"sz": str(contracts // 2)}).s_code == "0"


def test_an_account_that_cannot_keep_its_position_is_liquidated(venue: Venue) -> None:
    """Orders go first, then the position, as a fill that says so; the account is left with no less than nothing."""
    overextended(venue)
    below = str(venue.mark_price(SWAP) - 2000)
    resting = venue.place_order("paper", BUY | {"ordType": "limit", "px": below, "sz": "1"})
    bound = venue.place_algo(
        "paper",
        {"instId": SWAP, "tdMode": "cross", "side": "sell", "ordType": "conditional", "closeFraction": "1"}
        | {"reduceOnly": True, "slTriggerPx": "1000", "slOrdPx": "-1"},
    )
    price = only(venue).liq_px
    assert price is not None
    tick = venue.instrument(SWAP).tick_sz
    venue.set_price(SWAP, price + 200 * tick)
    assert venue.positions("paper")
    venue.set_price(SWAP, price - 200 * tick)
    assert venue.positions("paper") == []
    assert venue.order("paper", SWAP, resting.ord_id).cancel_source == "3"
    order = next(each for each in venue.orders_history("paper") if each.category == "full_liquidation")
    assert (order.state, order.side, order.reduce_only) == ("filled", "sell", True)
    assert {fill.sub_type for fill in venue.fills("paper", ord_id=order.ord_id)} == {"107"}
    assert bills(venue, "liquidation")[0].sub_type == "107"
    assert venue.algo("paper", bound.algo_id).state == "canceled"
    assert 0 <= venue.balance("paper", ["USD"]).details[0].cash_bal < 20_000
    adds_up(venue)


def test_a_gap_costs_no_more_than_there_was(venue: Venue) -> None:
    """A hole that the price leaves is the insurance fund's: the account ends at nothing, with a bill for it."""
    overextended(venue)
    venue.set_price(SWAP, venue.mark_price(SWAP) - 5000)
    assert venue.positions("paper") == []
    assert venue.balance("paper", ["USD"]).details[0].cash_bal == 0
    assert bills(venue, "clawback")[0].change > 0
    adds_up(venue)


def test_liquidation_comes_at_the_tick_that_makes_it_due(open_venue: Open, clock: ManualClock) -> None:
    """On its own path, worked out here tick by tick, however late somebody looks; a stop at that price comes first."""
    venue = open_venue()
    overextended(venue)
    market, instrument = venue._engine.state.market, venue.instrument(SWAP)
    book, start = venue._engine.state.account("paper"), venue._engine.state.step
    (position,) = book.positions.values()
    cash = book.cash["USD"]
    due = None
    for step in range(start + 1, start + 7 * 24 * 3600):
        price = market.last_ticks(instrument, step) * instrument.tick_sz
        value = abs(position.lots) * instrument.lot_sz * instrument.ct_val * price
        if step * 1000 % (HOURS_8 * 1000) == 0:
            cash -= value * Decimal("0.0001")
        if cash + value - position.entry_value < value * Decimal("0.005"):
            due = step
            break
    assert due is not None
    clock.advance(7 * 24 * 3600)
    venue.advance()
    order = next(each for each in venue.orders_history("paper") if each.category == "full_liquidation")
    assert order.fill_time == due * 1000


def test_a_position_can_be_liquidated_by_hand(venue: Venue, place: Place) -> None:
    """For tests of a desk that finds its position gone."""
    place("buy", 100)
    venue.liquidate("paper", SWAP)
    assert venue.positions("paper") == []
    assert venue.fills("paper")[0].sub_type == "107"
    adds_up(venue)


# Instruments that go, and maintenance


def test_a_suspended_instrument_takes_no_orders_and_matches_none(
    open_venue: Open, clock: ManualClock, tmp_path: Path
) -> None:
    """What rests stays and is not filled, however the price moves; it can be canceled, and trades again afterwards."""
    venue = open_venue(tmp_path / "state.sqlite")
    venue.place_order("paper", BUY)
    last = venue.mark_price(SWAP)
    entry = venue.place_order("paper", BUY | {"ordType": "limit", "px": str(last - 100)})
    stop = {"instId": SWAP, "tdMode": "cross", "side": "sell", "ordType": "conditional", "sz": "100"}
    guard = venue.place_algo("paper", stop | {"reduceOnly": True, "slTriggerPx": str(last - 200), "slOrdPx": "-1"})
    assert venue.suspend(SWAP).state == "suspend"
    assert venue.place_order("paper", BUY).s_code == "51022"
    venue.set_price(SWAP, last - 900)
    clock.advance(60)
    venue.flush()
    assert venue.order("paper", SWAP, entry.ord_id).is_open
    assert venue.algo("paper", guard.algo_id).is_live
    venue.close()
    again = open_venue(tmp_path / "state.sqlite")
    assert again.instrument(SWAP).state == "suspend"
    again.suspend(SWAP, on=False)
    clock.advance(2)
    assert not again.order("paper", SWAP, entry.ord_id).is_open
    assert not again.algo("paper", guard.algo_id).is_live


def test_a_delisted_instrument_is_announced_settled_and_gone(
    open_venue: Open, clock: ManualClock, tmp_path: Path
) -> None:
    """At its moment: orders and stops canceled, the position settled at the last price for no fee, no longer listed."""
    venue = open_venue(tmp_path / "state.sqlite")
    venue.place_order("paper", BUY)
    venue.place_order("paper", BUY | {"ordType": "limit", "px": str(venue.mark_price(SWAP) - 2500)})
    stop = {"instId": SWAP, "tdMode": "cross", "side": "sell", "ordType": "conditional", "sz": "100"}
    guard = venue.place_algo("paper", stop | {"reduceOnly": True, "slTriggerPx": "1000", "slOrdPx": "-1"})
    moment = venue.now() + 600_000
    assert venue.delist(SWAP, moment).exp_time == moment
    assert venue.instrument(SWAP).state == "live"
    clock.advance(599)
    assert venue.positions("paper")
    clock.advance(2)
    assert venue.positions("paper") == []
    assert venue.orders_pending("paper") == []
    assert venue.algo("paper", guard.algo_id).state == "canceled"
    bill = bills(venue, "delivery")[0]
    assert (bill.sub_type, bill.fee, bill.ts) == ("112", 0, moment)
    assert SWAP not in {each.inst_id for each in venue.instruments()}
    assert venue.place_order("paper", BUY).s_code == "51027"
    with pytest.raises(VenueError, match="51001"):
        venue.instruments(inst_id=SWAP)
    adds_up(venue)
    venue.close()
    assert SWAP not in {each.inst_id for each in open_venue(tmp_path / "state.sqlite").instruments()}


def test_nothing_trades_during_maintenance(open_venue: Open, clock: ManualClock, tmp_path: Path) -> None:
    """Announced, under way, over; prices move, orders and stops wait for the end."""
    venue = open_venue(tmp_path / "state.sqlite")
    now = venue.now()
    venue.plan_maintenance(Maintenance(now + 60_000, now + 180_000))
    entry = venue.place_order("paper", BUY | {"ordType": "limit", "px": str(venue.mark_price(SWAP) - 100)})
    assert venue.closed() is None
    clock.advance(90)
    assert venue.closed() is not None
    venue.set_price(SWAP, venue.mark_price(SWAP) - 900)
    clock.advance(60)
    venue.flush()
    assert venue.order("paper", SWAP, entry.ord_id).state == "live"
    venue.close()
    again = open_venue(tmp_path / "state.sqlite")
    assert again.closed() is not None
    clock.advance(40)
    assert again.closed() is None
    assert again.order("paper", SWAP, entry.ord_id).acc_fill_sz > 0
    again.plan_maintenance(Maintenance(again.now(), again.now() + 60_000))
    assert again.end_maintenance() == 1
    assert again.closed() is None
