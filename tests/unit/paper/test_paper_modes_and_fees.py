"""How an account trades: its margin and position modes, what it pays fees in, and its transfers."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kontor.paper.model import VenueError
from kontor.paper.venue import Venue
from tests.unit.paper.books import BUY, SWAP, adds_up, bills, only
from tests.unit.paper.conftest import Open, Place

# Margin and position modes


def test_an_isolated_position_risks_its_own_margin_only(venue: Venue, place: Place) -> None:
    """Cash moves into it and out of it again; a fall takes that much and not a cent more."""
    venue.set_leverage("paper", SWAP, "10", "isolated")
    before = venue.balance("paper", ["USD"]).details[0].cash_bal
    place("buy", 100, tdMode="isolated")
    position = only(venue)
    assert (position.mgn_mode, position.lever) == ("isolated", 10)
    assert position.margin == pytest.approx((position.avg_px or 0) / 10)
    balance = venue.balance("paper", ["USD"]).details[0]
    assert balance.cash_bal < before - (position.margin or 0)
    assert balance.iso_eq == pytest.approx((position.margin or 0) + position.upl)
    adds_up(venue)
    place("sell", 40, tdMode="isolated")
    assert only(venue).margin == pytest.approx((position.margin or 0) * Decimal("0.6"))
    adds_up(venue)
    margin, cash = only(venue).margin or 0, venue.balance("paper", ["USD"]).details[0].cash_bal
    venue.set_price(SWAP, venue.mark_price(SWAP) * Decimal("0.8").quantize(Decimal("0.1")))
    assert venue.positions("paper") == []
    assert venue.balance("paper", ["USD"]).details[0].cash_bal == cash
    assert margin > 0
    adds_up(venue)


def test_cross_and_isolated_positions_of_one_instrument_stand_side_by_side(venue: Venue, place: Place) -> None:
    """Two positions, two margins; closing one leaves the other."""
    place("buy", 100)
    place("sell", 30, tdMode="isolated")
    assert {(each.mgn_mode, each.pos) for each in venue.positions("paper")} == {("cross", 100), ("isolated", -30)}
    place("buy", 30, tdMode="isolated", reduceOnly=True)
    assert only(venue).mgn_mode == "cross"
    adds_up(venue)


def test_long_short_mode_keeps_both_sides(venue: Venue, place: Place) -> None:
    """Opened and closed by their own orders; a close never opens the other side."""
    venue.set_position_mode("paper", "long_short_mode")
    assert venue.account("paper").pos_mode == "long_short_mode"
    assert place("buy", 10).s_code == "51000"
    assert place("sell", 10, posSide="long").s_code == "51169"
    place("buy", 10, posSide="long")
    place("sell", 4, posSide="short")
    assert {(each.pos_side, each.pos) for each in venue.positions("paper")} == {("long", 10), ("short", 4)}
    assert [bill.sub_type for bill in bills(venue, "trade")] == ["4", "3"]
    place("sell", 15, posSide="long")
    assert only(venue).pos_side == "short"
    stop = {"instId": SWAP, "tdMode": "cross", "side": "buy", "posSide": "short", "ordType": "conditional", "sz": "4"}
    stop |= {"slTriggerPx": str(venue.mark_price(SWAP) + 100), "slOrdPx": "-1"}
    assert venue.place_algo("paper", stop).s_code == "0"
    with pytest.raises(VenueError, match="59000"):
        venue.set_position_mode("paper", "net_mode")
    venue.set_price(SWAP, venue.mark_price(SWAP) + 200)
    assert venue.positions("paper") == []
    venue.set_position_mode("paper", "net_mode")
    adds_up(venue)


def test_modes_and_legs_survive_a_restart(open_venue: Open, tmp_path: Path) -> None:
    """An isolated short beside a long, in long/short mode, with its own leverage."""
    venue = open_venue(tmp_path / "state.sqlite")
    venue.set_position_mode("paper", "long_short_mode")
    venue.set_leverage("paper", SWAP, "7", "isolated", "short")
    venue.place_order("paper", BUY | {"posSide": "long"})
    venue.place_order("paper", BUY | {"side": "sell", "posSide": "short", "tdMode": "isolated"})
    venue.set_fee_currency("paper", "quote")
    venue.fund("paper", "USD", Decimal(50))
    before = (venue.positions("paper"), venue.bills("paper"), venue.balance("paper"), venue.wallet("paper"))
    venue.close()
    again = open_venue(tmp_path / "state.sqlite")
    assert (again.positions("paper"), again.bills("paper"), again.balance("paper"), again.wallet("paper")) == before
    assert again.account("paper").pos_mode == "long_short_mode"
    assert again._engine.state.account("paper").fee_ccy == "quote"
    assert [each.lever for each in again.leverage("paper", SWAP, "isolated")] == [3, 7]


# Fees


@pytest.mark.parametrize(
    ("wanted", "side", "paid"), [("", "buy", "BTC"), ("quote", "buy", "USD"), ("base", "sell", "BTC")]
)
def test_fees_are_paid_in_base_or_quote(venue: Venue, place: Place, wanted: str, side: str, paid: str) -> None:
    """A tenth of a percent of the trade, in the currency asked for."""
    place("buy", "0.5", "BTC-USD", tgtCcy="base_ccy")
    venue.set_fee_currency("paper", wanted)
    place(side, "0.1", "BTC-USD", tgtCcy="base_ccy")
    fill = venue.fills("paper")[0]
    assert fill.fee_ccy == paid
    worth = fill.fee * (fill.fill_px if paid == "BTC" else 1)
    assert worth == pytest.approx(-fill.fill_px * fill.fill_sz / 1000)
    adds_up(venue)


@pytest.mark.parametrize("market", ["BTC-USD", SWAP])
def test_fees_are_paid_in_a_third_coin_as_long_as_it_lasts(venue: Venue, place: Place, market: str) -> None:
    """Worth the same in dollars; once it is gone, what the trade brings in pays."""
    venue.deposit("paper", "BNB", Decimal("0.02"))
    venue.set_fee_currency("paper", "BNB")
    size = "0.1" if market == "BTC-USD" else "10"
    place("buy", size, market, tgtCcy="base_ccy")
    fill = venue.fills("paper")[0]
    assert fill.fee_ccy == "BNB"
    due = fill.fill_px * Decimal("0.1") * -fill.fee_rate
    assert -fill.fee * venue.mark_price("BNB-USD") == pytest.approx(due)
    adds_up(venue)
    for _ in range(6):
        place("buy", size, market, tgtCcy="base_ccy")
    assert venue.fills("paper")[0].fee_ccy in {"BTC", "USD"}
    assert venue.balance("paper", ["BNB"]).details[0].cash_bal >= 0
    adds_up(venue)


def test_a_fee_currency_must_be_one_that_is_listed(venue: Venue) -> None:
    """One sentence with what may be said."""
    with pytest.raises(ValueError, match="'GOLD': use base, quote, a coin"):
        venue.set_fee_currency("paper", "GOLD")


# Transfers


def test_money_moves_between_accounts_and_leaves_bills(venue: Venue) -> None:
    """Funding account, trading account, sub-account: each step in one bill on each trading side, and never twice."""
    venue.fund("paper", "USD", Decimal(500))
    venue.transfer("paper", {"ccy": "USD", "amt": "200", "from": "6", "to": "18", "clientId": "t1"})
    assert venue.wallet("paper") == {"USD": Decimal(300)}
    (bill, _) = bills(venue, "transfer")
    assert (bill.change, bill.sub_type, bill.source, bill.target) == (200, "11", "6", "18")
    venue.transfer("paper", {"ccy": "USD", "amt": "50", "from": "18", "to": "18", "type": "1", "subAcct": "second"})
    assert bills(venue, "transfer")[0].change == -50
    assert bills(venue, "transfer", "second")[0].change == 50
    venue.transfer("second", {"ccy": "USD", "amt": "20", "from": "18", "to": "6", "type": "3"})
    assert venue.wallet("paper") == {"USD": Decimal(320)}
    assert venue.transfer_made("paper", "", "t1").amt == 200
    adds_up(venue)
    adds_up(venue, "second")


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("58350", {"amt": "200000"}),
        ("58350", {"from": "6", "to": "18"}),
        ("51000", {"from": "7"}),
        ("51000", {"amt": "-5"}),
        ("50014", {"ccy": None}),
        ("58130", {"to": "18"}),
        ("58116", {"type": "1", "subAcct": "nobody"}),
        ("51000", {"type": "3"}),
    ],
)
def test_a_wrong_transfer_is_refused_and_moves_nothing(venue: Venue, code: str, change: dict[str, Any]) -> None:
    """Money is never in two places."""
    with pytest.raises(VenueError, match=code):
        venue.transfer("paper", {"ccy": "USD", "amt": "5", "from": "18", "to": "6"} | change)
    assert venue.balance("paper", ["USD"]).details[0].cash_bal == 100_000
