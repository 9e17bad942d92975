"""Algo orders as OKX writes them."""

from __future__ import annotations

import json

from kontor.paper.algos.model import TRAILING, AlgoAck, AlgoOrder
from kontor.paper.algos.trailing import trigger_ticks
from kontor.paper.model import Instrument
from kontor.paper.rendering import Json, moment, number

_ATTACHED_FIELDS = (
    "attachAlgoId",
    "attachAlgoClOrdId",
    "failCode",
    "failReason",
    "sz",
    "callbackRatio",
    "callbackSpread",
    "activePx",
    *(f"{kind}{what}" for kind in ("sl", "tp") for what in ("TriggerPx", "TriggerPxType", "OrdPx")),
)


def placed(item: AlgoAck) -> Json:
    """The answer to placing or canceling one."""
    return {
        "algoClOrdId": item.algo_cl_ord_id,
        "algoId": item.algo_id,
        "clOrdId": item.cl_ord_id,
        "sCode": item.s_code,
        "sMsg": item.s_msg,
        "tag": item.tag,
    }


def amended(item: AlgoAck) -> Json:
    """The answer to amending one."""
    return {
        "algoClOrdId": item.algo_cl_ord_id,
        "algoId": item.algo_id,
        "reqId": item.req_id,
        "sCode": item.s_code,
        "sMsg": item.s_msg,
    }


def algo(item: AlgoOrder, instrument: Instrument) -> Json:
    """A row of trade/order-algo and of the lists."""
    return {
        "activePx": number(item.active_px),
        "actualPx": number(item.actual_px),
        "actualSide": item.actual_side,
        "actualSz": number(item.actual_sz),
        "advanceOrdType": item.advance_ord_type,
        "algoClOrdId": item.algo_cl_ord_id,
        "algoId": item.algo_id,
        "amendPxOnTriggerType": "0",
        "attachAlgoOrds": attached(item.attached),
        "cTime": moment(item.c_time),
        "callbackRatio": number(item.callback_ratio),
        "callbackSpread": number(item.callback_spread),
        "ccy": "",
        "chaseType": "",
        "chaseVal": "",
        "clOrdId": item.cl_ord_id,
        "closeFraction": item.close_fraction,
        "failCode": item.fail_code,
        "instId": item.inst_id,
        "instType": item.inst_type,
        "isTradeBorrowMode": "",
        "last": number(item.last),
        "lever": number(item.lever),
        "linkedOrd": {"ordId": ""},
        "maxChaseType": "",
        "maxChaseVal": "",
        "moveTriggerPx": _move_trigger(item, instrument),
        "ordId": item.ord_id,
        "ordIdList": [item.ord_id] if item.ord_id else [],
        "ordPx": number(item.ord_px),
        "ordType": item.ord_type,
        "posSide": item.pos_side,
        "pxLimit": "",
        "pxSpread": "",
        "pxVar": "",
        "quickMgnType": "",
        "reduceOnly": "true" if item.reduce_only else "false",
        "side": item.side,
        "slOrdPx": number(item.sl_ord_px),
        "slTriggerPx": number(item.sl_trigger_px),
        "slTriggerPxType": item.sl_trigger_px_type,
        "state": item.state,
        "sz": number(item.sz),
        "szLimit": "",
        "tag": item.tag,
        "tdMode": item.td_mode,
        "tgtCcy": item.tgt_ccy,
        "timeInterval": "",
        "tpOrdPx": number(item.tp_ord_px),
        "tpTriggerPx": number(item.tp_trigger_px),
        "tpTriggerPxType": item.tp_trigger_px_type,
        "tradeQuoteCcy": "" if instrument.is_swap else instrument.quote_ccy,
        "triggerPx": number(item.trigger_px),
        "triggerPxType": item.trigger_px_type,
        "triggerTime": moment(item.trigger_time),
        "uTime": moment(item.u_time),
    }


def _move_trigger(item: AlgoOrder, instrument: Instrument) -> str:
    if item.ord_type != TRAILING or not item.active:
        return ""
    return number(trigger_ticks(item, item.best_ticks, instrument.tick_sz) * instrument.tick_sz)


def algo_update(item: AlgoOrder, instrument: Instrument) -> Json:
    """An algo order as the orders-algo channel pushes it."""
    worth = (item.sz or 0) * instrument.ct_val * item.last
    return {
        **algo(item, instrument),
        "amendResult": "",
        "notionalUsd": number(item.sz if item.tgt_ccy == "quote_ccy" else worth),
        "reqId": "",
    }


def attached(stored: str) -> list[Json]:
    """The exits attached to an order."""
    empty = dict.fromkeys(_ATTACHED_FIELDS, "")
    return [
        {**empty, "amendPxOnTriggerType": "0", "tpOrdKind": "condition", **row} for row in json.loads(stored or "[]")
    ]


def closing(item: AlgoOrder) -> Json:
    """An algo order that would close a whole position, as the position shows it."""
    return {
        "algoId": item.algo_id,
        "closeFraction": item.close_fraction,
        "slTriggerPx": number(item.sl_trigger_px),
        "slTriggerPxType": item.sl_trigger_px_type,
        "tpTriggerPx": number(item.tp_trigger_px),
        "tpTriggerPxType": item.tp_trigger_px_type,
    }
