"""The steps of the market data updaters, without Prefect and without a network."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from kontor.config import KontorConfig
from kontor.desk import Desk
from kontor.domain.account import Position, PositionSide
from kontor.domain.market import Candles, Ticker
from kontor.domain.ranges import Range
from kontor.errors import ExchangeError, OutcomeUnknown
from kontor.resilience.clock import VirtualClock
from kontor.store.memory import MemoryStore
from tasks.market_data import candidates, find_ranges, refresh_candles, refresh_tickers, save_ranges, save_watchlist

A, B = "A/USD:USD", "B/USD:USD"
MINUTE = timedelta(minutes=1)


class Source:
    """The part of an exchange that market data comes from: a candle each minute, and symbols that fail."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.failing: dict[str, Exception] = {}
        self.asked: list[tuple[str, str, datetime | None, int]] = []
        self.prices: dict[str, Decimal | None] = {}
        self.shapes: dict[str, np.ndarray] = {}

    async def fetch_candles(
        self, symbol: str, timeframe: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Candles:
        self.asked.append((symbol, timeframe, since, limit))
        if symbol in self.failing:
            raise self.failing[symbol]
        if timeframe in self.shapes:
            return self.shapes[timeframe]
        newest = self.clock.now().replace(second=0, microsecond=0) - MINUTE
        start = since or newest - (limit - 1) * MINUTE
        count = max(int((newest - start) / MINUTE) + 1, 0)
        times = [(start + i * MINUTE).timestamp() * 1000 for i in range(count)]
        return np.array([[at, 1.0, 2.0, 0.5, 1.5, 10.0] for at in times], dtype=np.float64).reshape(-1, 6)

    async def fetch_tickers(self, symbols: Collection[str] | None = None) -> dict[str, Ticker]:
        now = self.clock.now()
        return {
            symbol: Ticker(symbol, price, now) for symbol, price in self.prices.items() if symbol in (symbols or ())
        }


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def desk(clock: VirtualClock) -> Desk:
    config = KontorConfig.model_validate({"candles": {"keep": 20}})
    parts: Any = {"exchange": Source(clock), "notifier": None}
    return Desk("paper", config, parts["exchange"], MemoryStore(), clock, parts["notifier"])


def source(desk: Desk) -> Source:
    found = desk.exchange
    assert isinstance(found, Source)
    return found


async def test_the_first_fetch_is_whole_and_later_ones_ask_only_for_what_is_missing(
    desk: Desk, clock: VirtualClock
) -> None:
    assert await refresh_candles.fn(desk, [A]) == (1, {})
    await clock.advance(180)
    assert await refresh_candles.fn(desk, [A]) == (1, {})
    first, second = source(desk).asked
    assert first[2:] == (None, 20)
    stored = (await desk.store.market.candles("paper", "1m", [A]))[A]
    assert len(stored) == 20
    assert second[2] is not None
    assert set(np.diff(stored[:, 0])) == {60_000.0}


async def test_no_request_is_made_while_no_candle_is_due(desk: Desk) -> None:
    await refresh_candles.fn(desk, [A])
    source(desk).asked.clear()
    assert await refresh_candles.fn(desk, [A]) == (0, {})
    assert source(desk).asked == []


async def test_one_failed_symbol_fails_only_itself(desk: Desk) -> None:
    """In the notebook one symbol's error lost the whole batch."""
    source(desk).failing[A] = OutcomeUnknown("A did not answer")
    assert await refresh_candles.fn(desk, [A, B]) == (1, {A: "A did not answer"})
    assert set(await desk.store.market.candles("paper", "1m", [A, B])) == {B}


async def test_when_every_symbol_fails_the_updater_fails_and_says_why(desk: Desk) -> None:
    """A run that fetched nothing must not count as a sign of life."""
    source(desk).failing.update({A: OutcomeUnknown("venue down"), B: OutcomeUnknown("venue down")})
    with pytest.raises(ExchangeError, match=r"all 2 symbols failed; A/USD:USD: venue down"):
        await refresh_candles.fn(desk, [A, B])


async def test_an_error_that_is_not_the_venues_is_not_swallowed(desk: Desk) -> None:
    source(desk).failing[A] = ZeroDivisionError("a bug of ours")
    with pytest.raises(ZeroDivisionError):
        await refresh_candles.fn(desk, [A, B])


async def test_a_missing_price_keeps_the_old_one_with_its_age(desk: Desk, clock: VirtualClock) -> None:
    source(desk).prices = {A: Decimal(10), B: Decimal(20)}
    assert await refresh_tickers.fn(desk, [A, B]) == ()
    before = await desk.store.market.tickers("paper")
    await clock.advance(30)
    source(desk).prices = {A: None}
    assert await refresh_tickers.fn(desk, [A, B]) == (A, B)
    assert await desk.store.market.tickers("paper") == before


def zigzag(*peaks: float) -> np.ndarray:
    """Candles whose highs and lows swing around 100 with these peaks above, mirrored below."""
    rows = [
        [0.0, 100.0, 100.0 + height, 100.0 - height, 100.0, 1.0]
        for peak in peaks
        for height in (0.2, 0.5, peak, 0.5, 0.2)
    ]
    candles = np.array(rows, dtype=np.float64)
    candles[:, 0] = np.arange(len(candles)) * 60_000.0
    return candles


async def test_longer_timeframes_are_asked_only_while_a_side_is_missing(desk: Desk) -> None:
    flat = zigzag(0.3, 0.3, 0.3, 0.3, 0.3)
    swinging = zigzag(1, 2, 9, 3, 2, 1)
    source(desk).prices = {A: Decimal(100)}
    source(desk).shapes = {"1m": flat, "5m": flat, "15m": swinging, "1h": swinging, "4h": swinging, "1d": swinging}
    [found], failed = await find_ranges.fn(desk, [A])
    assert failed == {}
    assert (found.high, found.low) == (Decimal(109), Decimal(91))
    assert (found.high_timeframe, found.low_timeframe) == ("15m", "15m")
    assert [asked[1] for asked in source(desk).asked] == ["1m", "5m", "15m"]


async def test_symbols_without_a_range_leave_the_watchlist_but_not_the_candidates(desk: Desk) -> None:
    """Otherwise a symbol that lost its range once would never be looked at again."""
    now = desk.clock.now()
    complete = Range(A, Decimal(2), Decimal(1), "1m", "1m", now)
    await save_watchlist.fn(desk, [A, B])
    assert await save_ranges.fn(desk, [complete, replace(complete, symbol=B, low=None)], [A, B]) == (B,)
    watchlist = await desk.store.market.watchlist("paper")
    assert watchlist is not None
    assert watchlist.value == (A,)
    assert await candidates(desk) == (A, B)
    assert await save_watchlist.fn(desk, [A, B]) == (A,)


async def test_a_held_symbol_stays_watched_without_a_range(desk: Desk) -> None:
    now = desk.clock.now()
    held = Position(B, PositionSide.LONG, Decimal(1), Decimal(5), None, None, None, None, None, now)
    await desk.store.account.save_positions("paper", [held], now)
    await save_ranges.fn(desk, [Range(B, None, None, None, None, now)], [A, B])
    watchlist = await desk.store.market.watchlist("paper")
    assert watchlist is not None
    assert watchlist.value == (A, B)
