"""No hole in the candles, whatever fails and when: nothing in the desk would ever fill it."""

import numpy as np

from kontor.config import KontorConfig
from kontor.streams.freshness import load_channels
from kontor.streams.market import MarketStreamer
from tests.fakes.desk import ACCOUNT, BTC, ETH, SOL
from tests.fakes.telling import STEP, ToldDesk, rows
from tests.fakes.virtual_time import in_virtual_time

SYMBOLS = (BTC, ETH, SOL)
CONFIG = KontorConfig.model_validate({"streams": {"flush_milliseconds": 20}, "candles": {"keep": 100}})


async def a_desk(*channels: str, symbols: tuple[str, ...] = SYMBOLS) -> ToldDesk:
    desk = ToldDesk(*(channels or ("candles",)), config=CONFIG)
    await desk.store.market.save_watchlist(ACCOUNT, symbols, desk.clock.now())
    return desk


async def minute(desk: ToldDesk, *symbols: str) -> int:
    """Let time pass to half a second after the next minute, and the venue tell its candle of these symbols."""
    now = desk.clock.now().timestamp()
    await desk.clock.sleep(60.5 - now % 60)
    opened = int(now // 60) * 60_000
    if symbols:
        desk.streams.tell("candles", {symbol: rows(opened) for symbol in symbols})
        await desk.clock.sleep(0.1)
    return opened


async def holes(desk: ToldDesk) -> dict[str, list[float]]:
    """By symbol, the open times behind which a candle is missing."""
    stored = await desk.store.market.candles(ACCOUNT, "1m", SYMBOLS)
    return {symbol: list(found[:-1][np.diff(found[:, 0]) != STEP, 0]) for symbol, found in stored.items()}


async def newest(desk: ToldDesk) -> dict[str, int]:
    known = await desk.store.market.last_candle_at(ACCOUNT, "1m")
    return {symbol: int(at.timestamp() * 1000) for symbol, at in known.items()}


NONE: dict[str, list[float]] = {symbol: [] for symbol in SYMBOLS}


@in_virtual_time
async def test_a_rest_outage_after_a_reconnect_leaves_no_hole() -> None:
    """The socket is back and streams the next candles, REST is not: what the stream missed must not be passed over."""
    desk = await a_desk()
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("candles"))
        before = await minute(desk, *SYMBOLS)
        assert await newest(desk) == dict.fromkeys(SYMBOLS, before)
        desk.exchange.fails = frozenset(SYMBOLS)
        desk.streams.breaks += 1
        await minute(desk)
        for _ in range(2):
            await minute(desk, *SYMBOLS)
            assert await holes(desk) == NONE
            assert await newest(desk) == dict.fromkeys(SYMBOLS, before), "stored beyond what was missed"
        assert not await desk.is_fresh("candles")
        desk.exchange.fails = frozenset()
        assert await desk.seconds_until_fresh("candles") < 5
        assert await holes(desk) == NONE
        assert await newest(desk) == dict.fromkeys(SYMBOLS, before + 3 * STEP)
        asked = desk.exchange.requests["candles"]
        last = await minute(desk, *SYMBOLS)
        assert await newest(desk) == dict.fromkeys(SYMBOLS, last)
        assert desk.exchange.requests["candles"] == asked, "what is streamed is not fetched"


@in_virtual_time
async def test_a_store_that_fails_once_loses_no_candle() -> None:
    """The venue tells each candle once: what was read and could not be stored is asked for again, and at once."""
    desk = await a_desk()
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("candles"))
        await minute(desk, *SYMBOLS)
        with desk.store_fails("market", "save_candles"):
            lost = await minute(desk, *SYMBOLS)
            assert (await newest(desk))[BTC] == lost - STEP
        await desk.clock.sleep(5)
        assert await newest(desk) == dict.fromkeys(SYMBOLS, lost)
        await minute(desk, *SYMBOLS)
        assert await holes(desk) == NONE


@in_virtual_time
async def test_one_symbol_that_fails_keeps_no_other_waiting_and_is_left_to_rest() -> None:
    """A delisted market among 200 must not undo the work for the other 199, four times a second."""
    desk = await a_desk()
    desk.exchange.fails = frozenset({ETH})
    async with desk.streaming(MarketStreamer):
        assert await desk.seconds_until_fresh("candles") < 5
        state = (await load_channels(desk.store.desk, ACCOUNT, desk.clock.now()))["candles"]
        assert state.left_out == (ETH,)
        asked = desk.exchange.requests[f"candles {ETH}"]
        last = 0
        for _ in range(3):
            last = await minute(desk, BTC, SOL)
        assert await newest(desk) == {BTC: last, SOL: last}
        assert desk.exchange.requests[f"candles {ETH}"] - asked < 180 / 2.5 + 2
        assert desk.exchange.requests[f"candles {BTC}"] == 1
        desk.exchange.fails = frozenset()
        await desk.clock.sleep(5)
        assert (await newest(desk))[ETH] == last
        assert not (await load_channels(desk.store.desk, ACCOUNT, desk.clock.now()))["candles"].left_out


@in_virtual_time
async def test_slow_candles_keep_neither_heart_nor_prices_from_beating() -> None:
    """Two hundred late symbols take a minute to fetch; prices that are well must not count as stale for that."""
    symbols = tuple(f"C{number}/USD:USD" for number in range(200))
    desk = await a_desk("tickers", "candles", symbols=symbols)
    desk.exchange.takes = 3.0
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("tickers"))
        for _ in range(40):
            desk.streams.tell("tickers", {symbols[0]: desk.venue.tickers(desk.clock.now())[BTC]})
            await desk.clock.sleep(0.5)
            assert await desk.is_fresh("tickers")
        fan_out = CONFIG.candles.fan_out
        assert len(await newest(desk)) >= 5 * fan_out, "what has come is not stored until all has"
        beat = (await desk.store.desk.heartbeats(ACCOUNT))["stream-market"]
        assert beat.last_success_at is not None
        assert (desk.clock.now() - beat.last_success_at).total_seconds() <= 11


@in_virtual_time
async def test_a_candle_that_rest_knows_only_later_is_waited_for() -> None:
    """Back a moment after the minute's end: REST has not got that candle yet, and the new socket never tells it."""
    desk = await a_desk()
    desk.exchange.lags = 4.0
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("candles"))
        await minute(desk, *SYMBOLS)
        await minute(desk)
        desk.streams.breaks += 1
        await desk.clock.sleep(8)
        known, now = await newest(desk), desk.clock.now().timestamp() * 1000
        assert all(now - at < 2 * STEP for at in known.values())
        await minute(desk, *SYMBOLS)
        assert await holes(desk) == NONE


@in_virtual_time
async def test_a_candle_streamed_while_rest_is_asked_is_kept() -> None:
    """REST answers as of a moment before; nobody tells the candle of the moment after a second time."""
    desk = await a_desk()
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("candles"))
        await minute(desk, *SYMBOLS)
        desk.exchange.lags, desk.exchange.takes = 20.0, 3.0
        await desk.clock.sleep(58 - desk.clock.now().timestamp() % 60)
        desk.streams.breaks += 1
        last = await minute(desk, *SYMBOLS)
        await desk.clock.sleep(6)
        assert await newest(desk) == dict.fromkeys(SYMBOLS, last)
        await minute(desk, *SYMBOLS)
        assert await holes(desk) == NONE


@in_virtual_time
async def test_a_market_without_trades_is_not_asked_for_without_end() -> None:
    """Some venues have no candle of a minute in which nothing was traded: that is no hole, and no reason to ask."""
    desk = await a_desk(symbols=(BTC,))
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("candles"))
        await minute(desk, BTC)
        asked = desk.exchange.requests["candles"]
        for _ in range(3):
            await minute(desk)
        quiet = await minute(desk, BTC)
        assert await newest(desk) == {BTC: quiet}
        assert desk.exchange.requests["candles"] == asked
