"""The port of stored market data."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from kontor.domain.market import Candles, Market, Ticker
from kontor.domain.ranges import Range
from kontor.domain.snapshot import Snapshot


class MarketStore(Protocol):
    """Markets, watchlist, tickers, candles and ranges of one account's venue."""

    async def save_markets(self, account: str, markets: Mapping[str, Market], at: datetime) -> None: ...

    async def markets(self, account: str) -> Mapping[str, Market]: ...

    async def save_watchlist(self, account: str, symbols: Sequence[str], at: datetime) -> None: ...

    async def watchlist(self, account: str) -> Snapshot[tuple[str, ...]] | None: ...

    async def save_tickers(self, account: str, tickers: Collection[Ticker], at: datetime) -> None:
        """Keep the newest; a ticker without a last price, or older than the stored one, leaves price and time alone."""
        ...

    async def tickers(self, account: str, symbols: Collection[str] | None = None) -> Mapping[str, Ticker]: ...

    async def save_candles(self, account: str, timeframe: str, candles: Mapping[str, Candles]) -> None:
        """Insert or replace by symbol and open time, one statement per batch."""
        ...

    async def candles(
        self, account: str, timeframe: str, symbols: Collection[str], *, limit: int = 1000
    ) -> Mapping[str, Candles]:
        """The newest `limit` candles of each symbol, oldest first; a symbol without any is left out."""
        ...

    async def last_candle_at(self, account: str, timeframe: str) -> Mapping[str, datetime]:
        """Open time of the newest stored candle per symbol."""
        ...

    async def prune_candles(self, account: str, timeframe: str, *, keep: int) -> int:
        """Drop all but the newest `keep` candles per symbol; returns how many rows went."""
        ...

    async def save_ranges(self, account: str, ranges: Collection[Range]) -> None: ...

    async def ranges(self, account: str) -> Mapping[str, Range]: ...
