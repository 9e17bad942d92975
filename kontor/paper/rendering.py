"""Market data as OKX writes it: field names, decimal strings, milliseconds as strings, "" for nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from kontor.paper.model import Book, Candle, Instrument, PublicTrade, Ticker

Json = dict[str, Any]
PLACES = 16


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
        "expTime": moment(item.exp_time),
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
