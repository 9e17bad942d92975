"""Markets, watchlist, tickers, candles and ranges in memory."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from kontor.domain.market import NO_CANDLES, Candles, Market, Ticker
from kontor.domain.ranges import Range
from kontor.domain.snapshot import Snapshot
from kontor.store.candles import merge, open_time, page_milliseconds


class MemoryMarketStore:
    """The MarketStore port in memory."""

    def __init__(self) -> None:
        self._markets: dict[str, dict[str, Market]] = {}
        self._watchlists: dict[str, Snapshot[tuple[str, ...]]] = {}
        self._tickers: dict[tuple[str, str], Ticker] = {}
        self._candles: dict[tuple[str, str, str], Candles] = {}
        self._ranges: dict[tuple[str, str], Range] = {}

    async def save_markets(self, account: str, markets: Mapping[str, Market], at: datetime) -> None:  # noqa: ARG002, the port's signature
        """Replace the account's markets."""
        self._markets[account] = dict(sorted(markets.items()))

    async def markets(self, account: str) -> Mapping[str, Market]:
        """Every market by symbol."""
        return dict(self._markets.get(account, {}))

    async def save_watchlist(self, account: str, symbols: Sequence[str], at: datetime) -> None:
        """Replace the watchlist."""
        self._watchlists[account] = Snapshot(tuple(symbols), at)

    async def watchlist(self, account: str) -> Snapshot[tuple[str, ...]] | None:
        """The watched symbols in their order; None before the first save."""
        return self._watchlists.get(account)

    async def save_tickers(self, account: str, tickers: Collection[Ticker], at: datetime) -> None:  # noqa: ARG002, the port's signature
        """Keep the newest; a ticker without a last price, or older than the stored one, leaves price and time alone."""
        for ticker in tickers:
            key = account, ticker.symbol
            self._tickers[key] = _newest(self._tickers.get(key), replace(ticker, raw={}))

    async def tickers(self, account: str, symbols: Collection[str] | None = None) -> Mapping[str, Ticker]:
        """Tickers by symbol, all of them or those asked for."""
        wanted = None if symbols is None else set(symbols)
        return {
            symbol: ticker
            for (owner, symbol), ticker in sorted(self._tickers.items())
            if owner == account and (wanted is None or symbol in wanted)
        }

    async def save_candles(self, account: str, timeframe: str, candles: Mapping[str, Candles]) -> None:
        """Insert or replace by symbol and open time."""
        page_milliseconds(timeframe)
        for symbol, given in candles.items():
            if len(given):
                key = account, timeframe, symbol
                self._candles[key] = merge(self._candles.get(key, NO_CANDLES), given)

    async def candles(
        self, account: str, timeframe: str, symbols: Collection[str], *, limit: int = 1000
    ) -> Mapping[str, Candles]:
        """The newest `limit` candles of each symbol, oldest first; a symbol without any is left out."""
        keys = ((account, timeframe, symbol) for symbol in sorted(set(symbols)))
        return {key[2]: self._candles[key][-limit:].copy() for key in keys if key in self._candles and limit > 0}

    async def last_candle_at(self, account: str, timeframe: str) -> Mapping[str, datetime]:
        """Open time of the newest stored candle per symbol."""
        return {symbol: open_time(found[-1, 0]) for symbol, found in self._of(account, timeframe).items()}

    async def prune_candles(self, account: str, timeframe: str, *, keep: int) -> int:
        """Drop all but the newest `keep` candles per symbol; returns how many candles went."""
        gone = 0
        for symbol, found in self._of(account, timeframe).items():
            dropped = max(len(found) - max(keep, 0), 0)
            gone += dropped
            if dropped == len(found):
                del self._candles[account, timeframe, symbol]
            else:
                self._candles[account, timeframe, symbol] = found[dropped:]
        return gone

    async def save_ranges(self, account: str, ranges: Collection[Range]) -> None:
        """Insert or replace by symbol."""
        self._ranges |= {(account, each.symbol): each for each in ranges}

    async def ranges(self, account: str) -> Mapping[str, Range]:
        """Ranges by symbol."""
        return {symbol: found for (owner, symbol), found in sorted(self._ranges.items()) if owner == account}

    def _of(self, account: str, timeframe: str) -> dict[str, Candles]:
        return {key[2]: found for key, found in self._candles.items() if key[:2] == (account, timeframe)}


def _newest(stored: Ticker | None, new: Ticker) -> Ticker:
    if stored is None:
        return new
    is_fresh = new.last_at >= stored.last_at
    kept = replace(stored, bid=new.bid, ask=new.ask, quote_volume=new.quote_volume) if is_fresh else stored
    if new.last is not None and (is_fresh or stored.last is None):
        return replace(kept, last=new.last, last_at=new.last_at)
    return kept
