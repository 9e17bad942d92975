"""Money: fees, margins, positions and balances, checked by hand."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontor.paper.accounts import Resting
from kontor.paper.margin import order_margin
from kontor.paper.model import ZERO, AccountConfig, OrderAck, VenueError
from kontor.paper.positions import PositionState
from kontor.paper.venue import Venue

Place = Callable[..., OrderAck]
Usd = Callable[..., Decimal]


def test_a_spot_purchase_pays_its_fee_in_what_was_bought(venue: Venue, place: Place, usd: Usd) -> None:
    """OKX takes 0.1 percent of the base on a buy: a desk that expects the full quantity cannot sell it again."""
    place("buy", "0.1", "BTC-USD", tgtCcy="base_ccy")
    (fill,) = venue.fills("paper")
    btc, cash = venue.balance("paper").details
    assert (fill.fee, fill.fee_ccy, fill.fee_rate) == (Decimal("-0.0001"), "BTC", Decimal("-0.001"))
    assert btc.cash_bal == btc.avail_bal == Decimal("0.0999")
    assert cash.cash_bal == usd() == 100_000 - fill.fill_px * Decimal("0.1")
    assert place("sell", "0.1", "BTC-USD", tgtCcy="base_ccy").s_code == "51008"
    place("sell", "0.0999", "BTC-USD", tgtCcy="base_ccy")
    sold = venue.fills("paper")[0]
    assert sold.fee_ccy == "USD"
    assert sold.fee == -sold.fill_px * Decimal("0.0999") / 1000
    assert usd() == cash.cash_bal + sold.fill_px * Decimal("0.0999") + sold.fee
    assert [d.ccy for d in venue.balance("paper").details] == ["USD"]


def test_a_swap_moves_only_fees_and_profit(venue: Venue, place: Place, usd: Usd) -> None:
    """Ten contracts of 0.01 BTC are 0.1 BTC: the contract size stands in every figure."""
    place("buy", 10)
    (fill,), (position,) = venue.fills("paper"), venue.positions("paper")
    notional = fill.fill_px * Decimal("0.1")
    assert fill.fee == -notional * Decimal("0.0005")
    assert usd() == 100_000 + fill.fee
    assert (position.pos, position.avg_px, position.lever) == (10, fill.fill_px, 3)
    assert position.notional_usd == position.mark_px * Decimal("0.1")
    venue.set_price("BTC-USD-SWAP", fill.fill_px + 1000)
    (position,) = venue.positions("paper")
    assert position.upl == 100
    balance = venue.balance("paper")
    assert balance.total_eq == usd() + 100
    assert balance.details[0].upl == 100
    assert balance.details[0].frozen_bal == balance.imr == pytest.approx(position.notional_usd / 3)
    place("sell", 4)
    sold = venue.fills("paper")[0]
    assert sold.fill_pnl == (sold.fill_px - fill.fill_px) * Decimal("0.04")
    assert usd() == 100_000 + fill.fee + sold.fee + sold.fill_pnl
    (position,) = venue.positions("paper")
    assert (position.pos, position.avg_px) == (6, fill.fill_px)
    assert position.realized_pnl == fill.fee + sold.fee + sold.fill_pnl


def test_selling_through_zero_turns_the_position_around(venue: Venue, place: Place) -> None:
    """Net mode: one order closes the long, realizes its profit, and opens a short at the new price."""
    place("buy", 10)
    place("sell", 25)
    sold = venue.fills("paper")[0]
    (position,) = venue.positions("paper")
    assert (position.pos, position.avg_px) == (-15, sold.fill_px)
    place("buy", 15, reduceOnly=True)
    assert venue.positions("paper") == []


def test_reduce_only_closes_at_most_what_is_there(venue: Venue, place: Place) -> None:
    """An exit that is too big must end flat, never on the other side."""
    place("buy", 5)
    assert place("buy", 1, reduceOnly=True).s_code == "51170"
    order = venue.order("paper", "", ord_id=place("sell", 8, reduceOnly=True).ord_id)
    assert (order.acc_fill_sz, order.state, order.cancel_source) == (5, "canceled", "17")
    assert venue.positions("paper") == []


def test_a_resting_exit_disappears_with_its_position(venue: Venue, place: Place) -> None:
    """Two exits for one position: when one has closed it, the other would open a new one."""
    place("buy", 5)
    exits = [place("sell", 5, px=2000 + n, reduceOnly=True) for n in range(2)]
    assert venue.balance("paper").ord_froz == 0
    place("sell", 5)
    for ack in exits:
        order = venue.order("paper", "", ord_id=ack.ord_id)
        assert (order.state, order.acc_fill_sz, order.cancel_source) == ("canceled", 0, "17")


def test_margin_is_asked_for_what_an_order_opens_and_given_back(venue: Venue, place: Place) -> None:
    """Closing needs no margin; both sides of a range together need that of the dearer one."""
    last = venue.mark_price("BTC-USD-SWAP")
    buy = place("buy", 30, px=-100)
    frozen = (last - 10) * Decimal("0.3") / 3
    assert venue.balance("paper").ord_froz == pytest.approx(frozen)
    sell = place("sell", 10, px=100)
    assert venue.balance("paper").ord_froz == pytest.approx(frozen)
    for ack in (buy, sell):
        venue.cancel_order("paper", {"instId": "BTC-USD-SWAP", "ordId": ack.ord_id})
    assert venue.balance("paper").ord_froz == 0
    place("buy", 500)
    assert place("sell", 500, px=100).s_code == "0"
    assert venue.balance("paper").ord_froz == 0


def test_an_order_beyond_the_margin_is_refused_and_leverage_makes_room(venue: Venue, place: Place) -> None:
    """100,000 USD at 3x carry 300,000, at 20x two million."""
    size = int(330_000 / venue.mark_price("BTC-USD-SWAP") * 100)
    refused = place("buy", size)
    assert refused.s_code == "51008"
    assert "USD margin" in refused.s_msg
    assert venue.set_leverage("paper", "BTC-USD-SWAP", "20")[0].lever == 20
    assert place("buy", size).s_code == "0"
    assert venue.leverage("paper", "BTC-USD-SWAP")[0].lever == 20
    with pytest.raises(VenueError, match="59108"):
        venue.set_leverage("paper", "BTC-USD-SWAP", "2")
    assert venue.leverage("paper", "BTC-USD-SWAP")[0].lever == 20


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("59102", ("BTC-USD-SWAP", "101")),
        ("59105", ("BTC-USD-SWAP", "0.5")),
        ("51000", ("BTC-USD-SWAP", "abc")),
        ("51000", ("BTC-USD", "3")),
        ("51000", ("BTC-USD-SWAP", "3", "portfolio")),
        ("51000", ("BTC-USD-SWAP", "3", "isolated", "long")),
        ("51001", ("BTC-EUR", "3")),
    ],
)
def test_impossible_leverage_is_refused(venue: Venue, code: str, arguments: tuple[str, ...]) -> None:
    """The limits are the instrument's."""
    with pytest.raises(VenueError) as caught:
        venue.set_leverage("paper", *arguments)
    assert caught.value.code == code


def test_unrealized_profit_is_margin_but_buys_no_coins(venue: Venue, place: Place) -> None:
    """In futures mode profit on paper carries positions; spot is paid in cash."""
    place("buy", 200)
    venue.set_price("BTC-USD-SWAP", venue.mark_price("BTC-USD-SWAP") * Decimal("1.5"))
    usd = venue.balance("paper").details[0]
    assert usd.avail_eq - usd.avail_bal == usd.upl > 10_000
    spend = format(usd.avail_bal + 100, ".2f")
    assert place("buy", spend, "ETH-USD").s_code == "51008"


def test_a_spot_order_freezes_what_it_would_pay(venue: Venue, place: Place) -> None:
    """Free is really free: two resting orders cannot spend the same dollar."""
    price = venue.mark_price("ETH-USD")
    order = place("buy", 20, "ETH-USD", px=-100)
    usd = venue.balance("paper").details[0]
    assert usd.ord_frozen == 20 * (price - 1)
    assert usd.avail_bal == 100_000 - usd.ord_frozen
    assert place("buy", 20, "ETH-USD", px=-100).s_code == "51008"
    venue.cancel_order("paper", {"instId": "ETH-USD", "ordId": order.ord_id})
    assert venue.balance("paper").details[0].avail_bal == 100_000


def test_the_liquidation_price_is_where_equity_meets_maintenance(venue: Venue, place: Place) -> None:
    """An estimate that the risk monitor shows: at that price the margin ratio is one."""
    venue.set_leverage("paper", "BTC-USD-SWAP", "50")
    place("buy", 3000)
    (position,) = venue.positions("paper")
    assert position.liq_px is not None
    assert position.liq_px < position.mark_px
    venue.set_price("BTC-USD-SWAP", position.liq_px)
    assert venue.positions("paper")[0].mgn_ratio == pytest.approx(1, abs=0.001)


def test_deposits_and_withdrawals_respect_what_is_in_use(venue: Venue, place: Place, usd: Usd) -> None:
    """Money that margins a position cannot leave."""
    venue.deposit("paper", "USD", Decimal(500), "gift")
    assert usd() == 100_500
    assert (venue.bills("paper")[0].kind, venue.bills("paper")[0].ref) == ("transfer", "gift")
    place("buy", 300)
    with pytest.raises(VenueError, match="51131"):
        venue.deposit("paper", "USD", Decimal(-90_000))
    with pytest.raises(VenueError, match="51131"):
        venue.deposit("paper", "BTC", Decimal("-0.1"))
    venue.deposit("paper", "USD", Decimal(-1000))
    assert venue.balance("second").total_eq == 100_000


def test_sub_accounts_have_keys_and_books_of_their_own(venue: Venue, place: Place) -> None:
    """A sub-account is an API key; its orders and money are nobody else's."""
    main, sub = venue.accounts()
    assert (sub.main_uid, sub.parent) == (main.uid, "paper")
    assert venue.account_by_key("key2") == sub
    assert venue.account_by_key("nobody") is None
    place("buy", 1, account="second")
    assert venue.positions("paper") == []
    assert len(venue.positions("second")) == 1
    renewed = venue.add_account(AccountConfig("second", "key3", "s", "p", parent="paper"))
    assert venue.account_by_key("key2") is None
    assert venue.account_by_key("key3") == renewed
    assert len(venue.positions("second")) == 1
    with pytest.raises(ValueError, match="its API key belongs to account paper"):
        venue.add_account(AccountConfig("third", "key", "s", "p"))
    with pytest.raises(ValueError, match="does not exist"):
        venue.add_account(AccountConfig("third", "key9", "s", "p", parent="nobody"))


def test_secrets_do_not_show() -> None:
    """An account in a log line must not give its key away."""
    assert "hunter2" not in repr(AccountConfig("paper", "key", "hunter2", "hunter2"))


@given(st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 10_000)), min_size=1, max_size=30))
def test_a_position_gives_back_exactly_what_went_in(trades: list[tuple[int, int]]) -> None:
    """However it was built, closing it leaves a profit of what was received less what was paid, to the last digit."""
    position = PositionState("paper", "BTC-USD-SWAP", "1")
    paid = profit = ZERO
    held = 0
    for lots, price in [*trades, (0, 1234)]:
        lots_ = lots or -held
        value = Decimal(price) / 7
        if lots_:
            profit += position.apply(lots_, value, 0)
            paid += lots_ * value
            held += lots_
        assert position.lots == held
    assert position.entry_value == 0
    assert abs(profit + paid) < Decimal("1e-18")  # thirds and sevenths are not exact themselves


@given(st.integers(-100, 100), st.integers(0, 200), st.integers(0, 200), st.integers(1, 50), st.integers(1, 50))
def test_order_margin_covers_the_worst_case_and_nothing_more(
    held: int, buys: int, sells: int, bid: int, ask: int
) -> None:
    """Against the definition: if only one side filled, how much of it would open something?"""
    resting = Resting(buys, Decimal(buys * bid), sells, Decimal(sells * ask))
    opens_long = max(0, max(0, held + buys) - max(0, held) if held >= 0 else held + buys)
    opens_short = max(0, max(0, -held + sells) - max(0, -held) if held <= 0 else sells - held)
    assert order_margin(resting, held, Decimal(5)) == pytest.approx(
        Decimal(max(opens_long * bid, opens_short * ask)) / 5
    )
