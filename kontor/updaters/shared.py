"""Shared state by name: the attributes updaters write, and the desk's typed results beside them."""

import difflib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kontor.config import KontorConfig
from kontor.domain.order import OrderReport, Side
from kontor.domain.snapshot import Snapshot
from kontor.errors import ConfigError
from kontor.ports import Store
from kontor.updaters.shapes import Shape, Shapes

CANDIDATES = "watchlist_candidates"
WITHOUT_RANGE = "symbols_without_range"
# How many candles of each timeframe have once been fetched in one piece.
CANDLE_LIMITS = "candle_limits"

# What the desk's own processes tell one another: a step that wrote one of these could open the gate or end a halt.
RESERVED = frozenset(
    {
        CANDIDATES,
        WITHOUT_RANGE,
        CANDLE_LIMITS,
        "account_mode",
        "account_setup",
        "alerts_paced",
        "attributed_told",
        "breakers",
        "breakers_reset",
        "capital_beginning",
        "capital_told",
        "clock_drift",
        "dead_mans_switch",
        "drift",
        "exchange_generation",
        "exit_rules",
        "exit_watch",
        "exits_told",
        "gate",
        "halted",
        "held_orders",
        "initialization",
        "ledger_mark",
        "live_accepted",
        "opening_holdings",
        "rate_budgets",
        "reconciled",
        "risk_marks",
        "strategies_in_trouble",
        "stream_messages",
        "streams",
        "telegram_offset",
        "told",
        "trades",
        "units",
        "unprotected",
        "venue_events",
        "venue_maintenance",
        "updaters_down",
    }
)
# The key of the attribute that stands for candles: they are stored as candles, not in the attribute.
CANDLES = "candles"

Read = Callable[[Store, KontorConfig, str], Awaitable[Snapshot[Any] | None]]


@dataclass(frozen=True, slots=True)
class TypedName:
    """A name with a meaning of its own: how it is read, and what it looks like."""

    about: str
    shapes: Shapes
    read: Read


def _named(value: object, *names: str) -> dict[str, Any]:
    """Some attributes of a value, by their names."""
    return {name: getattr(value, name) for name in names}


async def _watchlist(store: Store, _: KontorConfig, account: str) -> Snapshot[Any] | None:
    found = await store.market.watchlist(account)
    return None if found is None else Snapshot(list(found.value), found.at)


async def _last_price(store: Store, _: KontorConfig, account: str) -> Snapshot[Any] | None:
    tickers = [each for each in (await store.market.tickers(account)).values() if each.last is not None]
    if not tickers:
        return None
    return Snapshot({each.symbol: each.last for each in tickers}, max(each.last_at for each in tickers))


async def _tickers(store: Store, _: KontorConfig, account: str) -> Snapshot[Any] | None:
    tickers = (await store.market.tickers(account)).values()
    if not tickers:
        return None
    value = {each.symbol: _named(each, "last", "last_at", "bid", "ask", "quote_volume") for each in tickers}
    return Snapshot(value, max(each.last_at for each in tickers))


async def _ohlcs(store: Store, config: KontorConfig, account: str) -> Snapshot[Any] | None:
    stored = await store.desk.attribute(account, "ohlcs")
    if stored is not None and is_candles(stored.value):
        return await _stored_candles(store, account, stored)
    timeframe = config.candles.timeframe
    known = await store.market.last_candle_at(account, timeframe)
    if not known:
        return None
    candles = await store.market.candles(account, timeframe, list(known), limit=config.candles.keep)
    return Snapshot(dict(candles), max(known.values()))


async def _ranges(store: Store, _: KontorConfig, account: str) -> Snapshot[Any] | None:
    """Of the symbols that pass the filter now: older ones stay stored, but say nothing about today."""
    found = await store.market.ranges(account)
    candidates = await store.desk.attribute(account, CANDIDATES)
    chosen = [each for symbol, each in found.items() if candidates is None or symbol in candidates.value]
    if not chosen:
        return None
    value = {each.symbol: _named(each, "high", "low", "high_timeframe", "low_timeframe") for each in chosen}
    return Snapshot(value, max(each.at for each in chosen))


async def _balance(store: Store, _: KontorConfig, account: str) -> Snapshot[Any] | None:
    found = await store.account.balance(account)
    if found is None:
        return None
    return Snapshot(_named(found, "currency", "total", "free", "used"), found.at)


async def _total(store: Store, _: KontorConfig, account: str) -> Snapshot[Any] | None:
    found = await store.account.balance(account)
    return None if found is None else Snapshot(found.total, found.at)


async def _free(store: Store, _: KontorConfig, account: str) -> Snapshot[Any] | None:
    found = await store.account.balance(account)
    return None if found is None else Snapshot(found.free, found.at)


async def _initial(store: Store, _: KontorConfig, account: str) -> Snapshot[Any] | None:
    found = await store.account.initial_capital(account)
    history = await store.account.balance_history(account)
    return None if found is None or not history else Snapshot(found, history[0].at)


async def _positions(store: Store, _: KontorConfig, account: str) -> Snapshot[Any] | None:
    found = await store.account.positions(account)
    return None if found is None else Snapshot({each.symbol: each for each in found.value}, found.at)


async def _open_orders(store: Store, _: KontorConfig, account: str) -> Snapshot[Any] | None:
    found = await store.account.open_orders(account)
    return None if found is None else Snapshot(by_symbol_and_side(found.value), found.at)


NUMBER, OBJECT, TEXTS = frozenset({Shape.NUMBER}), frozenset({Shape.OBJECT}), frozenset({Shape.TEXTS})

TYPED: Mapping[str, TypedName] = {
    "watchlist": TypedName("the watched symbols", TEXTS, _watchlist),
    "last_price": TypedName("last price by symbol", OBJECT, _last_price),
    "tickers": TypedName("last price with its time, bid, ask and volume by symbol", OBJECT, _tickers),
    "ohlcs": TypedName("finished candles [ts, o, h, l, c, v] by symbol", OBJECT, _ohlcs),
    "ranges": TypedName("high and low with their timeframes by symbol", OBJECT, _ranges),
    "balance": TypedName("total, free and used in the capital currency", OBJECT, _balance),
    "total_capital": TypedName("the balance's total", NUMBER, _total),
    "free_capital": TypedName("what of the balance is really free", NUMBER, _free),
    "initial_capital": TypedName("the first total ever seen", NUMBER, _initial),
    "positions": TypedName("open positions by symbol", OBJECT, _positions),
    "open_orders": TypedName("the venue's open orders, {symbol: {buys, sells}}", OBJECT, _open_orders),
}
# What kontor.yaml says under a name of its own: read at once, written nowhere else.
SETTINGS: Mapping[str, tuple[str, Shapes, Callable[[KontorConfig], Any]]] = {
    "watchlist_filter": (
        "watchlist.filter of kontor.yaml",
        OBJECT,
        lambda config: {key: each.model_dump() for key, each in config.watchlist.filter.items()},
    ),
    "restricted": (
        "watchlist.restricted of kontor.yaml",
        TEXTS,
        lambda config: list(config.watchlist.restricted),
    ),
}


async def read_shared(store: Store, config: KontorConfig, account: str, name: str) -> Snapshot[Any] | None:
    """What is known under a name, with its moment; None when nothing is, settings of kontor.yaml included.

    Typed names first, then the attribute, then the start value in kontor.yaml's `attributes`: `setting` reads those.
    """
    if name in TYPED:
        return await TYPED[name].read(store, config, account)
    stored = await store.desk.attribute(account, name)
    if stored is not None and is_candles(stored.value):
        return await _stored_candles(store, account, stored)
    return stored


def setting(config: KontorConfig, name: str) -> Any:
    """A value of kontor.yaml by its shared name; raises KeyError when it has none of that name."""
    if name in SETTINGS:
        return SETTINGS[name][2](config)
    return config.attributes[name]


async def resolve(store: Store, config: KontorConfig, account: str, name: str) -> Any:
    """The value a `$name` stands for; raises ConfigError when nothing is stored under it yet."""
    found = await read_shared(store, config, account, name)
    if found is not None:
        return found.value
    try:
        return setting(config, name)
    except KeyError:
        raise ConfigError(
            f"nothing is stored under {name} yet; the updater whose target it is has to run first", where=f"${name}"
        ) from None


def check_target(target: str, fills: frozenset[str]) -> None:
    """Raises ConfigError when a result must not be stored under this name."""
    if target in RESERVED:
        raise ConfigError(f"{target} belongs to the desk itself; choose another name")
    if target in SETTINGS:
        raise ConfigError(f"{target} is {SETTINGS[target][0]}; edit it there, or choose another name")
    if target in TYPED and target not in fills:
        raise ConfigError(f"{target} is {TYPED[target].about}, which this call does not give; choose another name")


def nearest(name: str, known: Mapping[str, Any]) -> str:
    """A hint for a misspelled name: `did you mean watchlist?`, or empty."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else ""


def is_candles(value: Any) -> bool:
    """Whether an attribute stands for stored candles."""
    return isinstance(value, dict) and isinstance(value.get(CANDLES), dict)


def by_symbol_and_side(orders: tuple[OrderReport, ...]) -> dict[str, dict[str, list[OrderReport]]]:
    """Live orders as {symbol: {buys, sells}}."""
    found: dict[str, dict[str, list[OrderReport]]] = {}
    for order in orders:
        sides = found.setdefault(order.symbol, {"buys": [], "sells": []})
        sides["buys" if order.side is Side.BUY else "sells"].append(order)
    return found


async def _stored_candles(store: Store, account: str, stored: Snapshot[Any]) -> Snapshot[Any]:
    about = stored.value[CANDLES]
    candles = await store.market.candles(account, about["timeframe"], about["symbols"], limit=about["limit"])
    return Snapshot(dict(candles), stored.at)
