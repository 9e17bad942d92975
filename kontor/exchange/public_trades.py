"""ccxt's public trades as Trade."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kontor.domain.market import Market
from kontor.domain.order import Side
from kontor.domain.trade import Trade
from kontor.exchange.markets import to_base
from kontor.exchange.numbers import moment, positive


def parse_trade(raw: Mapping[str, Any], market: Market, now: datetime) -> Trade:
    """One trade; raises KeyError when it has no price or quantity. A venue that gives no time means "now"."""
    price, quantity = positive(raw.get("price")), to_base(raw.get("amount"), market)
    if price is None or quantity is None:
        raise KeyError(f"trade without price or quantity: {sorted(raw)}")
    side = raw.get("side")
    return Trade(
        symbol=market.symbol,
        price=price,
        quantity=quantity,
        traded_at=moment(raw.get("timestamp")) or now,
        side=Side(side) if side in {"buy", "sell"} else None,
        trade_id=str(raw.get("id") or ""),
    )
