"""Markets and orders as a venue has them, made by hand."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from ccxt.base.decimal_to_precision import TICK_SIZE

from kontor.domain.market import Market
from kontor.domain.order import Order, OrderType, Side
from kontor.exchange.markets import parse_market

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def raw_market(**changes: Any) -> dict[str, Any]:
    """A ccxt market: a linear swap with contracts of 0.01 BTC."""
    return {
        "symbol": "BTC/USD:USD",
        "id": "BTC-USD-SWAP",
        "type": "swap",
        "spot": False,
        "swap": True,
        "linear": True,
        "inverse": False,
        "contract": True,
        "base": "BTC",
        "quote": "USD",
        "settle": "USD",
        "active": True,
        "contractSize": 0.01,
        "precision": {"amount": 1.0, "price": 0.1},
        "limits": {"amount": {"min": 1.0, "max": 1000.0}, "cost": {"min": None}, "leverage": {"max": 100.0}},
        **changes,
    }


def raw_spot(**changes: Any) -> dict[str, Any]:
    """A ccxt spot market."""
    spot = {
        "symbol": "BTC/USD",
        "id": "BTC-USD",
        "type": "spot",
        "spot": True,
        "swap": False,
        "linear": None,
        "contract": False,
        "settle": None,
        "contractSize": None,
        "precision": {"amount": 1e-08, "price": 0.1},
        "limits": {"amount": {"min": 1e-05, "max": 320.0}, "cost": {"min": 5.0}},
    }
    return raw_market(**{**spot, **changes})


def made(raw: dict[str, Any], mode: int = TICK_SIZE) -> Market:
    """The market of a payload that is known to be one of ours."""
    market = parse_market(raw, mode)
    assert market is not None
    return market


@pytest.fixture
def swap() -> Market:
    """A linear swap with contracts of 0.01 BTC."""
    return made(raw_market())


@pytest.fixture
def spot() -> Market:
    """A spot market with a minimum cost."""
    return made(raw_spot())


@pytest.fixture
def make_order() -> Callable[..., Order]:
    """Makes limit orders; name what differs."""

    def maker(symbol: str = "BTC/USD:USD", **changes: Any) -> Order:
        usual: dict[str, Any] = {
            "client_order_id": "k1",
            "account": "paper",
            "symbol": symbol,
            "side": Side.BUY,
            "order_type": OrderType.LIMIT,
            "quantity": Decimal("0.1"),
            "price": Decimal("60000.1"),
            "created_at": NOW,
        }
        if changes.get("order_type") is OrderType.MARKET:
            usual["price"] = None
        return Order(**{**usual, **changes})

    return maker
