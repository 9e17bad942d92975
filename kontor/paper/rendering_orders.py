"""Orders and fills as OKX writes them."""

from __future__ import annotations

from kontor.paper.algos.rendering import attached
from kontor.paper.model import Fill, Order, OrderAck
from kontor.paper.rendering import Json, moment, number


def order_ack(item: OrderAck) -> Json:
    """One line of the answer to placing or canceling orders."""
    return {
        "clOrdId": item.cl_ord_id,
        "ordId": item.ord_id,
        "sCode": item.s_code,
        "sMsg": item.s_msg,
        "tag": item.tag,
        "ts": moment(item.ts),
    }


def order(item: Order) -> Json:
    """An order as trade/order shows it."""
    return {
        "accFillSz": number(item.acc_fill_sz),
        "algoClOrdId": item.algo_cl_ord_id,
        "algoId": item.algo_id,
        "attachAlgoClOrdId": "",
        "attachAlgoOrds": attached(item.attached),
        "avgPx": number(item.avg_px),
        "cTime": moment(item.c_time),
        "cancelSource": item.cancel_source,
        "cancelSourceReason": item.cancel_source_reason,
        "category": item.category,
        "ccy": "",
        "clOrdId": item.cl_ord_id,
        "fee": number(item.fee),
        "feeCcy": item.fee_ccy,
        "fillPx": number(item.fill_px),
        "fillSz": number(item.fill_sz),
        "fillTime": moment(item.fill_time),
        "instId": item.inst_id,
        "instType": item.inst_type,
        "isTpLimit": "false",
        "lever": number(item.lever),
        "linkedAlgoOrd": {"algoId": ""},
        "ordId": item.ord_id,
        "ordType": item.ord_type,
        "pnl": number(item.pnl),
        "posSide": item.pos_side,
        "px": number(item.px),
        "pxType": "",
        "pxUsd": "",
        "pxVol": "",
        "quickMgnType": "",
        "rebate": "0",
        "rebateCcy": item.fee_ccy,
        "reduceOnly": "true" if item.reduce_only else "false",
        "side": item.side,
        "slOrdPx": "",
        "slTriggerPx": "",
        "slTriggerPxType": "",
        "source": item.source,
        "state": item.state,
        "stpId": "",
        "stpMode": item.stp_mode,
        "sz": number(item.sz),
        "tag": item.tag,
        "tdMode": item.td_mode,
        "tgtCcy": item.tgt_ccy,
        "tpOrdPx": "",
        "tpTriggerPx": "",
        "tpTriggerPxType": "",
        "tradeId": item.trade_id,
        "uTime": moment(item.u_time),
    }


def order_update(item: Order) -> Json:
    """An order as the orders channel pushes it: with the fill that caused the update, if one did."""
    filled = bool(item.trade_id)
    return {
        **order(item),
        "amendResult": "",
        "code": "0",
        "execType": item.exec_type,
        "fillFee": number(item.fill_fee),
        "fillFeeCcy": item.fee_ccy if filled else "",
        "fillNotionalUsd": "",
        "fillPnl": number(item.fill_pnl),
        "msg": "",
        "notionalUsd": "",
        "reqId": "",
    }


def fill(item: Fill) -> Json:
    """A row of trade/fills."""
    return {
        "side": item.side,
        "fillSz": number(item.fill_sz),
        "fillPx": number(item.fill_px),
        "fillPxVol": "",
        "fillFwdPx": "",
        "fee": number(item.fee),
        "fillPnl": number(item.fill_pnl),
        "ordId": item.ord_id,
        "feeRate": number(item.fee_rate),
        "instType": item.inst_type,
        "fillPxUsd": "",
        "instId": item.inst_id,
        "clOrdId": item.cl_ord_id,
        "posSide": "net",
        "billId": item.bill_id,
        "fillMarkVol": "",
        "tag": item.tag,
        "fillTime": moment(item.ts),
        "execType": item.exec_type,
        "fillIdxPx": "",
        "tradeId": item.trade_id,
        "fillMarkPx": "",
        "feeCcy": item.fee_ccy,
        "ts": moment(item.ts),
    }
