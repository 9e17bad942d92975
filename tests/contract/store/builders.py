"""Orders, fills and candles for the store's tests."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from kontor.domain.fill import Fill
from kontor.domain.market import Candles
from kontor.domain.order import Order, OrderState, OrderType, Side, advance
from kontor.ports import Store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BTC, ETH = "BTC/USD:USD", "ETH/USD:USD"


def at(seconds: float) -> datetime:
    """The moment some seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def make_order(name: str, **values: Any) -> Order:
    """A limit buy order for 0.1 BTC on the paper account."""
    given: dict[str, Any] = {
        "account": "paper",
        "symbol": BTC,
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": Decimal("0.1"),
        "created_at": NOW,
        "price": Decimal("60000.5"),
    }
    return Order(name, **{**given, **values})


def make_fill(trade_id: str, **values: Any) -> Fill:
    """A fill of 0.04 BTC of the venue's order v1."""
    given: dict[str, Any] = {
        "symbol": BTC,
        "side": Side.BUY,
        "quantity": Decimal("0.04"),
        "price": Decimal(60000),
        "filled_at": NOW,
        "venue_order_id": "v1",
    }
    return Fill(trade_id, **{**given, **values})


def make_candles(first: int, count: int, *, close: float = 1.0, minutes: int = 1) -> Candles:
    """Candles from the given minute after an epoch that is no page boundary."""
    candles = np.full((count, 6), close)
    candles[:, 0] = (29_000_123 + minutes * (first + np.arange(count))) * 60_000.0
    candles[:, 1] = np.arange(count)
    return candles


async def enqueued(store: Store, *orders: Order) -> list[Order]:
    """The orders as the store has them."""
    return list(await store.orders.enqueue(orders, "test"))


async def moved(store: Store, order: Order, state: OrderState, **changes: Any) -> Order:
    """The order, recorded in another state."""
    new = advance(order, state, at(1), **changes)
    assert await store.orders.record([(order, new)], actor="test", at=at(1)) == [True]
    return new
