"""Finding a strategy by the word in kontor.yaml: shipped, registered by an installed package, or `module:Class`."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from inspect import isabstract
from typing import Any

from pydantic import ValidationError

from kontor.config import StrategySettings, describe
from kontor.errors import ConfigError
from kontor.strategies.protocol import Strategy
from kontor.strategies.view import DataNeed

GROUP = "kontor.strategies"
SHIPPED: Mapping[str, str] = {
    "sma_cross": "kontor.strategies.sma_cross:SmaCross",
    "range_reversion": "kontor.strategies.range_reversion:RangeReversion",
    "grid": "kontor.strategies.grid:Grid",
}


def known() -> dict[str, str]:
    """Every name that can be used without a module, with the place of its code."""
    registered = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    return {**registered, **SHIPPED}


def place_of(use: str) -> str:
    """`module:Class` for a name or such a place; raises ConfigError for an unknown name."""
    if ":" in use:
        return use
    # Those that ship first: looking for registered ones reads what every installed package says of itself.
    found = SHIPPED.get(use) or known().get(use)
    if found is None:
        names = ", ".join(sorted(known()))
        raise ConfigError(f"there is no strategy {use!r}; known are {names}, or write module:Class", where="use")
    return found


def load_class(place: str) -> type[Strategy[Any]]:
    """The class at `module:Class`; raises ConfigError with the reason when there is none."""
    module_name, _, class_name = place.partition(":")
    try:
        module = import_module(module_name)
    except Exception as error:
        raise ConfigError(f"module {module_name!r} cannot be imported ({error!r})", where="use") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, Strategy):
        raise ConfigError(f"{place} is not a subclass of kontor.strategies.Strategy", where="use")
    if isabstract(found):
        raise ConfigError(f"{place} lacks needs() or decide()", where="use")
    return found


def build(settings: StrategySettings) -> Strategy[Any]:
    """The strategy with its parameters; raises ConfigError naming the key that is wrong."""
    kind = load_class(place_of(settings.use))
    try:
        parameters = kind.parameters_type.model_validate(settings.parameters)
    except ValidationError as error:
        raise ConfigError(describe(error), where="parameters") from None
    try:
        return kind(parameters)
    except Exception as error:
        raise ConfigError(f"{settings.use} cannot be made ({error!r})", where="parameters") from error


def need_of(strategy: Strategy[Any]) -> DataNeed:
    """What it needs to see; raises ConfigError when it says nonsense."""
    try:
        need = strategy.needs()
    except Exception as error:
        raise ConfigError(f"needs() failed ({error!r})", where="use") from error
    return sound_need(need)


def sound_need(need: object) -> DataNeed:
    """What needs() returned, made anew and thereby checked: a process may have sent anything."""
    if type(need) is not DataNeed:
        raise ConfigError(f"needs() must return a DataNeed, not {need!r:.200}", where="use")
    try:
        return DataNeed(need.timeframe, need.candles, tuple(need.others), bool(need.ranges))
    except Exception as error:
        raise ConfigError(f"needs() returned a DataNeed that makes no sense ({error})", where="use") from error
