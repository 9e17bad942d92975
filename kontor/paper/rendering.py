"""The venue's values as OKX writes them: field names, decimal strings, milliseconds as strings, "" for nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from kontor.paper.model import (
    Bill,
    Book,
    Candle,
    Fill,
    Instrument,
    LeverageInfo,
    Order,
    OrderAck,
    PublicTrade,
    Ticker,
)

Json = dict[str, Any]
PLACES = 16
# OKX numbers the kinds of bills: type, then sub-type.
BILL_TYPES = {"deposit": ("1", "11"), "trade": ("2", "1"), "fee": ("2", "1"), "pnl": ("2", "1"), "funding": ("8", "173")}


def number(value: Decimal | None) -> str:
    """A decimal without exponent or trailing zeros, cut to 16 places; "" for None."""
    if value is None:
        return ""
    text = str(value)
    if "E" in text:
        text = f"{value:f}"
    whole, point, places = text.partition(".")
    if point:
        places = places[:PLACES].rstrip("0")
        text = f"{whole}.{places}" if places else whole
    return "0" if text == "-0" else text


def moment(ms: int | None) -> str:
    """Milliseconds since 1970 as a string; "" for None."""
    return "" if ms is None else str(ms)


def instrument(item: Instrument) -> Json:
    """A row of public/instruments."""
    swap = item.is_swap
    return {
        "alias": "",
        "auctionEndTime": "",
        "baseCcy": "" if swap else item.base_ccy,
        "category": "1",
        "contTdSwTime": "",
        "ctMult": "1" if swap else "",
        "ctType": item.ct_type or "",
        "ctVal": number(item.ct_val) if swap else "",
        "ctValCcy": item.ct_val_ccy or "",
        "expTime": "",
        "futureSettlement": False,
        "groupId": "4" if swap else "12",
        "instFamily": item.inst_family or "",
        "instId": item.inst_id,
        "instIdCode": str(instrument_code(item)),
        "instType": item.inst_type,
        "lever": "" if item.max_lever <= 1 else str(item.max_lever),
        "listTime": moment(item.list_time),
        "lotSz": number(item.lot_sz),
        "maxIcebergSz": number(item.max_lmt_sz),
        "maxLmtAmt": "20000000",
        "maxLmtSz": number(item.max_lmt_sz),
        "maxMktAmt": "" if swap else "1000000",
        "maxMktSz": number(item.max_mkt_sz),
        "maxStopSz": number(item.max_mkt_sz),
        "maxTriggerSz": number(item.max_lmt_sz),
        "maxTwapSz": number(item.max_lmt_sz),
        "minSz": number(item.min_sz),
        "openType": "call_auction" if swap else "fix_price",
        "optType": "",
        "preMktSwTime": "",
        "quoteCcy": "" if swap else item.quote_ccy,
        "ruleType": "normal",
        "settleCcy": item.settle_ccy or "",
        "state": item.state,
        "stk": "",
        "tickSz": number(item.tick_sz),
        "tradeQuoteCcyList": [] if swap else [item.quote_ccy],
        "uly": item.uly or "",
        "upcChg": [],
    }


def instrument_code(item: Instrument) -> int:
    """The number that stands for an instrument in WebSocket orders."""
    return item.index + 1


def ticker(item: Ticker) -> Json:
    """A row of market/tickers, with the turnover in USD that many screeners want and OKX leaves out."""
    return {
        "instType": item.inst_type,
        "instId": item.inst_id,
        "last": number(item.last),
        "lastSz": number(item.last_sz),
        "askPx": number(item.ask_px),
        "askSz": number(item.ask_sz),
        "bidPx": number(item.bid_px),
        "bidSz": number(item.bid_sz),
        "open24h": number(item.open_24h),
        "high24h": number(item.high_24h),
        "low24h": number(item.low_24h),
        "volCcy24h": number(item.vol_ccy_24h),
        "vol24h": number(item.vol_24h),
        "volumeUsd24h": number(item.volume_usd_24h),
        "ts": moment(item.ts),
        "sodUtc0": number(item.sod_utc0),
        "sodUtc8": number(item.sod_utc8),
    }


def levels(book: Book, depth: int | None = None) -> Json:
    """The two sides of a book: price, quantity, liquidated orders (never any), orders."""
    return {
        "asks": [[number(level.px), number(level.sz), "0", str(level.orders)] for level in book.asks[:depth]],
        "bids": [[number(level.px), number(level.sz), "0", str(level.orders)] for level in book.bids[:depth]],
        "ts": moment(book.ts),
    }


def candle(item: Candle) -> list[str]:
    """A candle as OKX's row of nine strings."""
    prices = (item.open, item.high, item.low, item.close)
    volumes = (item.vol, item.vol_ccy, item.vol_ccy_quote)
    return [moment(item.ts), *map(number, prices), *map(number, volumes), "1" if item.confirm else "0"]


def spot_candle(item: Candle) -> list[str]:
    """A spot candle: its second volume is in the quote currency, as on OKX."""
    row = candle(item)
    row[6] = row[7]
    return row


def public_trade(item: PublicTrade) -> Json:
    """A row of market/trades."""
    return {
        "instId": item.inst_id,
        "side": item.side,
        "sz": number(item.sz),
        "px": number(item.px),
        "tradeId": item.trade_id,
        "ts": moment(item.ts),
    }


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
        "algoClOrdId": "",
        "algoId": "",
        "attachAlgoClOrdId": "",
        "attachAlgoOrds": [],
        "avgPx": number(item.avg_px),
        "cTime": moment(item.c_time),
        "cancelSource": item.cancel_source,
        "cancelSourceReason": item.cancel_source_reason,
        "category": "normal",
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
        "posSide": "net",
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
        "source": "",
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


def leverage(item: LeverageInfo) -> Json:
    """A row of account/leverage-info."""
    return {
        "instId": item.inst_id,
        "mgnMode": item.mgn_mode,
        "posSide": item.pos_side,
        "lever": number(item.lever),
        "ccy": "",
    }


def bill(item: Bill) -> Json:
    """A row of account/bills; `ref`, the fill or request behind it, stands in notes."""
    kind, sub_kind = BILL_TYPES.get(item.kind, ("2", "1"))
    return {
        "bal": number(item.balance),
        "balChg": number(item.change),
        "billId": item.bill_id,
        "ccy": item.ccy,
        "clOrdId": "",
        "execType": "",
        "fee": number(item.change) if item.kind == "fee" else "0",
        "fillFwdPx": "",
        "fillIdxPx": "",
        "fillMarkPx": "",
        "fillMarkVol": "",
        "fillPxUsd": "",
        "fillPxVol": "",
        "fillTime": moment(item.ts),
        "from": "",
        "instId": item.inst_id,
        "instType": "" if not item.inst_id else "SWAP" if item.inst_id.endswith("-SWAP") else "SPOT",
        "interest": "0",
        "mgnMode": "" if not item.inst_id else "cross" if item.inst_id.endswith("-SWAP") else "cash",
        "notes": item.ref,
        "ordId": "",
        "pnl": number(item.change) if item.kind == "pnl" else "0",
        "posBal": "0",
        "posBalChg": "0",
        "px": "",
        "subType": sub_kind,
        "sz": "",
        "tag": "",
        "to": "",
        "tradeId": "0",
        "ts": moment(item.ts),
        "type": kind,
    }
