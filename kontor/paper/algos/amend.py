"""Changing algo orders that wait: their quantity and the prices they wait for."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any

from kontor.paper.algos.desk import AlgoDesk
from kontor.paper.algos.exits import Exit, is_zero, order_price, read_exits
from kontor.paper.algos.intake import check_sides, check_size, set_exit, set_trigger
from kontor.paper.algos.model import CANCELED, CONDITIONAL, TRAILING, AlgoAck, AlgoOrder
from kontor.paper.intake import client_id, flag, in_ticks, parameter_error, positive, text
from kontor.paper.model import Instrument, VenueError
from kontor.paper.state import State

_UNKNOWN = ("51503", "Order modification failed as the order has been filled, canceled or does not exist.")
_DONE = {CANCELED: ("51509", "Modification failed as the order has been canceled.")}
_COMPLETED = ("51510", "Modification failed as the order has been completed.")


class AlgoAmendments:
    """Carries out amend-algos. Time must have been brought up to `at` before."""

    def __init__(self, state: State, desk: AlgoDesk) -> None:
        self._state = state
        self._desk = desk

    def amend(self, name: str, body: Mapping[str, Any], at: int) -> AlgoAck:
        """Change an algo order, all of it or nothing."""
        algo_id, client, request = text(body, "algoId"), text(body, "algoClOrdId"), text(body, "reqId")
        algo, cancel_on_fail = None, False
        try:
            client_id(body, "reqId")
            cancel_on_fail = flag(body, "cxlOnFail")
            algo = self._desk.find(self._state.account(name), algo_id, client)
            if algo is None or text(body, "instId") not in {"", algo.inst_id}:
                raise VenueError(*_UNKNOWN)
            if not algo.is_live:
                raise VenueError(*_DONE.get(algo.state, _COMPLETED))
            changed = copy.copy(algo)
            instrument, last = self._state.prices(algo.inst_id)
            _apply(changed, body, instrument, last * instrument.tick_sz)
        except VenueError as refusal:
            if algo is not None and algo.is_live and cancel_on_fail:
                self._state.end_algo(algo, CANCELED, at)
                self._state.note_algo(algo, at)
            return AlgoAck(algo_id, client, req_id=request, s_code=refusal.code, s_msg=refusal.message)
        for field in fields(AlgoOrder):
            setattr(algo, field.name, getattr(changed, field.name))
        algo.seen_step = self._state.step
        self._state.note_algo(algo, at)
        return AlgoAck(algo.algo_id, algo.algo_cl_ord_id, req_id=request)


def _apply(algo: AlgoOrder, body: Mapping[str, Any], instrument: Instrument, last: Decimal) -> None:
    if algo.ord_type == TRAILING:
        raise VenueError("51506", "Order modification unavailable for the order type.")
    size = text(body, "newSz")
    names = ("newSlTriggerPx", "newSlOrdPx", "newTpTriggerPx", "newTpOrdPx", "newTriggerPx", "newOrdPx")
    if not size and not any(text(body, name) for name in names):
        raise VenueError("50014", "Parameter newSz cannot be empty")
    for kind in ("Sl", "Tp"):
        _apply_exit(algo, body, instrument, kind)
    if text(body, "newTriggerPx") or text(body, "newOrdPx"):
        _apply_trigger(algo, body, instrument, last)
    check_sides(algo, last)
    if size:
        if algo.close_fraction:
            raise parameter_error("newSz")
        algo.sz = positive(size, "newSz")
    if algo.sz is not None:
        check_size(algo, algo.sz, instrument)


def _apply_exit(algo: AlgoOrder, body: Mapping[str, Any], instrument: Instrument, kind: str) -> None:
    """Change, or with a price of 0 take away, one half of a stop order; what is left out stays as it is."""
    trigger, order_px = text(body, f"new{kind}TriggerPx"), text(body, f"new{kind}OrdPx")
    if not trigger and not order_px:
        return
    before = algo.sl_trigger_px if kind == "Sl" else algo.tp_trigger_px
    if before is None:
        raise parameter_error(f"new{kind}TriggerPx")
    if is_zero(trigger) or is_zero(order_px):
        _remove(algo, kind)
        return
    kept_type = algo.sl_trigger_px_type if kind == "Sl" else algo.tp_trigger_px_type
    kept_px = algo.sl_ord_px if kind == "Sl" else algo.tp_ord_px
    whole = {
        f"new{kind}TriggerPx": trigger or f"{before:f}",
        f"new{kind}OrdPx": order_px or f"{kept_px:f}",
        f"new{kind}TriggerPxType": text(body, f"new{kind}TriggerPxType") or kept_type,
    }
    given: Exit
    (given,) = read_exits(whole, instrument, "new")
    set_exit(algo, given)


def _remove(algo: AlgoOrder, kind: str) -> None:
    if kind == "Sl":
        algo.sl_trigger_px, algo.sl_trigger_px_type, algo.sl_ord_px = None, "", None
    else:
        algo.tp_trigger_px, algo.tp_trigger_px_type, algo.tp_ord_px = None, "", None
    if not any(algo.waits):
        raise parameter_error(f"new{kind}TriggerPx")
    algo.ord_type = CONDITIONAL


def _apply_trigger(algo: AlgoOrder, body: Mapping[str, Any], instrument: Instrument, last: Decimal) -> None:
    if algo.trigger_px is None or algo.ord_px is None:
        raise parameter_error("newTriggerPx")
    trigger, order_px = text(body, "newTriggerPx"), text(body, "newOrdPx")
    px = in_ticks(positive(trigger, "newTriggerPx"), instrument, "newTriggerPx")[0] if trigger else algo.trigger_px
    ord_px = order_price(order_px, instrument, "newOrdPx") if order_px else algo.ord_px
    set_trigger(algo, px, ord_px, text(body, "newTriggerPxType") or algo.trigger_px_type, last)
