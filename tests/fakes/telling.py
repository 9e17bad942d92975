"""The Streams port as a script: a test says what is told on which channel, and what goes wrong."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from kontor.config import KontorConfig
from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.market import NO_CANDLES, TIMEFRAMES, Candles, Ticker
from kontor.domain.order import OrderReport
from kontor.domain.trade import Trade
from kontor.errors import ExchangeError, StoreUnavailable
from kontor.streams.streamer import StreamParts
from tests.fakes.desk import FakeDesk
from tests.fakes.exchange import FakeExchange
from tests.support.streamed import StreamedDesk

STEP = int(TIMEFRAMES["1m"].total_seconds() * 1000)


class TellingStreams:
    """Everything is live until a test says otherwise; an exception that is told is raised by the next read."""

    def __init__(self, *channels: str) -> None:
        self.channels: frozenset[str] = frozenset(channels)
        self.breaks = self.unreadable = 0
        self.unknown: dict[str, int] = {}
        self.is_up = True
        self.dropped: list[float] = []
        self.missing: frozenset[str] = frozenset()
        self.subscribed: dict[str, tuple[str, ...]] = {}
        self._told: defaultdict[str, asyncio.Queue[Any]] = defaultdict(asyncio.Queue)

    def tell(self, channel: str, what: Any) -> None:
        """Hand something to the next read of a channel."""
        self._told[channel].put_nowait(what)

    def is_told(self, channel: str) -> bool:
        """Whether everything has been read."""
        return self._told[channel].empty()

    def is_live(self, channel: str) -> bool:
        return self.is_up and bool(self.subscribed.get(channel))

    def left_out(self, channel: str) -> frozenset[str]:
        return self.missing & frozenset(self.subscribed.get(channel, ()))

    async def tickers(self, symbols: Collection[str], *, seconds: float) -> Mapping[str, Ticker]:
        return await self._next("tickers", seconds, {}, symbols)

    async def candles(self, symbols: Collection[str], timeframe: str, *, seconds: float) -> Mapping[str, Candles]:
        del timeframe
        return await self._next("candles", seconds, {}, symbols)

    async def trades(self, symbols: Collection[str], *, seconds: float) -> Mapping[str, Sequence[Trade]]:
        return await self._next("trades", seconds, {}, symbols)

    async def orders(self, *, seconds: float) -> Sequence[OrderReport]:
        return await self._next("orders", seconds, ())

    async def fills(self, *, seconds: float) -> Sequence[Fill]:
        return await self._next("fills", seconds, ())

    async def positions(self, *, seconds: float) -> Mapping[str, tuple[Position, ...]]:
        return await self._next("positions", seconds, {})

    async def balance(self, *, seconds: float) -> Balance | None:
        return await self._next("balance", seconds, None)

    def drop_silent(self, limit: float) -> int:
        self.dropped.append(limit)
        return 0

    async def close(self) -> None:
        pass

    async def _next(
        self, channel: str, seconds: float, nothing: Any, symbols: Collection[str] = ("everything",)
    ) -> Any:
        self.subscribed[channel] = tuple(symbols)
        try:
            async with asyncio.timeout(seconds):
                found = await self._told[channel].get()
        except TimeoutError:
            return nothing
        if isinstance(found, Exception):
            raise found
        return found


class CandleVenue(FakeExchange):
    """REST knows every finished minute's candle, `lags` seconds after its end; symbols in `fails` are not answered."""

    lags, takes = 0.0, 0.02
    fails: frozenset[str] = frozenset()

    async def fetch_candles(
        self, symbol: str, timeframe: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Candles:
        """As a venue does; the close of a candle tells which one it is."""
        del timeframe
        self.requests["candles"] += 1
        self.requests[f"candles {symbol}"] += 1
        await self.clock.sleep(self.takes)
        if symbol in self.fails or (self.random_faults and self.random_faults[1] >= 1.0):
            raise ExchangeError(f"{symbol}: 502")
        newest = int((self.clock.now().timestamp() - self.lags) * 1000) // STEP * STEP - STEP
        first = newest - (limit - 1) * STEP if since is None else int(since.timestamp() * 1000)
        return rows(*range(first, newest + STEP, STEP))


def rows(*moments: int) -> Candles:
    """Candles that open at these milliseconds."""
    return np.array([[at, 1, 2, 0.5, at % 1000 + 1, 3] for at in moments], dtype=np.float64) if moments else NO_CANDLES


class ToldDesk(StreamedDesk, FakeDesk):
    """A fake desk on which one streamer runs, told what a test wants."""

    def __init__(self, *channels: str, config: KontorConfig | None = None) -> None:
        super().__init__(config=config)
        self.exchange: CandleVenue = CandleVenue(self.venue, self.clock)
        self.streams = TellingStreams(*channels)

    @property
    def parts(self) -> StreamParts:
        return StreamParts(self.account, self.config, self.store, self.exchange, self.streams, self.clock)

    @contextmanager
    def store_fails(self, part: str, method: str) -> Iterator[None]:
        """One method of a part of the store raises meanwhile."""

        async def fail(*_: object, **__: object) -> None:
            raise StoreUnavailable("the disk is full")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(getattr(self.store, part), method, fail)
            yield

    async def seconds_until_fresh(self, *channels: str) -> float:
        """How long that takes."""
        began = self.clock.monotonic()
        await self.until(lambda: self.is_fresh(*channels))
        return self.clock.monotonic() - began
