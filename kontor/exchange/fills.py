"""ccxt trades of ours as Fill, and how to collect more than one page of them."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from kontor.domain.fill import Fill
from kontor.domain.market import Market
from kontor.domain.order import Side
from kontor.exchange.markets import to_base
from kontor.exchange.numbers import decimal, moment, positive

logger = logging.getLogger(__name__)

# (since, until) in epoch milliseconds -> one page of ccxt trades.
FetchPage = Callable[[int | None, int | None], Awaitable[Sequence[Mapping[str, Any]]]]
MAX_PAGES = 100


def parse_fill(raw: Mapping[str, Any], market: Market, now: datetime) -> Fill:
    """One fill; raises KeyError when what names or measures it is missing."""
    quantity, price = to_base(raw.get("amount"), market), positive(raw.get("price"))
    if not raw.get("id") or quantity is None or price is None:
        raise KeyError(f"trade without id, quantity or price: {sorted(raw)}")
    fee = raw.get("fee") or {}
    return Fill(
        trade_id=str(raw["id"]),
        symbol=market.symbol,
        side=Side(raw["side"]),
        quantity=quantity,
        price=price,
        filled_at=moment(raw.get("timestamp")) or now,
        venue_order_id=str(raw.get("order") or ""),
        client_order_id=_client_order_id(raw),
        fee=decimal(fee.get("cost")),
        fee_currency=fee.get("currency"),
        is_maker={"maker": True, "taker": False}.get(raw.get("takerOrMaker") or ""),
    )


async def collect_pages(fetch: FetchPage, since: int | None, full: int) -> list[Mapping[str, Any]]:
    """Every trade since a moment (None: all there are), each once, oldest first; a page of `full` trades is full.

    Some venues answer a full page with the oldest trades since then, some with the newest: both ends are tried until
    neither brings a trade that was not there yet.
    """
    found = {_key(trade): trade for trade in await fetch(since, None)}
    if len(found) < full:
        return _by_time(found)
    for _ in range(MAX_PAGES):
        known = len(found)
        ordered = _by_time(found)
        later, earlier = (_time(ordered[-1]), None), (since, _time(ordered[0]))
        for bounds in (earlier,) if since is None else (later, earlier):
            found.update({_key(trade): trade for trade in await fetch(*bounds)})
        if len(found) == known:
            return _by_time(found)
    logger.warning("fills_incomplete pages=%s trades=%s", MAX_PAGES, len(found))
    return _by_time(found)


def _client_order_id(raw: Mapping[str, Any]) -> str | None:
    info = raw.get("info")
    info = info if isinstance(info, Mapping) else {}
    found = raw.get("clientOrderId") or next(
        (info[key] for key in ("clOrdId", "clientOrderId", "orderLinkId", "cl_ord_id") if info.get(key)), None
    )
    return str(found) if found else None


def _key(trade: Mapping[str, Any]) -> tuple[Any, ...]:
    # Trade ids are unique within a market only.
    return trade.get("symbol"), trade.get("id"), trade.get("order")


def _time(trade: Mapping[str, Any]) -> int:
    return int(trade.get("timestamp") or 0)


def _by_time(found: Mapping[Any, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(found.values(), key=_time)
