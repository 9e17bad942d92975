"""Every unified read of ccxt with its parameters, as ccxt's base class declares them."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from ccxt.async_support.base.exchange import Exchange

ANY_ARGUMENTS = (inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL, annotation=Any),)


@dataclass(frozen=True, slots=True)
class UnifiedRead:
    """One `fetch_...`: its parameters without self, the type of its result, and a line about it."""

    parameters: tuple[inspect.Parameter, ...]
    returns: Any
    about: str


def _find() -> Mapping[str, UnifiedRead]:
    client = Exchange()
    # Requests over a WebSocket have the same answers as their twins over REST.
    names = [name for name in client.has if name.startswith("fetch") and not name.endswith("Ws")]
    return {read: _describe(read) for read in sorted(client.un_camel_case(name) for name in names)}


def _describe(name: str) -> UnifiedRead:
    about = f"ccxt's {name}, as the exchange answers it"
    function = getattr(Exchange, name, None)
    if function is None:
        # Some exchanges have it, and each with parameters of its own.
        return UnifiedRead(ANY_ARGUMENTS, Any, about)
    try:
        hints = get_type_hints(function)
    except Exception:  # noqa: BLE001 - an annotation ccxt does not import at run time
        hints = {}
    parameters = list(inspect.signature(function).parameters.values())[1:]
    typed = tuple(each.replace(annotation=_loose(hints.get(each.name, Any), each)) for each in parameters)
    return UnifiedRead(typed, hints.get("return", Any), about)


def _loose(annotation: Any, parameter: inspect.Parameter) -> Any:
    """Booleans, numbers and texts as declared; `params` is any object."""
    return dict[str, Any] if parameter.name == "params" else annotation


UNIFIED_READS: Mapping[str, UnifiedRead] = _find()
