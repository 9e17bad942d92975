"""stream-market: tickers, candles and trades of the watchlist, from the venue to the store."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from kontor.domain.market import Ticker
from kontor.domain.trade import Trade
from kontor.errors import ExchangeError
from kontor.resilience.watchdog import Watchdog
from kontor.streams.candles import CandleKeeper
from kontor.streams.recent_trades import RecentTrades
from kontor.streams.streamer import LOOK_SECONDS, Streamer, StreamParts

logger = logging.getLogger(__name__)

# Venues that stream trades give prices sooner than their tickers do.
CHANNELS = ("tickers", "candles", "trades")


class MarketStreamer(Streamer):
    """Keeps prices and candles of the watched markets in the store, as they come."""

    name = "stream-market"

    def __init__(self, parts: StreamParts) -> None:
        super().__init__(parts)
        self._symbols: tuple[str, ...] = ()
        self._tickers: dict[str, Ticker] = {}
        self._news: dict[str, Ticker] = {}
        # Up to which gap prices have been asked for since, and why that has not worked.
        self._priced_gaps = -1
        self._not_priced = ""
        self._candles = CandleKeeper(parts, lambda: self.gaps)
        keep = parts.config.streams.trades_kept
        self._recent = RecentTrades(parts.store.desk, parts.account, keep=keep, clock=parts.clock)
        self._price_dog = Watchdog(parts.config.streams.data_silence_seconds, clock=parts.clock)

    def channels(self) -> tuple[str, ...]:
        """What is wanted and the venue streams."""
        wanted = self.parts.config.streams
        asked = {"tickers": wanted.tickers, "candles": wanted.candles, "trades": wanted.trades}
        return tuple(name for name in CHANNELS if asked[name] and name in self.parts.streams.channels)

    def readers(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """One reader for each channel, and for those that are asked for by REST after a gap, one who does that."""
        reads: Mapping[str, Callable[[], Awaitable[None]]] = {
            "tickers": self._read_tickers,
            "candles": self._read_candles,
            "trades": self._read_trades,
        }

        def reader(channel: str) -> Callable[[], Awaitable[None]]:
            return lambda: self.reading(channel, reads[channel])

        children = {channel: reader(channel) for channel in self.channels()}
        if "tickers" in children:
            children["tickers by REST"] = lambda: self.catching_up(self._prices_are_behind, self._fetch_prices)
        if "candles" in children:
            children["candles by REST"] = lambda: self.catching_up(self._candles_are_behind, self._candles.catch_up)
        return children

    async def second(self) -> None:
        """Follow the watchlist; judge what is fresh."""
        parts = self.parts
        watchlist = await parts.store.market.watchlist(parts.account)
        symbols = watchlist.value if watchlist else ()
        if symbols != self._symbols:
            logger.info(
                "stream_watchlist account=%s symbols=%d before=%d", parts.account, len(symbols), len(self._symbols)
            )
            self._symbols = symbols
            self._recent.follow(symbols)
        self._candles.follow(self._streamed("candles"))
        for channel in self.channels():
            self._judge(channel)

    def _judge(self, channel: str) -> None:
        """Fresh is: connected, and everything missed in the last gap fetched since."""
        streams = self.parts.streams
        if not self._symbols:
            self.freshness.stale(channel, "nothing is watched")
        elif not streams.is_live(channel):
            self.freshness.stale(channel, self.troubles.get(channel, "not connected, or not subscribed yet"))
        elif channel in self.troubles:
            self.freshness.stale(channel, self.troubles[channel])
        elif channel == "tickers" and self._price_dog.is_silent:
            self.freshness.stale(channel, f"no price heard for {self._price_dog.silence:.0f} s")
            # Connected, subscribed as far as we know, and mute: only a new connection helps.
            streams.drop_silent(0.0)
            self._price_dog.heard()
        elif channel == "tickers" and self._priced_gaps != self.gaps:
            self.freshness.stale(channel, self._not_priced or "asking by REST what was missed")
        else:
            self._judge_symbols(channel)

    def _judge_symbols(self, channel: str) -> None:
        """A channel is fresh without the symbols it does not deliver, unless those are all."""
        left_out = self.parts.streams.left_out(channel)
        failed = self._candles.failed if channel == "candles" else {}
        if channel == "candles":
            left_out |= self._candles.due
        if left_out < frozenset(self._symbols):
            self.freshness.fresh(channel, left_out)
            return
        reason = "asking by REST what was missed"
        if failed:
            first = next(iter(failed))
            reason = f"not reconciled: {len(failed)} symbols failed, {first}: {failed[first]}"
        elif channel != "candles":
            reason = "none of the watched markets is streamed"
        self.freshness.stale(channel, reason)

    def _streamed(self, channel: str) -> tuple[str, ...]:
        left_out = self.parts.streams.left_out(channel)
        return tuple(symbol for symbol in self._symbols if symbol not in left_out)

    def _delivers(self, channel: str) -> bool:
        """What is missed from now on will be heard: only then it makes sense to ask for what was missed before."""
        return bool(self._symbols) and channel not in self.troubles and self.parts.streams.is_live(channel)

    def _prices_are_behind(self) -> bool:
        return self._priced_gaps != self.gaps and self._delivers("tickers")

    def _candles_are_behind(self) -> bool:
        return self._delivers("candles") and self._candles.is_behind()

    async def _fetch_prices(self) -> None:
        """Ask for every price once; the channel is fresh when that has worked."""
        gaps = self.gaps
        try:
            tickers = await self.parts.exchange.fetch_tickers(self._streamed("tickers"))
        except ExchangeError as error:
            self._not_priced = f"not reconciled: {error}"
            return
        self._take(tickers)
        await self._flush()
        self._priced_gaps, self._not_priced = gaps, ""
        logger.info("stream_reconciled account=%s channel=tickers gaps=%d", self.parts.account, gaps)

    async def _read_tickers(self) -> None:
        symbols = self._symbols
        tickers = await self.parts.streams.tickers(symbols, seconds=LOOK_SECONDS)
        if tickers:
            self._price_dog.heard()
            self._take(tickers)
        await self._flush()
        await self._rest(bool(symbols))

    async def _read_trades(self) -> None:
        trades = await self.parts.streams.trades(self._symbols, seconds=LOOK_SECONDS)
        for symbol, new in trades.items():
            self._take_trade(symbol, max(new, key=lambda trade: trade.traded_at))
        self._recent.add(trades)
        await self._recent.tell()
        if "tickers" not in self.channels():
            await self._flush()
        await self._rest(bool(self._symbols))

    async def _read_candles(self) -> None:
        candles = await self.parts.streams.candles(
            self._symbols, self.parts.config.candles.timeframe, seconds=LOOK_SECONDS
        )
        if candles:
            await self._candles.take(candles)
        await self._rest(bool(self._symbols))

    def _take(self, tickers: Mapping[str, Ticker]) -> None:
        for symbol, ticker in tickers.items():
            known = self._tickers.get(symbol)
            if known is not None and known.last_at > ticker.last_at and known.last is not None:
                # A trade was told sooner than the ticker that contains it.
                ticker = replace(ticker, last=known.last, last_at=known.last_at)  # noqa: PLW2901 - the newer one
            self._tickers[symbol] = self._news[symbol] = ticker

    def _take_trade(self, symbol: str, trade: Trade) -> None:
        """A trade newer than the ticker makes its price."""
        known = self._tickers.get(symbol)
        if known is None or trade.traded_at > known.last_at:
            blank = known or Ticker(symbol, None, trade.traded_at)
            self._tickers[symbol] = self._news[symbol] = replace(blank, last=trade.price, last_at=trade.traded_at)

    async def _flush(self) -> None:
        if self._news:
            news, self._news = self._news, {}
            await self.parts.store.market.save_tickers(self.parts.account, list(news.values()), self.parts.clock.now())

    async def _rest(self, is_busy: bool) -> None:
        """Let news gather: the store is written to a few times a second, however many messages come."""
        milliseconds = self.parts.config.streams.flush_milliseconds
        await self.parts.clock.sleep(milliseconds / 1000 if is_busy else LOOK_SECONDS / 10)
