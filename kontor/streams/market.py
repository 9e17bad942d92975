"""stream-market: tickers, candles and trades of the watchlist, from the venue to the store."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from kontor.domain.market import TIMEFRAMES, Ticker
from kontor.domain.trade import Trade
from kontor.errors import ExchangeError
from kontor.resilience.watchdog import FellSilent, Watchdog
from kontor.streams.recent_trades import RecentTrades
from kontor.streams.streamer import LOOK_SECONDS, Streamer, StreamParts

logger = logging.getLogger(__name__)

# Venues that stream trades give prices sooner than their tickers do.
CHANNELS = ("tickers", "candles", "trades")
# Old candles go only now and then.
PRUNE_SECONDS = 300.0


class MarketStreamer(Streamer):
    """Keeps prices and candles of the watched markets in the store, as they come."""

    name = "stream-market"

    def __init__(self, parts: StreamParts) -> None:
        super().__init__(parts)
        self._symbols: tuple[str, ...] = ()
        self._tickers: dict[str, Ticker] = {}
        self._news: dict[str, Ticker] = {}
        self._breaks: dict[str, int] = {}
        self._pruned_at = float("-inf")
        keep = parts.config.streams.trades_kept
        self._recent = RecentTrades(parts.store.desk, parts.account, keep=keep, clock=parts.clock)
        self._price_dog = Watchdog("tickers", parts.config.streams.data_silence_seconds, clock=parts.clock)

    def channels(self) -> tuple[str, ...]:
        """What is wanted and the venue streams."""
        wanted = self.parts.config.streams
        asked = {"tickers": wanted.tickers, "candles": wanted.candles, "trades": wanted.trades}
        return tuple(name for name in CHANNELS if asked[name] and name in self.parts.streams.channels)

    def readers(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """One reader for each channel, and the one that writes prices."""
        reads: Mapping[str, Callable[[], Awaitable[None]]] = {
            "tickers": self._read_tickers,
            "candles": self._read_candles,
            "trades": self._read_trades,
        }

        def reader(channel: str) -> Callable[[], Awaitable[None]]:
            return lambda: self.reading(channel, reads[channel])

        return {channel: reader(channel) for channel in self.channels()}

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
            # A new symbol has no candles yet.
            self._breaks.pop("candles", None)
        for channel in self.channels():
            await self._judge(channel)

    async def _judge(self, channel: str) -> None:
        """Fresh is: connected, and everything missed in the last gap fetched since."""
        streams = self.parts.streams
        if not self._symbols:
            self.freshness.stale(channel, "nothing is watched")
        elif not streams.is_live(channel):
            self.freshness.stale(channel, self.troubles.get(channel, "not connected, or not subscribed yet"))
        elif channel in self.troubles:
            self.freshness.stale(channel, self.troubles[channel])
        elif channel == "tickers" and self._price_dog.silence > self._price_dog.limit:
            self.freshness.stale(channel, str(FellSilent("tickers", self._price_dog.silence)))
            # Connected, subscribed as far as we know, and mute: only a new connection helps.
            streams.drop_silent(0.0)
            self._price_dog.heard()
        elif self._breaks.get(channel) != streams.breaks:
            await self._reconcile(channel, streams.breaks)
        else:
            self.freshness.fresh(channel)

    async def _reconcile(self, channel: str, breaks: int) -> None:
        """Fetch by REST what may have been missed; the channel is fresh when that has worked."""
        try:
            if channel == "tickers":
                tickers = await self.parts.exchange.fetch_tickers(self._symbols)
                self._take(tickers)
                await self._flush()
            elif channel == "candles":
                await self._fetch_missing_candles()
        except ExchangeError as error:
            self.freshness.stale(channel, f"not reconciled: {error}")
            return
        self._breaks[channel] = breaks
        self.freshness.fresh(channel)
        logger.info("stream_reconciled account=%s channel=%s breaks=%d", self.parts.account, channel, breaks)

    async def _fetch_missing_candles(self) -> None:
        parts, settings = self.parts, self.parts.config.candles
        span, now = TIMEFRAMES[settings.timeframe], parts.clock.now()
        known = await parts.store.market.last_candle_at(parts.account, settings.timeframe)
        late = [symbol for symbol in self._symbols if symbol not in known or now - known[symbol] >= 2 * span]
        found = {}
        for symbol in late:
            last = known.get(symbol)
            since = last + span if last and now - last < settings.keep * span else None
            candles = await parts.exchange.fetch_candles(symbol, settings.timeframe, since=since, limit=settings.keep)
            if len(candles):
                found[symbol] = candles
        if found:
            await parts.store.market.save_candles(parts.account, settings.timeframe, found)

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
        parts, timeframe = self.parts, self.parts.config.candles.timeframe
        candles = await parts.streams.candles(self._symbols, timeframe, seconds=LOOK_SECONDS)
        if candles:
            await parts.store.market.save_candles(parts.account, timeframe, candles)
            await self._prune(timeframe)
        await self._rest(bool(self._symbols))

    async def _prune(self, timeframe: str) -> None:
        now = self.parts.clock.monotonic()
        if now - self._pruned_at >= PRUNE_SECONDS:
            self._pruned_at = now
            keep = self.parts.config.candles.keep
            await self.parts.store.market.prune_candles(self.parts.account, timeframe, keep=keep)

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
