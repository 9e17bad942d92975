"""ccxt tickers as Ticker."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kontor.domain.market import Ticker
from kontor.exchange.numbers import moment, positive


def parse_ticker(raw: Mapping[str, Any], now: datetime) -> Ticker:
    """One ticker; a missing, null or zero last price is None. A venue that gives no time means "now"."""
    return Ticker(
        symbol=raw["symbol"],
        last=positive(raw.get("last")) or positive(raw.get("close")),
        last_at=moment(raw.get("timestamp")) or now,
        bid=positive(raw.get("bid")),
        ask=positive(raw.get("ask")),
        quote_volume=positive(raw.get("quoteVolume")),
        raw=raw,
    )
