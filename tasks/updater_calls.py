"""What the steps of an updater may call: the desk's own callables, every unified read of ccxt, and installed ones."""

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from kontor.config import CandleSettings, Condition, describe
from kontor.desk import Desk
from kontor.errors import ConfigError
from kontor.exchange.reads import UNIFIED_READS
from kontor.updaters.calls import Call, described, installed
from kontor.updaters.shared import CANDLE_LIMITS, WITHOUT_RANGE, by_symbol_and_side
from tasks.account import refresh_balance, refresh_open_orders, refresh_positions
from tasks.market_data import (
    find_ranges,
    held_symbols,
    refresh_candles,
    refresh_tickers,
    save_watchlist,
    select_watchlist,
)

CONDITIONS = TypeAdapter(dict[str, Condition])


@dataclass(frozen=True, slots=True)
class StoredCandles:
    """Candles that lie in the store: what an updater's result says of them."""

    timeframe: str
    limit: int
    symbols: tuple[str, ...]
    failed: Mapping[str, str]


async def get_filtered_watch_list(
    desk: Desk, conditions: dict[str, Any] | None = None, restricted: list[str] | None = None
) -> list[str]:
    """Symbols that pass the filter, minus restricted ones, plus those held; kontor.yaml's where none are given."""
    try:
        wanted = None if conditions is None else CONDITIONS.validate_python(conditions)
    except ValidationError as error:
        raise ConfigError(describe(error), where="conditions") from None
    return list(await select_watchlist(desk, wanted, restricted))


async def get_current_ranges(desk: Desk, symbols: list[str]) -> dict[str, Any]:
    """The range of each symbol, {symbol: {high, low, ...}}; one without both sides leaves the watchlist next time."""
    found, _ = await find_ranges(desk, symbols)
    await desk.store.market.save_ranges(desk.account, found)
    known = await desk.store.desk.attribute(desk.account, WITHOUT_RANGE)
    without = set(known.value if known else ()) - {each.symbol for each in found}
    without |= {each.symbol for each in found if not each.is_complete}
    await desk.store.desk.set_attribute(desk.account, WITHOUT_RANGE, sorted(without), desk.clock.now())
    return {each.symbol: {"high": each.high, "low": each.low} for each in found}


async def get_watch_list_from_ranges(
    desk: Desk, ranges: dict[str, Any], restricted: list[str] | None = None
) -> list[str]:
    """Symbols whose range has both sides, minus restricted ones, plus those held."""
    out = desk.config.watchlist.restricted if restricted is None else restricted
    complete = {symbol for symbol, each in ranges.items() if _side(each, "high") and _side(each, "low")}
    return sorted((complete - set(out)) | await held_symbols(desk))


async def get_ohlcv_data(
    desk: Desk, symbols: list[str], timeframe: str | None = None, limit: int | None = None
) -> dict[str, Any]:
    """Finished candles {symbol: [[ts, o, h, l, c, v], ...]}, only what is missing; stored as candles.

    Timeframe and number are those of kontor.yaml where none are given.
    """
    settings = desk.config.candles
    timeframe = timeframe or settings.timeframe
    limit = settings.keep if limit is None else limit
    if limit > settings.keep:
        raise ConfigError(
            f"{limit} is more than candles.keep of kontor.yaml ({settings.keep}); raise it there", where="limit"
        )
    try:
        series = CandleSettings(timeframe=timeframe, keep=max(limit, 10), fan_out=settings.fan_out)
    except ValidationError as error:
        raise ConfigError(describe(error)) from None
    state, now = desk.store.desk, desk.clock.now()
    limits = await state.attribute(desk.account, CANDLE_LIMITS)
    anew = limit > (limits.value.get(timeframe, 0) if limits else 0)
    _, failed = await refresh_candles(desk, symbols, series, anew=anew)
    if anew and not failed:
        await state.set_attribute(desk.account, CANDLE_LIMITS, {timeframe: limit}, now, merge=True)
    # A mapping for whoever refers to it; the step stores where the candles are.
    return cast("dict[str, Any]", StoredCandles(timeframe, limit, tuple(symbols), failed))


async def get_last_prices(desk: Desk, symbols: list[str]) -> dict[str, Any]:
    """Last price of each symbol; one the venue sends none for keeps its old price, and its age."""
    await refresh_tickers(desk, symbols)
    tickers = await desk.store.market.tickers(desk.account, symbols)
    return {symbol: each.last for symbol, each in tickers.items() if each.last is not None}


async def get_total_balance(desk: Desk) -> Decimal:
    """The account's total in the capital currency."""
    return (await refresh_balance(desk)).total


async def get_free_balance(desk: Desk) -> Decimal:
    """What of the account is really free, in the capital currency."""
    return (await refresh_balance(desk)).free


async def get_open_positions(desk: Desk) -> dict[str, Any]:
    """Open positions by symbol, as the venue has them now."""
    return {each.symbol: each for each in await refresh_positions(desk)}


async def get_open_orders(desk: Desk) -> dict[str, Any]:
    """Live orders of the account, {symbol: {buys, sells}}, as the venue has them now."""
    return by_symbol_and_side(tuple(await refresh_open_orders(desk)))


async def _keep_candidates(desk: Desk, symbols: list[str]) -> None:
    await save_watchlist(desk, symbols)


async def _keep_watchlist(desk: Desk, symbols: list[str]) -> None:
    await desk.store.market.save_watchlist(desk.account, symbols, desk.clock.now())


OWN = (
    described(get_filtered_watch_list, fills={"watchlist"}, keep=_keep_candidates),
    described(get_current_ranges, fills={"ranges"}),
    described(get_watch_list_from_ranges, fills={"watchlist"}, keep=_keep_watchlist),
    described(get_ohlcv_data, fills={"ohlcs"}),
    described(get_last_prices, fills={"last_price"}),
    described(get_total_balance, fills={"total_capital"}),
    described(get_free_balance, fills={"free_capital"}),
    described(get_open_positions, fills={"positions"}),
    described(get_open_orders, fills={"open_orders"}),
)


@functools.cache
def registry() -> tuple[Mapping[str, Call], tuple[str, ...]]:
    """Every callable by name, and one sentence for each installed one that cannot be used."""
    calls = {each.name: each for each in OWN} | {name: _read(name) for name in UNIFIED_READS}
    added, problems = installed(calls)
    return MappingProxyType(calls | added), tuple(problems)


def _read(name: str) -> Call:
    about = UNIFIED_READS[name]

    async def run(desk: Desk, *args: Any, **kwargs: Any) -> Any:
        return await desk.exchange.call(name, *_in_order(about.parameters, args, kwargs))

    return Call(name, run, about.parameters, about.returns, about.about, "ccxt")


def _in_order(
    parameters: tuple[inspect.Parameter, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Arguments by position, as the exchange takes them: defaults fill the gaps between named ones."""
    if not kwargs:
        return args
    bound = inspect.Signature(list(parameters)).bind(*args, **kwargs)
    last = max(list(bound.signature.parameters).index(name) for name in kwargs)
    bound.apply_defaults()
    return tuple(list(bound.arguments.values())[: last + 1])


def _side(found: Any, name: str) -> Any:
    return found.get(name) if isinstance(found, Mapping) else None
