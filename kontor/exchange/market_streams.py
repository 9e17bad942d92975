"""What anybody may hear of a market: tickers, finished candles and trades, as they come."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from kontor.domain.market import TIMEFRAMES, Candles, Ticker
from kontor.domain.trade import Trade
from kontor.exchange.candles import from_parsed
from kontor.exchange.public_trades import parse_trade
from kontor.exchange.stream_channels import StreamChannels
from kontor.exchange.stream_methods import watch_symbols
from kontor.exchange.tickers import parse_ticker

# A candle whose time is over for this long is finished even if no newer one has begun.
CANDLE_GRACE_MS = 2_000

# ccxt keeps a thousand trades and candles of every market, 2 KB each: 200 markets would hold half a gigabyte.
KEPT_TRADES, KEPT_CANDLES = 200, 20


class MarketStreams(StreamChannels):
    """The public channels."""

    async def tickers(self, symbols: Collection[str], *, seconds: float) -> Mapping[str, Ticker]:
        """The newest ticker of each symbol that has changed."""
        channel = await self._prepare("tickers", symbols)

        def fresh() -> dict[str, Ticker]:
            cache, seen, now = self._client.tickers, channel.seen, self._clock.now()
            found: dict[str, Ticker] = {}
            for symbol in channel.symbols:
                raw = cache.get(symbol)
                if raw is not None and seen.get(symbol) is not raw:
                    seen[symbol] = raw
                    found[symbol] = parse_ticker(raw, now)
            return found

        return await self._read(
            "tickers", fresh, lambda: watch_symbols(self._client, "tickers", channel.symbols), seconds
        )

    async def candles(self, symbols: Collection[str], timeframe: str, *, seconds: float) -> Mapping[str, Candles]:
        """Candles that have finished since the last call."""
        self._client.options.setdefault("OHLCVLimit", KEPT_CANDLES)
        channel = await self._prepare("candles", symbols)
        step = TIMEFRAMES[timeframe].total_seconds() * 1000
        if self.connection.offset_is_old:
            self._aside.run(self.connection.venue_now())
        now = (self._clock.now() + self.connection.offset).timestamp() * 1000

        def fresh() -> dict[str, Candles]:
            found: dict[str, Candles] = {}
            for symbol in channel.symbols:
                rows = self._client.ohlcvs.get(symbol, {}).get(timeframe)
                if rows:
                    new = _finished_rows(rows, channel.seen.get(symbol, 0.0), step, now)
                    if len(new):
                        # ccxt notes each candle until somebody asks how many are new: nobody else does of most markets.
                        rows.getLimit(None, None)
                        channel.seen[symbol] = float(new[-1, 0])
                        found[symbol] = new
            return found

        return await self._read(
            "candles", fresh, lambda: watch_symbols(self._client, "candles", channel.symbols, timeframe), seconds
        )

    async def trades(self, symbols: Collection[str], *, seconds: float) -> Mapping[str, Sequence[Trade]]:
        """The public trades of each symbol since the last call, oldest first, as far as ccxt has kept them."""
        self._client.options.setdefault("tradesLimit", KEPT_TRADES)
        channel = await self._prepare("trades", symbols)

        def fresh() -> dict[str, list[Trade]]:
            found: dict[str, list[Trade]] = {}
            for symbol in channel.symbols:
                cache = self._client.trades.get(symbol)
                last = cache[-1] if cache else None
                if last is not None and channel.seen.get(symbol) is not last:
                    new = _since(cache, channel.seen.get(symbol))
                    channel.seen[symbol] = last
                    found[symbol] = self._entries.parse_all("trade", new, parse_trade, is_missed=False)
            return found

        return await self._read(
            "trades", fresh, lambda: watch_symbols(self._client, "trades", channel.symbols), seconds
        )


def _since(cache: Sequence[Any], last: Any) -> list[Any]:
    """The entries behind `last`, which may have left the cache meanwhile."""
    found: list[Any] = []
    for entry in reversed(cache):
        if entry is last:
            break
        found.append(entry)
    return found[::-1]


def _finished_rows(rows: Sequence[Sequence[Any]], after: float, step: float, now: float) -> Candles:
    """Rows newer than `after` whose time is over, or that a newer one has followed."""
    last = float(rows[-1][0])
    new = [row for row in rows if row[0] > after and (row[0] < last or row[0] + step + CANDLE_GRACE_MS <= now)]
    return from_parsed(new) if new else np.empty((0, 6))
