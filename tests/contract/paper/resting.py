"""An order that rests: what tests with ccxt place when nothing shall fill."""

from __future__ import annotations

from typing import Any

SPOT, SWAP = "BTC/USD", "BTC/USD:USD"


async def price_far_below(client: Any, symbol: str = SWAP) -> float:
    """A price three percent below the market."""
    last = (await client.fetch_ticker(symbol))["last"]
    return float(client.price_to_precision(symbol, last * 0.97))


async def limit_far_below(client: Any, symbol: str = SWAP, quantity: float = 1, **params: Any) -> dict[str, Any]:
    """A resting buy order three percent below the market."""
    price = await price_far_below(client, symbol)
    return await client.create_order(symbol, "limit", "buy", quantity, price, params)
