"""The watchlist: which symbols are worth watching."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from kontor.errors import ConfigError

COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "smaller": lambda found, value: found < value,
    "smaller_or_equal": lambda found, value: found <= value,
    "greater": lambda found, value: found > value,
    "greater_or_equal": lambda found, value: found >= value,
    "equal": lambda found, value: found == value,
}
CAST: Mapping[str, Callable[[Any], Any]] = {"float": float, "int": lambda value: int(float(value)), "str": str}


class ConditionLike(Protocol):
    """A condition as kontor.yaml has it."""

    @property
    def value(self) -> int | float | str:
        """What is compared with."""
        ...

    @property
    def type(self) -> str:
        """The operator."""
        ...

    @property
    def value_type(self) -> str:
        """What both sides are cast to."""
        ...


def dotted(source: Mapping[str, Any], key: str) -> Any:
    """The value at `a.b.c` in nested mappings; raises KeyError with the whole key when a part is missing."""
    found: Any = source
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise KeyError(key)
        found = found[part]
    return found


def passes(
    key: str, condition: ConditionLike, symbol: str, market: Mapping[str, Any], ticker: Mapping[str, Any]
) -> bool:
    """Whether a symbol meets one condition; the key is looked up in the market, then in the ticker.

    A null value never passes: the venue does not know it. A key that neither has is a ConfigError that names it.
    """
    if condition.type not in COMPARE:
        raise ConfigError(
            f"{condition.type} is not an operator; use one of {', '.join(COMPARE)}", where=f"watchlist.filter.{key}"
        )
    found = _look_up(key, symbol, market, ticker)
    if found is None:
        return False
    cast = CAST[condition.value_type]
    try:
        return COMPARE[condition.type](cast(found), cast(condition.value))
    except (TypeError, ValueError):
        raise ConfigError(
            f"{symbol} has {found!r} there, which is no {condition.value_type}; set another value_type",
            where=f"watchlist.filter.{key}",
        ) from None


def select(
    conditions: Mapping[str, ConditionLike],
    candidates: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]],
    *,
    restricted: Collection[str],
    held: Collection[str],
) -> tuple[str, ...]:
    """The watched symbols, sorted: those passing all conditions, minus restricted ones, plus those held.

    `candidates` maps a symbol to its ccxt market and ccxt ticker.
    """
    chosen = {
        symbol
        for symbol, (market, ticker) in candidates.items()
        if symbol not in restricted
        and all(passes(key, condition, symbol, market, ticker) for key, condition in conditions.items())
    }
    return tuple(sorted(chosen | set(held)))


def _look_up(key: str, symbol: str, market: Mapping[str, Any], ticker: Mapping[str, Any]) -> Any:
    known = False
    for source in (market, ticker):
        try:
            found = dotted(source, key)
        except KeyError:
            continue
        known = True
        if found is not None:
            return found
    if not known:
        where = f"watchlist.filter.{key}"
        raise ConfigError(f"{symbol} has no such key in its market or ticker; mend it", where=where)
    return None
