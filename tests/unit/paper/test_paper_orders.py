"""Orders: what is refused, what trades at once, what rests and who is served first."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from kontor.paper.clock import ManualClock
from kontor.paper.model import CANCELED, FILLED, LIVE, PARTIALLY_FILLED, Order, OrderAck, VenueError
from kontor.paper.venue import Venue

Place = Callable[..., OrderAck]


def found(venue: Venue, ack: OrderAck, account: str = "paper") -> Order:
    assert ack.s_code == "0", ack
    return venue.order(account, "", ord_id=ack.ord_id)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("51001", {"instId": "BTC-EUR"}),
        ("50014", {"instId": None}),
        ("50014", {"sz": None}),
        ("51000", {"tdMode": "spot_isolated"}),
        ("51000", {"side": "hold"}),
        ("51000", {"ordType": "iceberg"}),
        ("51000", {"posSide": "long"}),
        ("51000", {"stpMode": "never"}),
        ("51000", {"sz": "abc"}),
        ("51000", {"sz": "-1"}),
        ("51000", {"sz": "NaN"}),
        ("51000", {"reduceOnly": "maybe"}),
        ("51000", {"attachAlgoOrds": [{"slTriggerPx": "1"}]}),
        ("51000", {"clOrdId": "with-dash"}),
        ("51000", {"clOrdId": "x" * 33}),
        ("51020", {"sz": "0.001"}),
        ("51121", {"sz": "1.005"}),
        ("51202", {"sz": "999999"}),
        ("51101", {"sz": "9999999", "ordType": "limit", "px": "50000"}),
        ("51204", {"ordType": "limit"}),
        ("51000", {"ordType": "limit", "px": "50000.05"}),
        ("51006", {"ordType": "limit", "px": "90000"}),
        ("51008", {"sz": "900"}),
        ("51169", {"reduceOnly": True}),
    ],
)
def test_a_wrong_order_is_refused_with_okx_code(venue: Venue, code: str, change: dict[str, Any]) -> None:
    """The adapter's error table is tried against these codes, so they must be the real ones; nothing stays behind."""
    body = {"instId": "BTC-USD-SWAP", "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "1"} | change
    ack = venue.place_order("paper", body)
    assert ack.s_code == code
    assert ack.s_msg
    assert ack.ord_id == ""
    assert venue.orders_pending("paper") == venue.orders_history("paper") == []


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("51000", {"tdMode": "cross"}),
        ("51000", {"ordType": "optimal_limit_ioc"}),
        ("51205", {"reduceOnly": True}),
        ("51000", {"tgtCcy": "usd"}),
        ("51202", {"tgtCcy": "quote_ccy", "sz": "2000000"}),
        ("51020", {"tgtCcy": "quote_ccy", "sz": "0.001"}),
        ("51008", {"tgtCcy": "base_ccy", "sz": "3"}),
        ("51008", {"side": "sell"}),
    ],
)
def test_a_wrong_spot_order_is_refused_with_okx_code(venue: Venue, code: str, change: dict[str, Any]) -> None:
    """Spot has its own words: cash, quote currency, nothing to reduce."""
    body = {"instId": "BTC-USD", "tdMode": "cash", "side": "buy", "ordType": "market", "sz": "0.01"} | change
    assert venue.place_order("paper", body).s_code == code


def test_a_market_order_walks_the_book_and_pays_each_level_its_price(venue: Venue, place: Place) -> None:
    """Depth is finite: a big order must cost more than the best price."""
    asks = venue.book("DOGE-USD-SWAP").asks
    wanted = asks[0].sz + asks[1].sz + 1
    order = found(venue, place("buy", wanted, "DOGE-USD-SWAP"))
    fills = venue.fills("paper")[::-1]
    assert order.state == FILLED
    assert [(f.fill_px, f.fill_sz) for f in fills] == [
        (asks[0].px, asks[0].sz),
        (asks[1].px, asks[1].sz),
        (asks[2].px, 1),
    ]
    assert order.avg_px == sum(f.fill_px * f.fill_sz for f in fills) / wanted
    assert {f.exec_type for f in fills} == {"T"}


def test_what_was_eaten_is_missing_and_comes_back_with_time(venue: Venue, place: Place, clock: ManualClock) -> None:
    """Two big orders in a row must not find the same depth twice; a minute later the book is whole."""
    before = venue.book("DOGE-USD-SWAP", 50)
    place("buy", before.asks[0].sz + before.asks[1].sz, "DOGE-USD-SWAP")
    after = venue.book("DOGE-USD-SWAP", 50)
    assert after.asks[0] == before.asks[2]
    assert after.bids == before.bids
    assert venue.ticker("DOGE-USD-SWAP").ask_px == before.asks[2].px
    clock.advance(60)
    assert len(venue.book("DOGE-USD-SWAP", 50).asks) == 20


def test_a_limit_order_takes_what_is_there_and_rests_with_the_remainder(venue: Venue, place: Place) -> None:
    """The partial fill every executor must cope with."""
    best = venue.book("DOGE-USD-SWAP").asks[0]
    order = found(venue, place("buy", best.sz + 5, "DOGE-USD-SWAP", px=best.px))
    assert (order.state, order.acc_fill_sz) == (PARTIALLY_FILLED, best.sz)
    assert venue.orders_pending("paper") == [order]
    assert venue.book("DOGE-USD-SWAP").bids[0].px == best.px


def test_a_resting_order_is_filled_bit_by_bit_once_the_market_comes(
    venue: Venue, place: Place, clock: ManualClock
) -> None:
    """More than the crowd trades in a tick takes several ticks, each a fill at the order's own price."""
    size = venue.book("BNB-USD-SWAP").bids[0].sz * 6
    order = found(venue, place("sell", size, "BNB-USD-SWAP", px=1, ordType="post_only"))
    for _ in range(7200):
        clock.advance(1)
        venue.advance()
        if not order.is_open:
            break
    fills = venue.fills("paper")
    assert order.state == FILLED
    assert len(fills) > 1
    assert {(f.fill_px, f.exec_type) for f in fills} == {(order.px, "M")}
    assert all(f.ts % 1000 == 0 for f in fills)


def test_an_order_away_from_the_market_stays_as_it_is(venue: Venue, place: Place, clock: ManualClock) -> None:
    """A fill without the price having been there would be a gift."""
    order = found(venue, place("buy", 1, px=-20_000))
    clock.advance(5)
    venue.advance()
    assert venue.candles("BTC-USD-SWAP", "1m", limit=1)[0].low > (order.px or 0)
    assert order.state == LIVE


def test_ioc_cancels_its_remainder(venue: Venue, place: Place) -> None:
    """Immediate or cancel: nothing may be left resting."""
    best = venue.book("DOGE-USD-SWAP").asks[0]
    order = found(venue, place("buy", best.sz + 5, "DOGE-USD-SWAP", px=best.px, ordType="ioc"))
    assert (order.state, order.acc_fill_sz, order.cancel_source) == (CANCELED, best.sz, "14")
    assert venue.orders_pending("paper") == []


def test_fok_is_all_or_nothing(venue: Venue, place: Place) -> None:
    """Fill or kill: one lot too many and nothing happens."""
    best = venue.book("DOGE-USD-SWAP").asks[0]
    killed = found(venue, place("buy", best.sz + 1, "DOGE-USD-SWAP", px=best.px, ordType="fok"))
    assert (killed.state, killed.acc_fill_sz, killed.cancel_source) == (CANCELED, 0, "13")
    assert venue.book("DOGE-USD-SWAP").asks[0] == best
    assert found(venue, place("buy", best.sz, "DOGE-USD-SWAP", px=best.px, ordType="fok")).state == FILLED


def test_post_only_never_takes(venue: Venue, place: Place) -> None:
    """It is acknowledged and then canceled by the system, as OKX does it."""
    order = found(venue, place("buy", 1, px=venue.book("BTC-USD-SWAP").asks[0].px, ordType="post_only"))
    assert (order.state, order.cancel_source) == (CANCELED, "31")
    assert venue.fills("paper") == []


def test_a_market_order_beyond_the_whole_book_is_filled_in_part(venue: Venue, place: Place) -> None:
    """Depth ends: what nobody offers is canceled, not invented."""
    venue.set_leverage("paper", "ADA-USD-SWAP", "50")
    there = sum(level.sz for level in venue.book("ADA-USD-SWAP", 50).asks)
    order = found(venue, place("buy", there + 10, "ADA-USD-SWAP"))
    assert (order.state, order.acc_fill_sz) == (CANCELED, there)
    assert venue.book("ADA-USD-SWAP").asks == ()
    assert venue.ticker("ADA-USD-SWAP").ask_px is None


def test_a_client_id_works_once_even_after_its_order_is_done(venue: Venue, place: Place) -> None:
    """Exactly-once rests on this: a resend with the same id is told so, live or finished; others are free."""
    done, live = place("buy", 1, clOrdId="abc1"), place("buy", 1, px=-900, clOrdId="abc2")
    assert found(venue, done).state == FILLED
    for again in ("abc1", "abc2"):
        assert place("buy", 1, clOrdId=again).s_code == "51016"
    assert place("buy", 1, clOrdId="abc1", account="second").s_code == "0"
    assert venue.order("paper", "BTC-USD-SWAP", cl_ord_id="abc2").ord_id == live.ord_id
    assert place("buy", "0.001", clOrdId="abc3").s_code == "51020"
    assert place("buy", 1, clOrdId="abc3").s_code == "0"


def test_spot_market_orders_count_in_base_or_quote(venue: Venue, place: Place) -> None:
    """OKX's default for a market buy is quote currency; ccxt asks for base. Both must mean what they say."""
    base = found(venue, place("buy", "0.01", "BTC-USD", tgtCcy="base_ccy"))
    assert base.acc_fill_sz == Decimal("0.01")
    quote = found(venue, place("buy", "500", "BTC-USD"))
    assert (quote.tgt_ccy, quote.state) == ("quote_ccy", FILLED)
    spent = sum(f.fill_px * f.fill_sz for f in venue.fills("paper", ord_id=quote.ord_id))
    assert Decimal("499.99") < spent <= 500
    sold = found(venue, place("sell", "300", "BTC-USD", tgtCcy="quote_ccy"))
    assert Decimal("299.99") < sum(f.fill_px * f.fill_sz for f in venue.fills("paper", ord_id=sold.ord_id)) <= 300


def test_two_users_trade_with_each_other_inside_the_spread(venue: Venue, place: Place) -> None:
    """A sub-account's order is as real as the crowd's, and both sides see one trade."""
    bid = venue.ticker("BTC-USD-SWAP").bid_px or Decimal(0)
    maker = found(venue, place("buy", 3, px=bid + Decimal("0.1")))
    taker = found(venue, place("sell", 2, account="second"), "second")
    assert (maker.state, maker.acc_fill_sz, taker.state) == (PARTIALLY_FILLED, 2, FILLED)
    (bought,), (sold,) = venue.fills("paper"), venue.fills("second")
    assert bought.trade_id == sold.trade_id
    assert bought.fill_px == sold.fill_px == maker.px
    assert (bought.exec_type, sold.exec_type) == ("M", "T")


def test_the_better_price_and_then_the_earlier_order_is_served_first(venue: Venue, place: Place) -> None:
    """Price-time priority, and an amended order keeps its place only by getting smaller."""
    px = (venue.ticker("BTC-USD-SWAP").bid_px or Decimal(0)) + Decimal("0.1")
    early, late = (found(venue, place("buy", 2, px=px)) for _ in range(2))
    better = found(venue, place("buy", 1, px=px + Decimal("0.1")))
    place("sell", 2, account="second")
    assert [order.acc_fill_sz for order in (better, early, late)] == [1, 1, 0]
    body = {"instId": "BTC-USD-SWAP", "ordId": early.ord_id, "newSz": "1.5"}
    assert venue.amend_order("paper", body).s_code == "0"
    place("sell", "0.25", account="second")
    assert (early.acc_fill_sz, late.acc_fill_sz) == (Decimal("1.25"), 0)
    assert venue.amend_order("paper", body | {"newSz": "4"}).s_code == "0"
    place("sell", "0.25", account="second")
    assert (early.acc_fill_sz, late.acc_fill_sz) == (Decimal("1.25"), Decimal("0.25"))


@pytest.mark.parametrize(
    ("mode", "resting", "arriving"),
    [
        ("", CANCELED, FILLED),
        ("cancel_maker", CANCELED, FILLED),
        ("cancel_taker", LIVE, CANCELED),
        ("cancel_both", CANCELED, CANCELED),
    ],
)
def test_an_account_never_trades_with_itself(
    venue: Venue, place: Place, mode: str, resting: str, arriving: str
) -> None:
    """OKX cancels the maker unless told otherwise; a wash trade would falsify every figure."""
    px = (venue.ticker("BTC-USD-SWAP").bid_px or Decimal(0)) + Decimal("0.1")
    maker = found(venue, place("buy", 1, px=px))
    taker = found(venue, place("sell", 1, stpMode=mode))
    assert (maker.state, taker.state) == (resting, arriving)
    assert maker.acc_fill_sz == 0


def test_canceling_says_exactly_why_it_cannot(venue: Venue, place: Place) -> None:
    """Unknown, canceled already and filled already are three different answers to an executor."""
    order = found(venue, place("buy", 1, px=-900, clOrdId="mine1"))
    body = {"instId": "BTC-USD-SWAP", "clOrdId": "mine1"}
    assert venue.cancel_order("paper", body).s_code == "0"
    assert (order.state, order.cancel_source) == (CANCELED, "1")
    assert venue.cancel_order("paper", body).s_code == "51401"
    filled = place("buy", 1)
    assert venue.cancel_order("paper", {"instId": "BTC-USD-SWAP", "ordId": filled.ord_id}).s_code == "51402"
    assert venue.cancel_order("second", body).s_code == "51400"
    assert venue.cancel_order("paper", {"instId": "BTC-USD-SWAP"}).s_code == "51407"
    with pytest.raises(VenueError, match="51603"):
        venue.order("paper", "BTC-USD-SWAP", ord_id="123")


def test_each_order_of_a_batch_has_its_own_answer(venue: Venue) -> None:
    """One bad order must not take the others down with it."""
    good = {"instId": "BTC-USD-SWAP", "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "1", "clOrdId": "b1"}
    acks = venue.place_orders("paper", [good, good, good | {"sz": "0.001", "clOrdId": "b3"}, good | {"clOrdId": "b4"}])
    assert [ack.s_code for ack in acks] == ["0", "51016", "51020", "0"]
    assert [ack.cl_ord_id for ack in acks] == ["b1", "b1", "b3", "b4"]


def test_amending_is_checked_like_placing(venue: Venue, place: Place) -> None:
    """A refused change leaves the order as it was, unless the client wants it gone."""
    order = found(venue, place("buy", 1, px=-900))
    body = {"instId": "BTC-USD-SWAP", "ordId": order.ord_id}
    before = (order.px, order.sz, order.seq)
    for change, code in (
        ({}, "50014"),
        ({"newSz": "0.001"}, "51020"),
        ({"newPx": "1"}, "51000"),
        ({"newSz": "3000"}, "51008"),
    ):
        body_ = body | change if change != {"newPx": "1"} else body | {"newPx": "50000.05"}
        assert venue.amend_order("paper", body_).s_code == code
    assert (order.px, order.sz, order.seq) == before
    crossing = str(venue.ticker("BTC-USD-SWAP").ask_px)
    assert venue.amend_order("paper", body | {"newPx": crossing}).s_code == "0"
    assert order.state == FILLED
    assert venue.amend_order("paper", body | {"newSz": "2"}).s_code == "51510"
    other = found(venue, place("buy", 1, px=-900))
    assert (
        venue.amend_order("paper", {"instId": "", "ordId": other.ord_id, "newSz": "x", "cxlOnFail": True}).s_code
        == "51000"
    )
    assert other.state == CANCELED


def test_lists_are_newest_first_and_filtered(venue: Venue, place: Place) -> None:
    """What pages and histories are cut from."""
    acks = [place("buy", 1, px=-900 - n) for n in range(3)] + [place("buy", "0.01", "BTC-USD", px=-900)]
    assert [o.ord_id for o in venue.orders_pending("paper")] == [ack.ord_id for ack in acks[::-1]]
    assert [o.ord_id for o in venue.orders_pending("paper", "SPOT")] == [acks[3].ord_id]
    venue.cancel_orders("paper", [{"instId": "BTC-USD-SWAP", "ordId": ack.ord_id} for ack in acks[:2]])
    assert [o.ord_id for o in venue.orders_history("paper", "SWAP", state=CANCELED)] == [acks[1].ord_id, acks[0].ord_id]
    assert venue.orders_history("paper", inst_id="BTC-USD") == []
    assert venue.orders_pending("second") == []
