"""The feed of a live source: what another exchange tells anybody, by its streams and by REST, into the prices here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from kontor.domain.market import Candles, Ticker
from kontor.domain.trade import Trade
from kontor.errors import ExchangeError, KontorError, NotSupported, StreamBroken
from kontor.paper.listing import Listed, choose
from kontor.paper.model import Instrument, PublicTrade
from kontor.paper.prices.live import LiveSource, Wanted
from kontor.paper.prices.source import MINUTE_MS, NATIVE_MINUTES
from kontor.paper.stored import Stored
from kontor.ports import Clock, Exchange, Streams

log = logging.getLogger(__name__)

T = TypeVar("T")
TIMEFRAMES = {1: "1m", 5: "5m", 15: "15m", 60: "1h", 240: "4h", 1440: "1d"}
LOOK_SECONDS, BEAT_SECONDS, BROKEN_SECONDS, POLL_SECONDS = 1.0, 1.0, 0.2, 1.0
# A socket that has not been heard for so long is replaced.
SILENCE_SECONDS = 12.0
# Prices that have not been live for so long are not traded on.
TROUBLE_SECONDS = 10.0
AT_ONCE = 8
# How far back orders that rested while the paper exchange was down are looked after.
LONGEST_ABSENCE_MINUTES = 3 * 1440
MOST_ROUNDS = 4
LATE_BARS = 2
HOURS, MINUTES = 25, 61


class NoLivePrices(KontorError):
    """The other exchange cannot be used: why, and what to do about it."""


class LiveFeed:
    """Listens to one exchange for as long as `run` does; `source` and `instruments` are there once it is open."""

    def __init__(self, exchange: Exchange, streams: Streams, clock: Clock, *, name: str, tick_ms: int) -> None:
        self._exchange, self._streams, self._clock = exchange, streams, clock
        self.name = name
        self.source = LiveSource(name, tick_ms)
        self.instruments: tuple[Instrument, ...] = ()
        self._listed: dict[str, Listed] = {}
        self._keys: dict[str, Listed] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._live_at_ms = 0
        self._breaks = 0
        self._polled_at_ms = 0

    async def open(self, count: int, stored: Stored) -> None:
        """Choose the markets and fetch what their day looks like; raises NoLivePrices."""
        try:
            markets = await self._exchange.load_markets()
            tickers = await self._exchange.fetch_tickers()
        except NotSupported as error:
            raise NoLivePrices(f"{self.name} cannot be used for live prices ({error}); choose another one") from error
        except ExchangeError as error:
            raise NoLivePrices(
                f"{self.name} does not answer ({error}); check the connection, or take --source synthetic"
            ) from error
        listed = choose(markets, tickers, count, stored.held)
        if not listed:
            raise NoLivePrices(f"{self.name} has no active market in dollars with a price; choose another exchange")
        self._listed = {each.symbol: each for each in listed}
        self._keys = {each.instrument.price_key: each for each in listed}
        self.instruments = tuple(each.instrument for each in listed)
        now = self._now_ms()
        for each in listed:
            last = tickers[each.symbol].last
            self.source.open_market(each.instrument.price_key, float(last or 0), now)
        self._live_at_ms = now
        await self._fetch_all(self._days(now, stored))
        log.info("live prices of %s markets=%d", self.name, len(listed))

    def _days(self, now: int, stored: Stored) -> Iterable[Wanted]:
        """The last day in hours, the last hour in minutes; more where an order has rested meanwhile."""
        minute = now // MINUTE_MS
        absence = min(minute - stored.step_at // MINUTE_MS + 2, LONGEST_ABSENCE_MINUTES)
        for key in self._keys:
            count = max(absence, MINUTES) if key in stored.resting else MINUTES
            yield Wanted(key, 60, minute // 60 - HOURS, minute // 60)
            yield Wanted(key, 1, minute - count, minute)

    async def run(self) -> None:
        """Keep prices live until canceled."""
        channels = self._streams.channels
        async with asyncio.TaskGroup() as tasks:
            if "trades" in channels:
                tasks.create_task(self._reading("trades", self._read_trades))
            elif "tickers" in channels:
                tasks.create_task(self._reading("tickers", self._read_tickers))
            else:
                tasks.create_task(self._poll())
            if "candles" in channels:
                tasks.create_task(self._reading("candles", self._read_candles))
            tasks.create_task(self._beat())

    async def complete(self, answer: T, ask: Callable[[], T]) -> T:
        """The answer, asked for again once everything it wanted has been fetched."""
        for _ in range(MOST_ROUNDS):
            wanted = self._due(self.source.take_wanted())
            if not wanted:
                break
            if not await self._fetch_all(wanted):
                break
            answer = ask()
        return answer

    # Listening

    async def _reading(self, channel: str, read: Callable[[], Awaitable[None]]) -> None:
        """Read for ever; the next read after a lost connection connects again."""
        while True:
            try:
                await read()
            except (StreamBroken, ExchangeError) as error:
                log.info("live stream of %s %s broke: %s", self.name, channel, error)
                await self._clock.sleep(BROKEN_SECONDS)

    async def _read_trades(self) -> None:
        for symbol, trades in (await self._streams.trades(tuple(self._listed), seconds=LOOK_SECONDS)).items():
            self._take_trades(self._listed[symbol], trades)
        await self._clock.sleep(self.source.tick_ms / 2000)

    def _take_trades(self, listed: Listed, trades: Sequence[Trade]) -> None:
        now, instrument = self._now_ms(), listed.instrument
        for trade in trades:
            public = PublicTrade(
                inst_id=instrument.inst_id,
                trade_id=trade.trade_id or str(round(trade.traded_at.timestamp() * 1000)),
                px=trade.price,
                sz=trade.quantity / listed.contract_size,
                side=trade.side.value if trade.side else "buy",
                ts=round(trade.traded_at.timestamp() * 1000),
            )
            self.source.traded(instrument.price_key, public, float(trade.quantity), now)

    async def _read_tickers(self) -> None:
        self._take_tickers(await self._streams.tickers(tuple(self._listed), seconds=LOOK_SECONDS))
        await self._clock.sleep(self.source.tick_ms / 2000)

    def _take_tickers(self, tickers: Mapping[str, Ticker]) -> None:
        now = self._now_ms()
        for symbol, ticker in tickers.items():
            if symbol in self._listed and ticker.last:
                self.source.told(self._listed[symbol].instrument.price_key, float(ticker.last), now)

    async def _poll(self) -> None:
        """An exchange that streams no prices is asked for them."""
        while True:
            try:
                self._take_tickers(await self._exchange.fetch_tickers(tuple(self._listed)))
                self._polled_at_ms = self._now_ms()
            except ExchangeError as error:
                log.info("prices of %s not fetched: %s", self.name, error)
            # Nobody hears what was traded between two looks.
            self.source.missed(self._now_ms(), self._now_ms())
            await self._clock.sleep(POLL_SECONDS)

    async def _read_candles(self) -> None:
        found = await self._streams.candles(tuple(self._listed), TIMEFRAMES[1], seconds=LOOK_SECONDS)
        for symbol, candles in found.items():
            self._learn(self._listed[symbol].instrument.price_key, 1, candles)
        await self._clock.sleep(LOOK_SECONDS / 4)

    # Looking after it

    async def _beat(self) -> None:
        while True:
            self._streams.drop_silent(SILENCE_SECONDS)
            now = self._now_ms()
            if self._is_live(now):
                if self._streams.breaks != self._breaks:
                    await self._catch_up(self._streams.breaks, now)
                else:
                    self._live_at_ms = now
            silent = (now - self._live_at_ms) / 1000
            self._say(f"no live prices of {self.name} for {silent:.0f} s" if silent > TROUBLE_SECONDS else "")
            await self._fetch_all(self._due(self.source.take_wanted()))
            await self._clock.sleep(BEAT_SECONDS)

    def _is_live(self, now: int) -> bool:
        prices = next((name for name in ("trades", "tickers") if name in self._streams.channels), None)
        if prices is None:
            return now - self._polled_at_ms < TROUBLE_SECONDS * 1000
        return self._streams.is_live(prices)

    async def _catch_up(self, breaks: int, now: int) -> None:
        """After a gap: the prices of now by REST, and the minutes in it anew."""
        try:
            self._take_tickers(await self._exchange.fetch_tickers(tuple(self._listed)))
        except ExchangeError as error:
            log.info("prices of %s not fetched: %s", self.name, error)
            return
        self.source.missed(self._live_at_ms, now)
        self._breaks, self._live_at_ms = breaks, now

    def _say(self, trouble: str) -> None:
        if bool(trouble) != bool(self.source.trouble):
            log.warning("%s", trouble or f"prices of {self.name} are live again")
        self.source.trouble = trouble

    # Fetching

    def _due(self, wanted: Collection[Wanted]) -> list[Wanted]:
        """Only bars that are over can be had."""
        minute, found = self._now_ms() // MINUTE_MS, []
        for each in wanted:
            stop = min(each.stop, minute // each.minutes)
            if stop > each.first:
                found.append(each._replace(stop=stop))
        return found

    async def _fetch_all(self, wanted: Iterable[Wanted]) -> bool:
        """Whether anything new has been learned."""
        found = await asyncio.gather(*(self._fetch(each) for each in wanted))
        return any(found)

    async def _fetch(self, wanted: Wanted) -> bool:
        key, minutes, first, stop = wanted
        length = minutes * MINUTE_MS
        since = datetime.fromtimestamp(first * length / 1000, UTC)
        try:
            async with self._gate:
                candles = await self._exchange.fetch_candles(
                    self._keys[key].symbol, TIMEFRAMES[minutes], since=since, limit=stop - first
                )
        except NotSupported:
            if minutes == NATIVE_MINUTES[-1]:
                return False
            self.source.unsupported.add(minutes)
            return True
        except ExchangeError as error:
            log.info("candles of %s not fetched: %s", key, error)
            return False
        self._learn(key, minutes, candles)
        # The newest bars may be a moment late.
        settled = self._now_ms() // length - LATE_BARS
        news = self.source.searched(key, minutes, range(first, min(stop, settled)))
        return news or bool(len(candles))

    def _learn(self, key: str, minutes: int, candles: Candles) -> None:
        length = minutes * MINUTE_MS
        bars = ((int(row[0]) // length, (row[1], row[2], row[3], row[4], row[5])) for row in candles.tolist())
        self.source.learned(key, minutes, bars)

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    async def close(self) -> None:
        """Let go of the other exchange."""
        with contextlib.suppress(ExchangeError):
            await self._streams.close()
        await self._exchange.close()
