"""Algo orders: what is refused, when they fire, and what they then place."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from kontor.paper.clock import ManualClock
from kontor.paper.venue import Venue
from tests.unit.paper.algos import HOUR, body, held, jump
from tests.unit.paper.books import SWAP
from tests.unit.paper.conftest import Place, Stop


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("51001", {"instId": "BTC-EUR"}),
        ("51000", {"ordType": "iceberg", "slTriggerPx": "50000"}),
        ("51000", {"side": "hold", "slTriggerPx": "50000"}),
        ("51000", {"tdMode": "cash", "slTriggerPx": "50000"}),
        ("51000", {"posSide": "long", "slTriggerPx": "50000"}),
        ("50014", {"slOrdPx": None}),
        ("51000", {"slTriggerPx": "50000", "slOrdPx": None}),
        ("51000", {}),
        ("51000", {"slTriggerPx": "50000.05"}),
        ("51000", {"slTriggerPx": "50000", "slOrdPx": "-2"}),
        ("51000", {"slTriggerPx": "50000", "slTriggerPxType": "oracle"}),
        ("51280", {"slTriggerPx": "90000"}),
        ("51304", {"slTriggerPx": "90000", "slTriggerPxType": "mark"}),
        ("51308", {"slTriggerPx": "90000", "slTriggerPxType": "index"}),
        ("51278", {"side": "buy", "slTriggerPx": "1000"}),
        ("51279", {"tpTriggerPx": "1000", "tpOrdPx": "-1", "slOrdPx": None}),
        ("51277", {"side": "buy", "tpTriggerPx": "90000", "tpOrdPx": "-1", "slOrdPx": None}),
        ("51000", {"ordType": "oco", "slTriggerPx": "50000"}),
        ("50014", {"slTriggerPx": "50000", "sz": None}),
        ("51121", {"slTriggerPx": "50000", "sz": "1.005"}),
        ("51275", {"slTriggerPx": "50000", "sz": "999999"}),
        ("51000", {"slTriggerPx": "50000", "algoClOrdId": "with-dash"}),
        ("51000", {"slTriggerPx": "50000", "cxlOnClosePos": True, "reduceOnly": False}),
        ("51058", {"slTriggerPx": "50000", "closeFraction": "1", "sz": None}),
        ("51000", {"slTriggerPx": "50000", "closeFraction": "0.5", "sz": None}),
        ("51328", {"slTriggerPx": "50000", "closeFraction": "1", "sz": None, "reduceOnly": False}),
        ("51330", {"slTriggerPx": "50000", "slOrdPx": "49000", "closeFraction": "1", "sz": None}),
        ("51327", {"instId": "BTC-USD", "slTriggerPx": "50000", "closeFraction": "1", "reduceOnly": False}),
        ("51205", {"instId": "BTC-USD", "slTriggerPx": "50000"}),
        ("51205", {"ordType": "trigger", "triggerPx": "50000", "orderPx": "-1"}),
        ("50014", {"ordType": "trigger", "triggerPx": "50000", "reduceOnly": False}),
        ("51000", {"ordType": "move_order_stop"}),
        ("51000", {"ordType": "move_order_stop", "callbackRatio": "0.01", "callbackSpread": "10"}),
        ("51311", {"ordType": "move_order_stop", "callbackRatio": "2"}),
    ],
)
def test_a_wrong_algo_order_is_refused_with_okx_code(venue: Venue, code: str, change: dict[str, Any]) -> None:
    """The desk tells a stop that was refused from one that may be there by these codes; nothing stays behind."""
    ack = venue.place_algo("paper", body(**change))
    assert ack.s_code == code, ack
    assert ack.s_msg
    assert ack.algo_id == ""
    assert venue.algos_pending("paper") == []


def test_a_stop_loss_stands_until_its_price_and_then_closes_at_market(venue: Venue, place: Place, stop: Stop) -> None:
    """The whole point: it fires without anybody there, once, for what is held, and names the order it placed."""
    place("buy", 10)
    algo = stop(slTriggerPx=-1000, algoClOrdId="stop1", tag="desk")
    jump(venue, -999)
    assert algo.is_live
    jump(venue, -1)
    assert (algo.state, algo.actual_side, algo.actual_sz) == ("effective", "sl", 10)
    assert algo.trigger_time == venue._engine.state.step * 1000
    order = venue.order("paper", SWAP, algo.ord_id)
    assert (order.state, order.side, order.ord_type, order.reduce_only) == ("filled", "sell", "market", True)
    assert (order.source, order.algo_id, order.algo_cl_ord_id, order.tag) == ("7", algo.algo_id, "stop1", "desk")
    assert held(venue) == 0
    jump(venue, -5000)
    assert len(venue.orders_history("paper")) == 2
    assert venue.algos_pending("paper") == []
    assert venue.algos_history("paper") == [algo]


def test_a_stop_fires_at_the_very_tick_that_reaches_it_however_late_somebody_looks(
    open_venue: Callable[..., Venue], clock: ManualClock
) -> None:
    """Time is the venue's: a day without a caller must give the same stop, at the same moment and price."""
    venue = open_venue()
    market, instrument = venue._engine.state.market, venue.instrument(SWAP)
    start, per_minute = venue._engine.state.step, market.ticks_per_minute
    ticks = [
        market.minute_ticks(instrument, step // per_minute)[step % per_minute]
        for step in range(start, start + 6 * HOUR)
    ]
    lowest = min(ticks)
    wanted = (ticks[0] + lowest) // 2
    first = next(place for place, price in enumerate(ticks) if place and price <= wanted)
    venue.place_order("paper", {"instId": SWAP, "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "10"})
    ack = venue.place_algo("paper", body(slTriggerPx=str(wanted * instrument.tick_sz)))
    clock.advance(24 * HOUR)
    algo = venue.algo("paper", ack.algo_id)
    assert algo.trigger_time == (start + first) * 1000
    assert venue.order("paper", SWAP, algo.ord_id).fill_time == (start + first) * 1000
    assert venue.algos_pending("paper") == []


def test_a_take_profit_waits_for_a_better_price(venue: Venue, place: Place, stop: Stop) -> None:
    """The same order the other way: it must not fire on a loss."""
    place("sell", 10)
    algo = stop(side="buy", slOrdPx=None, tpTriggerPx=-500, tpOrdPx="-1")
    jump(venue, 2000)
    assert algo.is_live
    jump(venue, -2500)
    assert (algo.state, algo.actual_side) == ("effective", "tp")
    assert held(venue) == 0


def test_one_half_of_an_oco_ends_the_other(venue: Venue, place: Place, stop: Stop) -> None:
    """A stop loss that survived its take profit would open a position of its own."""
    place("buy", 10)
    algo = stop(ordType="oco", slTriggerPx=-500, tpTriggerPx=500, tpOrdPx="-1")
    jump(venue, 500)
    assert (algo.state, algo.actual_side) == ("effective", "tp")
    jump(venue, -2000)
    assert held(venue) == 0
    assert len(venue.orders_history("paper")) == 2


def test_of_a_one_way_order_with_both_prices_only_the_stop_loss_counts(venue: Venue, place: Place, stop: Stop) -> None:
    """OKX's own rule, which surprises: a desk that relies on the take profit must hear of it here first."""
    place("buy", 10)
    algo = stop(slTriggerPx=-500, tpTriggerPx=500, tpOrdPx="-1")
    jump(venue, 700)
    assert algo.is_live
    jump(venue, -1300)
    assert algo.actual_side == "sl"


def test_a_stop_never_turns_a_position_around(venue: Venue, place: Place, stop: Stop) -> None:
    """The position has shrunk since: the stop closes what is left, and one without anything to close fails."""
    place("buy", 10)
    algo, second = stop(slTriggerPx=-500), stop(slTriggerPx=-600)
    place("sell", 7, reduceOnly=True)
    jump(venue, -700)
    assert (algo.state, algo.actual_sz) == ("effective", 3)
    assert held(venue) == 0
    assert (second.state, second.fail_code) == ("order_failed", "51169")


def test_close_fraction_closes_whatever_is_held_then_and_goes_with_the_position(
    venue: Venue, place: Place, stop: Stop
) -> None:
    """One stop for a whole position, however it changes; OKX takes one of them, and drops it once the position is."""
    place("buy", 10)
    algo = stop(slTriggerPx=-500, closeFraction="1", sz=None)
    assert venue.place_algo("paper", body(slTriggerPx="50000", closeFraction="1", sz=None)).s_code == "51056"
    assert venue.positions("paper")[0].closing_algos == (algo,)
    place("buy", 5)
    jump(venue, -500)
    assert (algo.state, algo.actual_sz, held(venue)) == ("effective", 15, 0)
    place("buy", 10)
    again = stop(slTriggerPx=-500, closeFraction="1", sz=None)
    place("sell", 10)
    assert again.state == "canceled"


def test_a_stop_bound_to_its_position_goes_with_it_and_others_stay(venue: Venue, place: Place, stop: Stop) -> None:
    """OKX leaves an ordinary stop behind when its position is closed: the desk has to clear it away."""
    place("buy", 10)
    bound, loose = stop(slTriggerPx=-500, cxlOnClosePos=True), stop(slTriggerPx=-500)
    place("sell", 4)
    assert bound.is_live
    place("sell", 6)
    assert (bound.state, loose.state) == ("canceled", "live")


def test_a_limit_stop_places_its_limit_order_and_may_miss(venue: Venue, place: Place, stop: Stop) -> None:
    """Through a gap the limit rests above the market: a position still open, which the desk must notice."""
    place("buy", 10)
    last = venue.mark_price(SWAP)
    algo = stop(slTriggerPx=-500, slOrdPx=str(last - 55))
    jump(venue, -5000)
    order = venue.order("paper", SWAP, algo.ord_id)
    assert (order.state, order.px, algo.actual_px) == ("live", last - 55, last - 55)
    assert held(venue) == 10


def test_a_stop_whose_order_is_refused_says_why(venue: Venue, place: Place, stop: Stop) -> None:
    """A price beyond the limits, and money that is gone: the order never comes to be, and the code tells."""
    place("buy", 10)
    algo = stop(slTriggerPx=-500, slOrdPx=str(venue.mark_price(SWAP) - 10_000))
    spot = stop(instId="BTC-USD", reduceOnly=False, tdMode="cash", sz="0.5", slTriggerPx=-500)
    jump(venue, -500)
    assert (algo.state, algo.fail_code, algo.ord_id) == ("order_failed", "51006", "")
    assert (spot.state, spot.fail_code) == ("order_failed", "51008")


@pytest.mark.parametrize(("side", "away"), [("buy", 500), ("buy", -500), ("sell", 500), ("sell", -500)])
def test_a_trigger_fires_from_the_side_on_which_the_market_was(venue: Venue, stop: Stop, side: str, away: int) -> None:
    """A plain trigger is neither stop nor profit: it waits for a price, above or below, and opens a position."""
    algo = stop(ordType="trigger", side=side, triggerPx=away, orderPx="-1", reduceOnly=False)
    jump(venue, -away)
    assert algo.is_live
    jump(venue, 2 * away)
    assert algo.state == "effective"
    assert venue.order("paper", SWAP, algo.ord_id).source == "6"
    assert held(venue) == (10 if side == "buy" else -10)


def test_a_trailing_stop_follows_the_best_price_and_never_backs_down(venue: Venue, place: Place, stop: Stop) -> None:
    """Up with the market, not down with it; a tenth of a percent back from the top it closes."""
    place("buy", 10)
    algo = stop(ordType="move_order_stop", callbackSpread="100", slOrdPx=None)
    top = venue.mark_price(SWAP)
    for ticks in (500, -900, 3000):
        jump(venue, ticks)
        top = max(top, venue.mark_price(SWAP))
    assert algo.is_live
    venue.set_price(SWAP, top - Decimal("99.9"))
    assert algo.is_live
    venue.set_price(SWAP, top - 100)
    assert (algo.state, held(venue)) == ("effective", 0)
    assert venue.order("paper", SWAP, algo.ord_id).source == "25"


def test_a_trailing_stop_sleeps_until_its_activation_price(venue: Venue, place: Place, stop: Stop) -> None:
    """Before it the way down is nobody's business."""
    place("buy", 10)
    algo = stop(ordType="move_order_stop", callbackSpread="50", activePx=1000, slOrdPx=None)
    jump(venue, -3000)
    assert algo.is_live
    jump(venue, 4000)
    jump(venue, 300)
    jump(venue, -499)
    assert algo.is_live
    jump(venue, -1)
    assert algo.state == "effective"


@pytest.mark.parametrize("ratio", ["0.002", "0.01"])
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_a_trailing_stop_fires_where_its_path_says_however_it_is_watched(
    open_venue: Callable[..., Venue], clock: ManualClock, ratio: str, side: str
) -> None:
    """Candles, ticks, one look or a thousand: the same tick. The path is worked out here, tick by tick."""
    venue = open_venue()
    market, instrument = venue._engine.state.market, venue.instrument(SWAP)
    start, per_minute = venue._engine.state.step, market.ticks_per_minute
    best = market.last_ticks(instrument, start)
    expected = None
    for step in range(start + 1, start + 24 * HOUR):
        price = market.minute_ticks(instrument, step // per_minute)[step % per_minute]
        best = max(best, price) if side == "sell" else min(best, price)
        away = best - price if side == "sell" else price - best
        if away >= best * Decimal(ratio):
            expected = step
            break
    assert expected is not None
    opening = {"instId": SWAP, "tdMode": "cross", "ordType": "market", "sz": "10"}
    venue.place_order("paper", opening | {"side": "buy" if side == "sell" else "sell"})
    trailing = body(ordType="move_order_stop", side=side, callbackRatio=ratio, slOrdPx=None)
    ack = venue.place_algo("paper", trailing)
    for seconds in (0.4, 1, 33, 700, 24 * HOUR):
        clock.advance(seconds)
        venue.advance()
    assert venue.algo("paper", ack.algo_id).trigger_time == expected * 1000


def test_a_spot_stop_sells_what_it_was_told_to(venue: Venue, place: Place, stop: Stop) -> None:
    """Ccxt sends tdMode cross for these; a buy at market counts its money unless told otherwise."""
    place("buy", "0.2", "BTC-USD", tgtCcy="base_ccy")
    algo = stop(instId="BTC-USD", tdMode="cross", reduceOnly=False, sz="0.1", slTriggerPx=-500)
    spend = stop(instId="BTC-USD", tdMode="cash", side="buy", reduceOnly=False, sz="500", slTriggerPx=700)
    jump(venue, -500, "BTC-USD")
    assert venue.order("paper", "BTC-USD", algo.ord_id).acc_fill_sz == Decimal("0.1")
    jump(venue, 1300, "BTC-USD")
    assert (spend.tgt_ccy, spend.state) == ("quote_ccy", "effective")
    assert venue.order("paper", "BTC-USD", spend.ord_id).tgt_ccy == "quote_ccy"
