"""Algo orders from the outside: found, changed and canceled, brought by an order, told, and there after a kill."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kontor.paper.clock import ManualClock
from kontor.paper.model import Event, VenueError
from kontor.paper.venue import Venue
from tests.unit.paper.algos import HOUR, body, held, jump
from tests.unit.paper.books import SWAP
from tests.unit.paper.conftest import Place, Stop


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
