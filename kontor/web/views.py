"""What the page shows of an account, as JSON: candles with orders and fills, the order lists, the equity curve.

Money is float from here on: the page draws it and computes nothing with it. Moments are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from kontor.capital import beginning_of
from kontor.domain.fill import Fill
from kontor.domain.order import OPEN, Order
from kontor.domain.snapshot import Snapshot
from kontor.ports import Store

Json: TypeAlias = dict[str, Any]

CANDLES = 500
ORDERS, FILLS = 50, 50
#: Beyond this many markers a chart of 500 candles is only markers.
CHART_ORDERS, CHART_FILLS = 300, 2000
#: Points of the equity curve, about one a pixel.
EQUITY_POINTS = 900


async def trades(store: Store, account: str) -> Json:
    """The newest orders and fills, and every order that may still change a position."""
    live = await store.orders.find(account, states=OPEN, limit=ORDERS)
    recent = await store.orders.find(account, limit=ORDERS)
    return {
        "open": [_order(each) for each in live],
        "orders": [_order(each) for each in recent],
        "fills": [_fill(each) for each in await store.orders.fills(account, limit=FILLS)],
    }


async def chart(store: Store, account: str, symbol: str, timeframe: str, *, limit: int = CANDLES) -> Json:
    """A symbol's newest candles, oldest first, and its last price with its time."""
    found = (await store.market.candles(account, timeframe, [symbol], limit=limit)).get(symbol)
    ticker = (await store.market.tickers(account, [symbol])).get(symbol)
    return {
        "symbol": symbol,
        "timeframe": timeframe,
        "candles": [] if found is None else found.tolist(),
        "last": None if ticker is None else _number(ticker.last),
        "last_at": None if ticker is None else millis(ticker.last_at),
    }


async def chart_begin(store: Store, account: str, symbol: str, timeframe: str) -> datetime:
    """When the oldest candle of the chart opened; without any, a day ago."""
    found = (await store.market.candles(account, timeframe, [symbol], limit=CANDLES)).get(symbol)
    if found is None or not len(found):
        return datetime.now(UTC) - timedelta(days=1)
    return datetime.fromtimestamp(found[0, 0] / 1000, UTC)


async def markers(store: Store, account: str, symbol: str, since: datetime) -> Json:
    """The orders and fills of a symbol since a moment, for the chart."""
    orders = await store.orders.find(account, symbol=symbol, since=since, limit=CHART_ORDERS)
    resting = await store.orders.find(account, symbol=symbol, states=OPEN, limit=CHART_ORDERS)
    fills = await store.orders.fills(account, since=since, limit=CHART_FILLS)
    every = {each.client_order_id: each for each in [*orders, *resting]}
    return {
        "symbol": symbol,
        "orders": [_order(each) for each in every.values()],
        "fills": [_fill(each) for each in fills if each.symbol == symbol],
    }


async def equity(store: Store, account: str, since: datetime | None) -> Json:
    """The curve since a moment, or from the beginning, with the capital that the account began with."""
    history = await store.account.equity_history(account, since=since, points=EQUITY_POINTS)
    beginning = await beginning_of(store, account)
    return {"points": points(history), "initial": None if beginning is None else float(beginning.equity)}


async def symbols(store: Store, account: str) -> list[str]:
    """What can be shown: what is held first, then what has open orders, then the watchlist."""
    held = await store.account.positions(account)
    watched = await store.market.watchlist(account)
    live = await store.orders.find(account, states=OPEN, limit=ORDERS)
    names = [each.symbol for each in held.value] if held else []
    names += [each.symbol for each in live]
    names += watched.value if watched else []
    return list(dict.fromkeys(names))


def points(history: Iterable[Snapshot[Decimal]]) -> list[tuple[float, float]]:
    """(epoch milliseconds, equity) each."""
    return [(millis(each.at), float(each.value)) for each in history]


def millis(moment: datetime) -> float:
    """Epoch milliseconds."""
    return round(moment.timestamp() * 1000)


def _order(order: Order) -> Json:
    return {
        "id": order.client_order_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "type": order.order_type.value,
        "quantity": float(order.quantity),
        "filled": float(order.filled_quantity),
        "price": _number(order.price),
        "average": _number(order.average_price),
        "state": order.state.value,
        "strategy": order.strategy or "",
        "actor": order.actor,
        "reason": order.reason or "",
        "created": millis(order.created_at),
        "updated": millis(order.updated_at or order.created_at),
        "unknown": order.unknown_since is not None,
        "canceling": order.cancel_requested_at is not None and not order.is_finished,
    }


def _fill(fill: Fill) -> Json:
    return {
        "id": fill.trade_id,
        "order": fill.client_order_id or "",
        "symbol": fill.symbol,
        "side": fill.side.value,
        "quantity": float(fill.quantity),
        "price": float(fill.price),
        "fee": _number(fill.fee),
        "fee_currency": fill.fee_currency or "",
        "at": millis(fill.filled_at),
    }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
