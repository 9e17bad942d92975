"""Algo orders: what is refused, when they fire, what they then place, and that nothing but their price ends them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kontor.paper.algos.model import AlgoOrder
from kontor.paper.clock import ManualClock
from kontor.paper.model import Event, OrderAck, VenueError
from kontor.paper.venue import Venue

Place = Callable[..., OrderAck]
Stop = Callable[..., AlgoOrder]
SWAP = "BTC-USD-SWAP"
HOUR = 3600


def body(**changes: Any) -> dict[str, Any]:
    return {
        "instId": SWAP,
        "tdMode": "cross",
        "side": "sell",
        "ordType": "conditional",
        "sz": "10",
        "reduceOnly": True,
        "slOrdPx": "-1",
    } | changes


@pytest.fixture
def stop(venue: Venue) -> Stop:
    """Places an algo order; prices in ticks from the last one when they are ints."""

    def stop_(account: str = "paper", **changes: Any) -> AlgoOrder:
        given = body(**changes)
        instrument = venue.instrument(given["instId"])
        for name in ("slTriggerPx", "tpTriggerPx", "triggerPx", "activePx"):
            if isinstance(given.get(name), int):
                given[name] = str(venue.mark_price(instrument.inst_id) + given[name] * instrument.tick_sz)
        ack = venue.place_algo(account, given)
        assert ack.s_code == "0", ack
        return venue.algo(account, ack.algo_id)

    return stop_


def jump(venue: Venue, ticks: int, inst_id: str = SWAP) -> None:
    instrument = venue.instrument(inst_id)
    venue.set_price(inst_id, venue.mark_price(inst_id) + ticks * instrument.tick_sz)


def held(venue: Venue, account: str = "paper") -> Decimal:
    return sum((position.pos for position in venue.positions(account)), Decimal(0))


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


def test_algo_orders_are_found_changed_and_canceled_by_either_id(venue: Venue, place: Place, stop: Stop) -> None:
    """A desk that lost the answer has only its own id; ids are never used twice, not even of canceled orders."""
    place("buy", 10)
    algo = stop(slTriggerPx=-500, algoClOrdId="mine")
    assert venue.algo("paper", algo_cl_ord_id="mine") is algo
    assert venue.place_algo("paper", body(slTriggerPx="50000", algoClOrdId="mine")).s_code == "51068"
    by_old_name = stop(slTriggerPx=-500, clOrdId="ccxt1")
    assert (by_old_name.algo_cl_ord_id, by_old_name.cl_ord_id) == ("ccxt1", "ccxt1")
    with pytest.raises(VenueError, match="51603"):
        venue.algo("paper", algo_cl_ord_id="other")
    with pytest.raises(VenueError, match="50015"):
        venue.algo("paper")
    (ack,) = venue.cancel_algos("paper", [{"instId": SWAP, "algoClOrdId": "mine"}])
    assert (ack.s_code, ack.algo_id, algo.state) == ("0", algo.algo_id, "canceled")
    (ack,) = venue.cancel_algos("paper", [{"instId": SWAP, "algoClOrdId": "mine"}])
    assert ack.s_code == "51401"
    assert venue.cancel_algos("paper", [{"instId": SWAP, "algoId": "1"}])[0].s_code == "51400"
    assert venue.place_algo("paper", body(slTriggerPx="50000", algoClOrdId="mine")).s_code == "51068"
    jump(venue, -600)
    assert venue.cancel_algos("paper", [{"instId": SWAP, "algoClOrdId": "ccxt1"}])[0].s_code == "51402"


def test_a_stop_is_moved_and_resized_without_a_moment_unprotected(venue: Venue, place: Place, stop: Stop) -> None:
    """Resized after every partial fill, tightened by the desk: the same order throughout, and all or nothing."""
    place("buy", 10)
    algo = stop(slTriggerPx=-1000)
    last = venue.mark_price(SWAP)
    assert venue.amend_algo("paper", {"instId": SWAP, "algoId": algo.algo_id, "newSz": "4"}).s_code == "0"
    moved = {"instId": SWAP, "algoId": algo.algo_id, "newSlTriggerPx": str(last - 20), "reqId": "r1"}
    ack = venue.amend_algo("paper", moved)
    assert (ack.s_code, ack.req_id) == ("0", "r1")
    assert (algo.sz, algo.sl_trigger_px, algo.sl_ord_px) == (4, last - 20, -1)
    wrong = {"instId": SWAP, "algoId": algo.algo_id, "newSz": "3", "newSlTriggerPx": str(last + 20)}
    assert venue.amend_algo("paper", wrong).s_code == "51280"
    assert (algo.sz, algo.sl_trigger_px) == (4, last - 20)
    jump(venue, -200)
    assert (algo.state, algo.actual_sz, held(venue)) == ("effective", 4, 6)
    assert venue.amend_algo("paper", moved).s_code == "51510"
    assert venue.amend_algo("paper", {"instId": SWAP, "algoId": "9", "newSz": "4"}).s_code == "51503"


def test_amendments_of_the_other_kinds(venue: Venue, place: Place, stop: Stop) -> None:
    """An oco loses a half at price 0, a trigger moves to the other side, a trailing stop cannot be changed."""
    place("buy", 10)
    last = venue.mark_price(SWAP)
    oco = stop(ordType="oco", slTriggerPx=-500, tpTriggerPx=500, tpOrdPx="-1")
    assert venue.amend_algo("paper", {"algoId": oco.algo_id, "newTpTriggerPx": "0"}).s_code == "0"
    assert (oco.ord_type, oco.tp_trigger_px) == ("conditional", None)
    assert venue.amend_algo("paper", {"algoId": oco.algo_id, "newSlTriggerPx": "0"}).s_code == "51000"
    assert venue.amend_algo("paper", {"algoId": oco.algo_id, "newTpTriggerPx": str(last + 5)}).s_code == "51000"
    trigger = stop(ordType="trigger", triggerPx=-500, orderPx="-1", reduceOnly=False)
    change = {"algoId": trigger.algo_id, "newTriggerPx": str(last + 50), "newOrdPx": str(last + 60)}
    assert venue.amend_algo("paper", change).s_code == "0"
    assert (trigger.rises, trigger.ord_px) == (True, last + 60)
    trailing = stop(ordType="move_order_stop", callbackSpread="100", slOrdPx=None)
    assert venue.amend_algo("paper", {"algoId": trailing.algo_id, "newSz": "4"}).s_code == "51506"
    assert venue.amend_algo("paper", {"algoId": trailing.algo_id, "newSz": "4", "cxlOnFail": True}).s_code == "51506"
    assert trailing.state == "canceled"
    assert venue.amend_algo("paper", {"algoId": trigger.algo_id}).s_code == "50014"


def test_the_dead_mans_switch_spares_stops(venue: Venue, place: Place, stop: Stop, clock: ManualClock) -> None:
    """Entries go when the desk dies, protection stays: as on OKX, where the switch does not know algo orders."""
    place("buy", 10)
    place("buy", 1, px=-20_000)
    algo = stop(slTriggerPx=-30_000)
    venue.cancel_all_after("paper", 10)
    clock.advance(11)
    assert venue.orders_pending("paper") == []
    assert venue.algos_pending("paper") == [algo]


def attach(venue: Venue, **exits: int) -> dict[str, Any]:
    last = venue.mark_price(SWAP)
    rows = {f"{kind}TriggerPx": str(last + away) for kind, away in exits.items()}
    return {"attachAlgoOrds": [rows | {f"{kind}OrdPx": "-1" for kind in exits} | {"attachAlgoClOrdId": "guard"}]}


def test_an_order_brings_its_stop_along(venue: Venue, place: Place) -> None:
    """Placed with the entry: from the fill on there is no moment without protection."""
    ack = place("buy", 10, **attach(venue, sl=-50, tp=70))
    (algo,) = venue.algos_pending("paper")
    assert (algo.ord_type, algo.side, algo.sz, algo.reduce_only) == ("oco", "sell", 10, True)
    assert algo.algo_cl_ord_id == "guard"
    assert venue.order("paper", SWAP, ack.ord_id).attached
    jump(venue, -500)
    assert (algo.state, held(venue)) == ("effective", 0)


def test_an_attached_stop_comes_with_the_whole_fill_only(venue: Venue, place: Place, clock: ManualClock) -> None:
    """OKX posts it once the order is filled completely: until then a part is unprotected, and the desk must act."""
    best = venue.book("DOGE-USD-SWAP").asks[0]
    rows = [{"slTriggerPx": str(best.px - Decimal("0.02")), "slOrdPx": "-1", "attachAlgoClOrdId": "late"}]
    ack = place("buy", best.sz + 5, "DOGE-USD-SWAP", px=best.px, attachAlgoOrds=rows)
    order = venue.order("paper", "", ack.ord_id)
    assert order.state == "partially_filled"
    assert venue.algos_pending("paper") == []
    assert venue.place_algo("paper", body(slTriggerPx="50000", algoClOrdId="late")).s_code == "51068"
    for _ in range(7200):
        clock.advance(1)
        venue.advance()
        if not order.is_open:
            break
    (algo,) = venue.algos_pending("paper")
    assert (algo.algo_cl_ord_id, algo.sz) == ("late", best.sz + 5)
    assert venue.algo("paper", algo_cl_ord_id="late") is algo


def test_an_attached_stop_goes_with_its_canceled_order(venue: Venue, place: Place) -> None:
    """Nothing was bought: nothing is protected."""
    ack = place("buy", 10, px=-20_000, attachAlgoOrds=[{"slTriggerPx": "1000", "slOrdPx": "-1"}])
    venue.cancel_order("paper", {"instId": SWAP, "ordId": ack.ord_id})
    jump(venue, -21_000)
    assert venue.algos_pending("paper") == venue.algos_history("paper") == []


@pytest.mark.parametrize(
    ("code", "side", "row", "more"),
    [
        ("51047", "buy", {"slTriggerPx": "90000", "slOrdPx": "-1"}, {}),
        ("51046", "buy", {"tpTriggerPx": "1000", "tpOrdPx": "-1"}, {}),
        ("51049", "sell", {"slTriggerPx": "1000", "slOrdPx": "-1"}, {}),
        ("51048", "sell", {"tpTriggerPx": "90000", "tpOrdPx": "-1"}, {}),
        ("51000", "buy", {"slTriggerPx": "1000"}, {}),
        ("51000", "buy", {}, {}),
        ("51000", "buy", {"slTriggerPx": "1000", "slOrdPx": "-1", "attachAlgoClOrdId": "a-b"}, {}),
        ("51333", "sell", {"slTriggerPx": "90000", "slOrdPx": "-1"}, {"reduceOnly": True}),
    ],
)
def test_a_wrong_attached_exit_refuses_the_whole_order(
    venue: Venue, place: Place, code: str, side: str, row: dict[str, Any], more: dict[str, Any]
) -> None:
    """An entry without the protection it asked for would be worse than none."""
    place("buy", 1)
    assert place(side, 10, attachAlgoOrds=[row], **more).s_code == code
    assert held(venue) == 1


def test_attached_exits_of_a_resting_order_are_amended(venue: Venue, place: Place) -> None:
    """By the id the venue gave it, by our own, or alone; price 0 takes one away."""
    rows = [{"slTriggerPx": "1000", "slOrdPx": "-1", "tpTriggerPx": "90000", "tpOrdPx": "-1", "attachAlgoClOrdId": "g"}]
    ack = place("buy", 10, px=-20_000, attachAlgoOrds=rows)
    order = venue.order("paper", SWAP, ack.ord_id)
    named = {"instId": SWAP, "ordId": ack.ord_id}
    change = named | {"attachAlgoOrds": [{"attachAlgoClOrdId": "g", "newSlTriggerPx": "2000"}]}
    assert venue.amend_order("paper", change).s_code == "0"
    assert '"slTriggerPx": "2000"' in order.attached
    assert venue.amend_order("paper", named | {"newTpTriggerPx": "0"}).s_code == "0"
    assert "tpTriggerPx" not in order.attached
    unknown = named | {"attachAlgoOrds": [{"attachAlgoId": "1", "newSlTriggerPx": "2000"}]}
    assert venue.amend_order("paper", unknown).s_code == "51527"
    above = named | {"attachAlgoOrds": [{"attachAlgoClOrdId": "g", "newSlTriggerPx": "90000"}]}
    assert venue.amend_order("paper", above).s_code == "51047"


def test_stops_survive_a_kill_and_fire_while_the_exchange_is_down(
    open_venue: Callable[..., Venue], clock: ManualClock, tmp_path: Path
) -> None:
    """What was acknowledged stands. A restarted exchange lives through the time it missed, and the stop with it."""
    venue = open_venue(tmp_path / "state.sqlite")
    opening = {"instId": SWAP, "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "10"}
    venue.place_order("paper", opening)
    low = min(candle.low for candle in _next_hours(venue, clock))
    plain = venue.place_algo("paper", body(slTriggerPx=str(low), algoClOrdId="plain", sz="4"))
    trailing = venue.place_algo("paper", body(ordType="move_order_stop", callbackRatio="0.01", slOrdPx=None, sz="3"))
    entry = opening | {"ordType": "limit", "px": str(venue.mark_price(SWAP) - 2000)}
    venue.place_order(
        "paper", entry | {"attachAlgoOrds": [{"slTriggerPx": "1", "slOrdPx": "-1"} | {"attachAlgoClOrdId": "at"}]}
    )
    venue.flush()
    before = venue.algos_pending("paper")
    kill(venue)
    again = open_venue(tmp_path / "state.sqlite")
    assert again.algos_pending("paper") == before
    assert again.place_algo("paper", body(slTriggerPx="1", algoClOrdId="at")).s_code == "51068"
    clock.advance(24 * HOUR)
    assert again.algo("paper", algo_cl_ord_id="plain").state == "effective"
    assert again.algo("paper", trailing.algo_id).state == "effective"
    again.flush()
    ended = again.algos_history("paper")
    kill(again)
    once_more = open_venue(tmp_path / "state.sqlite")
    assert once_more.algos_history("paper") == ended
    assert once_more.algo("paper", plain.algo_id).ord_id


def _next_hours(venue: Venue, clock: ManualClock) -> list[Any]:
    """The candles of the hours to come, from a venue of the same seed."""
    ahead = Venue(venue.config, clock=ManualClock(clock.now_ms() + 6 * HOUR * 1000))
    candles = ahead.candles(SWAP, "1m", limit=300, confirmed_only=True)
    ahead.close()
    return [candle for candle in candles if candle.ts > clock.now_ms()]


def kill(venue: Venue) -> None:
    """End a venue as SIGKILL would: nothing is flushed."""
    journal = venue._engine._journal
    assert journal is not None
    journal.close()
    venue._engine._journal = None


def test_every_change_of_an_algo_order_is_told(venue: Venue, place: Place, stop: Stop) -> None:
    """The channel a desk follows its stops by: each event shows its own moment."""
    told: list[Event] = []
    venue.subscribe(told.append)
    place("buy", 10)
    algo = stop(slTriggerPx=-500)
    venue.amend_algo("paper", {"algoId": algo.algo_id, "newSz": "5"})
    jump(venue, -500)
    venue.flush()
    states = [(e.data.state, e.data.sz, e.data.ord_id) for e in told if e.channel == "orders-algo"]
    assert states == [("live", 10, ""), ("live", 5, ""), ("effective", 5, algo.ord_id)]


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
