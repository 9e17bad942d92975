"""Steps of the market data updaters: watchlist, tickers, candles, ranges."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from kontor.config import CandleSettings
from kontor.desk import Desk
from kontor.domain.market import TIMEFRAMES, Candles, Ticker, missing_since
from kontor.domain.ranges import RANGE_CANDLES, RANGE_TIMEFRAMES, Range, nearest_levels
from kontor.domain.watchlist import ConditionLike, select
from kontor.errors import ConfigError, ExchangeError
from kontor.updaters.shared import CANDIDATES, WITHOUT_RANGE


@task(cache_policy=NO_CACHE)
async def select_watchlist(
    desk: Desk,
    conditions: Mapping[str, ConditionLike] | None = None,
    restricted: Collection[str] | None = None,
) -> tuple[str, ...]:
    """The symbols that pass the filter, plus those held; markets are loaded afresh and stored on the way.

    Filter and restricted symbols are those of kontor.yaml where none are given.
    """
    settings = desk.config.watchlist
    markets = await desk.exchange.load_markets(reload=True)
    tickers = await desk.exchange.fetch_tickers()
    held = [position.symbol for position in await desk.exchange.fetch_positions()]
    candidates = {
        symbol: (market.raw, tickers[symbol].raw)
        for symbol, market in markets.items()
        if market.active and symbol in tickers and (not settings.kinds or market.kind in settings.kinds)
    }
    symbols = select(
        settings.filter if conditions is None else conditions,
        candidates,
        restricted=settings.restricted if restricted is None else restricted,
        held=held,
    )
    await desk.store.market.save_markets(desk.account, markets, desk.clock.now())
    return _bounded(symbols, settings.max_symbols, tickers, held)


@task(cache_policy=NO_CACHE)
async def check_restricted(desk: Desk) -> None:
    """Raise ConfigError when kontor.yaml restricts a symbol this exchange does not have: it is misspelled.

    Asked at initialization only: a symbol that is delisted later must not stop the watchlist.
    """
    markets = await desk.exchange.load_markets()
    for symbol in desk.config.watchlist.restricted:
        if symbol not in markets:
            raise ConfigError(
                f"{symbol} is not a market of this exchange; remove it or mend its spelling",
                where="kontor.yaml: watchlist.restricted",
            )


@task(cache_policy=NO_CACHE)
async def save_watchlist(desk: Desk, candidates: Sequence[str]) -> tuple[str, ...]:
    """Store the watchlist: the candidates without those that have no range; a held symbol always stays."""
    now = desk.clock.now()
    without = await desk.store.desk.attribute(desk.account, WITHOUT_RANGE)
    held = await held_symbols(desk)
    rangeless = set(without.value if without else ()) - held
    symbols = tuple(symbol for symbol in candidates if symbol not in rangeless)
    await desk.store.desk.set_attribute(desk.account, CANDIDATES, list(candidates), now)
    await desk.store.market.save_watchlist(desk.account, symbols, now)
    return symbols


@task(cache_policy=NO_CACHE)
async def refresh_tickers(desk: Desk, symbols: Sequence[str]) -> tuple[str, ...]:
    """Fetch and store the tickers; returns the symbols the venue sent no last price for (the old one stays)."""
    tickers = await desk.exchange.fetch_tickers(symbols)
    await desk.store.market.save_tickers(desk.account, list(tickers.values()), desk.clock.now())
    return tuple(sorted(symbol for symbol in symbols if symbol not in tickers or tickers[symbol].last is None))


@task(cache_policy=NO_CACHE)
async def refresh_candles(
    desk: Desk,
    symbols: Sequence[str],
    series: CandleSettings | None = None,
    *,
    anew: bool = False,
) -> tuple[int, dict[str, str]]:
    """Fetch what is missing of each symbol's candles and store it in one batch.

    Which candles, and how many, is kontor.yaml's to say where no `series` is given; `anew` fetches all of them.
    Returns how many symbols got new candles, and which failed with the reason; one failure fails only itself.
    """
    settings = series or desk.config.candles
    span = TIMEFRAMES[settings.timeframe]
    known = {} if anew else await desk.store.market.last_candle_at(desk.account, settings.timeframe)
    now = desk.clock.now()
    due = [symbol for symbol in symbols if symbol not in known or now - known[symbol] >= 2 * span]
    limit = asyncio.Semaphore(settings.fan_out)

    async def fetch(symbol: str) -> Candles:
        async with limit:
            return await desk.exchange.fetch_candles(
                symbol,
                settings.timeframe,
                since=missing_since(known.get(symbol), now, span, settings.keep),
                limit=settings.keep,
            )

    fetched, failed = await _each(due, fetch)
    new = {symbol: candles for symbol, candles in fetched.items() if len(candles)}
    if new:
        await desk.store.market.save_candles(desk.account, settings.timeframe, new)
        # Another updater may want more of the same candles: kontor.yaml's figure bounds them all.
        keep = max(settings.keep, desk.config.candles.keep)
        await desk.store.market.prune_candles(desk.account, settings.timeframe, keep=keep)
    return len(new), failed


async def late_candles(desk: Desk, symbols: Sequence[str]) -> tuple[str, ...]:
    """Symbols of which a finished candle is missing for longer than one more takes: no stream is waited for then."""
    timeframe = desk.config.candles.timeframe
    known, now = await desk.store.market.last_candle_at(desk.account, timeframe), desk.clock.now()
    patience = 3 * TIMEFRAMES[timeframe]
    return tuple(symbol for symbol in symbols if symbol not in known or now - known[symbol] >= patience)


@task(cache_policy=NO_CACHE)
async def find_ranges(desk: Desk, symbols: Sequence[str]) -> tuple[list[Range], dict[str, str]]:
    """The range of each symbol, longer timeframes only while a side is missing; and what failed."""
    tickers = await desk.exchange.fetch_tickers(symbols)
    limit = asyncio.Semaphore(desk.config.candles.fan_out)

    async def find(symbol: str) -> Range:
        async with limit:
            return await _range(desk, symbol, tickers.get(symbol))

    found, failed = await _each(symbols, find)
    return list(found.values()), failed


@task(cache_policy=NO_CACHE)
async def save_ranges(desk: Desk, ranges: Sequence[Range], candidates: Sequence[str]) -> tuple[str, ...]:
    """Store the ranges; candidates whose range is incomplete leave the watchlist and are returned."""
    now = desk.clock.now()
    without = sorted(found.symbol for found in ranges if not found.is_complete)
    await desk.store.market.save_ranges(desk.account, ranges)
    await desk.store.desk.set_attribute(desk.account, WITHOUT_RANGE, without, now)
    held = await held_symbols(desk)
    stays = tuple(symbol for symbol in candidates if symbol not in without or symbol in held)
    await desk.store.market.save_watchlist(desk.account, stays, now)
    return tuple(without)


async def held_symbols(desk: Desk) -> set[str]:
    """Symbols with an open position, as last stored."""
    positions = await desk.store.account.positions(desk.account)
    return {position.symbol for position in positions.value} if positions else set()


async def watched(desk: Desk) -> tuple[str, ...]:
    """The stored watchlist; raises ConfigError when it is empty, since the updaters would have nothing to do."""
    watchlist = await desk.store.market.watchlist(desk.account)
    if watchlist is None or not watchlist.value:
        raise ConfigError("no market passes the filter; loosen watchlist.filter", where="kontor.yaml")
    return watchlist.value


async def candidates(desk: Desk) -> tuple[str, ...]:
    """The symbols that passed the filter, those without a range included."""
    stored = await desk.store.desk.attribute(desk.account, CANDIDATES)
    return tuple(stored.value) if stored else await watched(desk)


async def _range(desk: Desk, symbol: str, ticker: Ticker | None) -> Range:
    now = desk.clock.now()
    if ticker is None or ticker.last is None:
        return Range(symbol, None, None, None, None, now)
    sides: dict[str, tuple[Decimal, str]] = {}
    for timeframe in RANGE_TIMEFRAMES:
        candles = await _candles(desk, symbol, timeframe, now)
        for name, level in zip(("high", "low"), nearest_levels(candles, float(ticker.last)), strict=True):
            if level is not None:
                sides.setdefault(name, (Decimal(str(level)), timeframe))
        if len(sides) == 2:  # noqa: PLR2004 - both sides
            break
    high, high_timeframe = sides.get("high", (None, None))
    low, low_timeframe = sides.get("low", (None, None))
    return Range(symbol, high, low, high_timeframe, low_timeframe, now)


async def _candles(desk: Desk, symbol: str, timeframe: str, now: datetime) -> Candles:
    """Stored candles where update-candles keeps them fresh, else fetched."""
    settings = desk.config.candles
    if timeframe == settings.timeframe and settings.keep >= RANGE_CANDLES:
        stored = (await desk.store.market.candles(desk.account, timeframe, [symbol], limit=RANGE_CANDLES)).get(symbol)
        span = TIMEFRAMES[timeframe]
        if stored is not None and len(stored) and _is_fresh(stored, now, span):
            return stored
    return await desk.exchange.fetch_candles(symbol, timeframe, limit=RANGE_CANDLES)


def _is_fresh(candles: Candles, now: datetime, span: timedelta) -> bool:
    return now.timestamp() - float(np.max(candles[:, 0])) / 1000 < 3 * span.total_seconds()


async def _each(symbols: Collection[str], work) -> tuple[dict, dict[str, str]]:  # noqa: ANN001 - a coroutine function of a symbol
    """Results and reasons of failure by symbol; raises only when every symbol failed, with the first reason."""
    results = await asyncio.gather(*(work(symbol) for symbol in symbols), return_exceptions=True)
    done, failed = {}, {}
    for symbol, result in zip(symbols, results, strict=True):
        if isinstance(result, ExchangeError):
            failed[symbol] = str(result)
        elif isinstance(result, BaseException):
            raise result
        else:
            done[symbol] = result
    if failed and not done:
        first = next(iter(failed))
        raise ExchangeError(f"all {len(failed)} symbols failed; {first}: {failed[first]}")
    return done, failed


def _bounded(
    symbols: Sequence[str], most: int, tickers: Mapping[str, Ticker], held: Collection[str]
) -> tuple[str, ...]:
    """At most `most` symbols: the held ones, then those with the largest volume."""
    if len(symbols) <= most:
        return tuple(symbols)
    by_volume = sorted(symbols, key=lambda s: (s not in held, -(tickers[s].quote_volume or 0) if s in tickers else 0))
    return tuple(sorted(by_volume[:most]))
