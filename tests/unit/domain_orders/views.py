"""Values for the gate's tests."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from kontor.domain.account import Balance
from kontor.domain.intent import Limits, OrderIntent, RiskView
from kontor.domain.market import Market, MarketKind, Ticker
from kontor.domain.order import Order, OrderState, OrderType, Side

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SWAP, OTHER, SPOT = "BTC/USD:USD", "ETH/USD:USD", "BTC/USD"


def market(symbol: str, kind: MarketKind = MarketKind.SWAP, **more: Any) -> Market:
    """In steps of 0.1 base and 1 quote, from 0.2 base and 5 quote up."""
    values: dict[str, Any] = {
        "symbol": symbol,
        "kind": kind,
        "base": symbol.split("/", maxsplit=1)[0],
        "quote": "USD",
        "settle": "USD" if kind is MarketKind.SWAP else None,
        "active": True,
        "contract_size": Decimal(1),
        "quantity_step": Decimal("0.1"),
        "price_step": Decimal(1),
        "min_quantity": Decimal("0.2"),
        "max_quantity": Decimal(1000),
        "min_cost": Decimal(30),
    }
    return Market(**(values | more))


MARKETS: Mapping[str, Market] = {SWAP: market(SWAP), OTHER: market(OTHER), SPOT: market(SPOT, MarketKind.SPOT)}
VIEW = RiskView(
    now=NOW,
    limits=Limits(price_collar_percent=Decimal(10)),
    markets=MARKETS,
    tickers={symbol: Ticker(symbol, Decimal(100), NOW - timedelta(seconds=5)) for symbol in MARKETS},
    marks={SWAP: Decimal(100), OTHER: Decimal(100), "BTC": Decimal(100)},
    balance=Balance("USD", Decimal(10_000), Decimal(10_000), Decimal(0), NOW),
)


def view(limits: Mapping[str, Any] | None = None, **changes: Any) -> RiskView:
    """VIEW with other limits and facts."""
    return replace(VIEW, limits=replace(VIEW.limits, **(limits or {})), **changes)


def intent(quantity: str = "1", price: str | None = "100", *, symbol: str = SWAP, **more: Any) -> OrderIntent:
    """A buy, limit when there is a price."""
    return OrderIntent(
        symbol=symbol,
        side=more.pop("side", Side.BUY),
        order_type=more.pop("order_type", OrderType.LIMIT if price is not None else OrderType.MARKET),
        quantity=Decimal(quantity),
        price=None if price is None else Decimal(price),
        **more,
    )


def order(quantity: str = "1", price: str | None = "100", *, symbol: str = SWAP, **more: Any) -> Order:
    """An order of ours that is open at the venue."""
    values: dict[str, Any] = {
        "client_order_id": f"{symbol}-{quantity}-{price}",
        "account": "paper",
        "symbol": symbol,
        "side": Side.BUY,
        "order_type": OrderType.LIMIT if price is not None else OrderType.MARKET,
        "quantity": Decimal(quantity),
        "created_at": NOW,
        "price": None if price is None else Decimal(price),
        "state": OrderState.ACCEPTED,
    }
    return Order(**(values | more))
