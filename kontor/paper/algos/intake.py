"""Algo requests as they come over the wire, checked the way OKX checks them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kontor.paper.algos.attached import read_attached
from kontor.paper.algos.exits import PRICE_TYPES, Exit, order_price, read_exits
from kontor.paper.algos.model import CONDITIONAL, MARKET, OCO, TRAILING, TRIGGER, AlgoOrder
from kontor.paper.intake import (
    client_id,
    closes,
    flag,
    in_lots,
    in_ticks,
    modes,
    order_tag,
    parameter_error,
    positive,
    required,
    text,
)
from kontor.paper.market import Market
from kontor.paper.model import Instrument, VenueError

TYPES = frozenset({CONDITIONAL, OCO, TRIGGER, TRAILING})
_ADVANCED = frozenset({"", "fok", "ioc"})
_LARGEST_RATIO, _SMALLEST_RATIO = Decimal(1), Decimal("0.001")
# OKX's refusals of an exit on the wrong side, by (kind, the exit's side): last, mark and index price.
_WRONG_SIDE = {
    ("tp", "buy"): ({"last": "51277", "mark": "51300", "index": "51305"}, "TP trigger price cannot be higher than the"),
    ("sl", "buy"): ({"last": "51278", "mark": "51302", "index": "51306"}, "SL trigger price cannot be lower than the"),
    ("tp", "sell"): ({"last": "51279", "mark": "51303", "index": "51307"}, "TP trigger price cannot be lower than the"),
    ("sl", "sell"): (
        {"last": "51280", "mark": "51304", "index": "51308"},
        "SL trigger price cannot be higher than the",
    ),
}


def read_algo(body: Mapping[str, Any], market: Market, last: Decimal, pos_mode: str) -> AlgoOrder:
    """The algo order a body asks for, without its account, ids and times, or VenueError."""
    instrument = market.instrument(required(body, "instId"))
    side, ord_type = required(body, "side"), required(body, "ordType")
    if ord_type not in TYPES:
        raise parameter_error("ordType")
    td_mode, pos_side = modes(body, instrument, side, pos_mode, algo=True)
    named = client_id(body, "algoClOrdId")
    old_name = client_id(body, "clOrdId")
    reduce_only = flag(body, "reduceOnly")
    if reduce_only and (not instrument.is_swap or ord_type == TRIGGER) and pos_side == "net":
        raise VenueError("51205", "Reduce Only is not available.")
    reduce_only = closes(side, pos_side) if pos_side != "net" else reduce_only
    algo = AlgoOrder(
        account="",
        algo_id="",
        algo_cl_ord_id=named or old_name,
        cl_ord_id=old_name,
        inst_id=instrument.inst_id,
        inst_type=instrument.inst_type,
        tag=order_tag(body),
        side=side,
        pos_side=pos_side,
        ord_type=ord_type,
        td_mode=td_mode,
        tgt_ccy=_target_currency(body, instrument, side, ord_type),
        reduce_only=reduce_only,
        cxl_on_close_pos=flag(body, "cxlOnClosePos"),
        close_fraction=text(body, "closeFraction"),
        sz=None,
        last=last,
        lever=None,
        c_time=0,
        u_time=0,
    )
    if algo.cxl_on_close_pos and not reduce_only and pos_side == "net":
        raise parameter_error("cxlOnClosePos")
    {CONDITIONAL: _read_exits, OCO: _read_exits, TRIGGER: _read_trigger, TRAILING: _read_trailing}[ord_type](
        algo, body, instrument
    )
    _read_size(algo, body, instrument)
    return algo


def _target_currency(body: Mapping[str, Any], instrument: Instrument, side: str, ord_type: str) -> str:
    """What `sz` counts: only a spot buy at market may count its money."""
    wanted = text(body, "tgtCcy")
    if wanted not in {"", "base_ccy", "quote_ccy"}:
        raise parameter_error("tgtCcy")
    if instrument.is_swap:
        return ""
    if ord_type not in {CONDITIONAL, OCO}:
        return "base_ccy"
    return wanted or ("quote_ccy" if side == "buy" else "base_ccy")


def _read_size(algo: AlgoOrder, body: Mapping[str, Any], instrument: Instrument) -> None:
    if algo.close_fraction:
        _check_close_fraction(algo, instrument)
        return
    algo.sz = positive(required(body, "sz"), "sz")
    check_size(algo, algo.sz, instrument)


def check_size(algo: AlgoOrder, sz: Decimal, instrument: Instrument) -> None:
    """VenueError for a quantity the instrument does not take."""
    at_market = algo.ord_type == TRAILING or any(wait.ord_px == MARKET for wait in algo.waits)
    if algo.tgt_ccy != "quote_ccy":
        in_lots(sz, instrument)
        if at_market and instrument.is_swap and sz > instrument.max_mkt_sz:
            raise VenueError("51275", "The amount of single stop-market order cannot exceed the upper limit.")
    if not at_market and sz > instrument.max_lmt_sz:
        raise VenueError(
            "51101", f"The maximum quantity per limit order is {instrument.max_lmt_sz:f}. Reduce your order."
        )


def _check_close_fraction(algo: AlgoOrder, instrument: Instrument) -> None:
    if not instrument.is_swap:
        raise VenueError("51327", "closeFraction is only available for Expiry Futures and Perpetual Futures")
    if algo.close_fraction != "1" or algo.ord_type not in {CONDITIONAL, OCO}:
        raise parameter_error("closeFraction")
    if algo.pos_side == "net" and not algo.reduce_only:
        raise VenueError("51328", "closeFraction is only available for reduceOnly orders")
    if any(wait.ord_px != MARKET for wait in algo.waits):
        raise VenueError("51330", "closeFraction is only available for TP/SL market orders")


def _read_exits(algo: AlgoOrder, body: Mapping[str, Any], instrument: Instrument) -> None:
    exits = {each.kind: each for each in read_exits(body, instrument)}
    if not exits:
        raise VenueError("50014", "Parameter slTriggerPx cannot be empty")
    if algo.ord_type == OCO and len(exits) < 2:  # noqa: PLR2004 both halves
        raise parameter_error("slTriggerPx" if "sl" not in exits else "tpTriggerPx")
    for each in exits.values():
        set_exit(algo, each)
    check_sides(algo, algo.last)


def set_exit(algo: AlgoOrder, given: Exit) -> None:
    """Make this the algo order's stop loss or take profit."""
    if given.kind == "sl":
        algo.sl_trigger_px, algo.sl_trigger_px_type, algo.sl_ord_px = (
            given.trigger_px,
            given.trigger_px_type,
            given.ord_px,
        )
    else:
        algo.tp_trigger_px, algo.tp_trigger_px_type, algo.tp_ord_px = (
            given.trigger_px,
            given.trigger_px_type,
            given.ord_px,
        )


def check_sides(algo: AlgoOrder, last: Decimal) -> None:
    """Refuse a stop loss or take profit that the market has passed already."""
    for wait in algo.waits:
        if wait.kind and ((wait.px < last) if wait.rises else (wait.px > last)):
            codes, words = _WRONG_SIDE[wait.kind, algo.side]
            by = (algo.sl_trigger_px_type if wait.kind == "sl" else algo.tp_trigger_px_type) or "last"
            raise VenueError(codes[by], f"{words} {by} price")


def _read_trigger(algo: AlgoOrder, body: Mapping[str, Any], instrument: Instrument) -> None:
    algo.advance_ord_type = text(body, "advanceOrdType")
    if algo.advance_ord_type not in _ADVANCED:
        raise parameter_error("advanceOrdType")
    set_trigger(
        algo,
        in_ticks(positive(required(body, "triggerPx"), "triggerPx"), instrument, "triggerPx")[0],
        order_price(required(body, "orderPx"), instrument, "orderPx"),
        text(body, "triggerPxType") or "last",
        algo.last,
    )
    exits = read_attached(body, instrument, algo.side, None if algo.ord_px == MARKET else algo.ord_px, algo.trigger_px)
    algo.attached = json.dumps(exits) if exits else ""


def set_trigger(algo: AlgoOrder, px: Decimal, ord_px: Decimal, by: str, last: Decimal) -> None:
    """Make a plain trigger wait for this price, from the side on which the market is now."""
    if by not in PRICE_TYPES:
        raise parameter_error("triggerPxType")
    algo.trigger_px, algo.ord_px, algo.trigger_px_type, algo.rises = px, ord_px, by, px >= last


def _read_trailing(algo: AlgoOrder, body: Mapping[str, Any], instrument: Instrument) -> None:
    ratio, spread, active = (text(body, name) for name in ("callbackRatio", "callbackSpread", "activePx"))
    if bool(ratio) == bool(spread):
        raise parameter_error("callbackRatio")
    if ratio:
        algo.callback_ratio = positive(ratio, "callbackRatio")
        if not _SMALLEST_RATIO <= algo.callback_ratio <= _LARGEST_RATIO:
            raise VenueError(
                "51311",
                "Failed to place trailing stop order. Callback rate should be within "
                f"{_SMALLEST_RATIO}<x<={_LARGEST_RATIO}",
            )
    else:
        algo.callback_spread = in_ticks(positive(spread, "callbackSpread"), instrument, "callbackSpread")[0]
    if active:
        algo.active_px = in_ticks(positive(active, "activePx"), instrument, "activePx")[0]
        algo.active, algo.rises = False, algo.active_px >= algo.last
    algo.best_ticks = int(algo.last / instrument.tick_sz)
