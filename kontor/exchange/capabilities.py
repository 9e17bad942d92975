"""What a venue can do, read off its ccxt class, and what the desk would like it to do."""

from collections.abc import Iterable, Iterator, Mapping
from types import CodeType
from typing import Any

from kontor.domain.venue_profile import VenueProfile
from kontor.exchange.venues import Venue

# What the desk uses a method for; `VenueProfile.lacks(NEEDED)` gives one sentence for each that is missing.
NEEDED: Mapping[str, str] = {
    "fetchTickers": "update-tickers asks for every market on its own, which costs requests",
    "fetchOHLCV": "update-candles and update-ranges cannot work",
    "fetchBalance": "update-balance cannot work",
    "fetchPositions": "positions are not known, only balances",
    "fetchOpenOrders": "update-open-orders cannot work",
    "fetchOrder": "an order of unknown fate cannot be looked up; a human decides",
    "fetchMyTrades": "fills are not recorded one by one",
    "createOrder": "no order can be sent",
    "createOrders": "orders are sent one at a time",
    "cancelOrder": "no order can be canceled",
    "cancelAllOrdersAfter": "there is no dead man's switch: orders stay when the desk dies",
    "setLeverage": "leverage is set on the venue's own page",
    "fetchTime": "this machine's clock is not checked against the venue's",
}
CLIENT_ID_WORDS = frozenset({"clientOrderId", "clOrdId", "client_order_id", "cl_ord_id"})
DEFAULT_CANDLES = 100


def venue_profile(client: Any, venue: Venue) -> VenueProfile:
    """What this client's venue can do; unknown limits are taken low."""
    has = {name: bool(value) for name, value in client.has.items()}
    return VenueProfile(
        exchange_id=client.id,
        capabilities=has,
        absence_grace=venue.absence_grace,
        lookup_by_client_order_id=has.get("fetchOrder", False) and mentions_client_id(client, "fetch_order"),
        client_order_id_on_create=mentions_client_id(client, "create_order"),
        batch_limit=_limit(client, "createOrders", "max") if has.get("createOrders") else 1,
        cancel_all_after=has.get("cancelAllOrdersAfter", False),
        request_expiry=venue.expiry_headers is not None,
        max_candles_per_call=max(_limit(client, "fetchOHLCV", "limit", DEFAULT_CANDLES), 2),
    )


def mentions_client_id(client: Any, prefix: str) -> bool:
    """Whether the exchange's own methods of that prefix handle a client order id.

    ccxt's `has` does not say; a method that reads one has its name among its constants.
    """
    return any(
        not CLIENT_ID_WORDS.isdisjoint(_constants(function.__code__))
        for kind in _own_classes(type(client))
        for name, function in vars(kind).items()
        if name.startswith((prefix, "order_request")) and hasattr(function, "__code__")
        if prefix == "create_order" or name.startswith(prefix)
    )


def features(client: Any, method: str) -> Iterator[Mapping[str, Any]]:
    """What ccxt tells of a method, for spot and for linear swaps, as far as the venue has them."""
    known = client.features or {}
    swap = known.get("swap") or {}
    for kind in (known.get("spot"), swap.get("linear") if isinstance(swap, Mapping) else None):
        if isinstance(kind, Mapping) and isinstance(kind.get(method), Mapping):
            yield kind[method]


def page_size(client: Any, method: str) -> int:
    """How many items a page of that method holds, 100 where ccxt does not tell."""
    return _limit(client, method, "limit", 100)


def cost_only_buys(client: Any) -> bool:
    """Whether a market buy on spot takes the cost to spend instead of the quantity to get."""
    spot = (client.features or {}).get("spot") or {}
    told = (spot.get("createOrder") or {}).get("marketBuyRequiresPrice")
    return bool(client.options.get("createMarketBuyOrderRequiresPrice", told))


def _limit(client: Any, method: str, name: str, default: int = 1) -> int:
    known = [int(entry[name]) for entry in features(client, method) if entry.get(name)]
    return min(known, default=default)


def _own_classes(kind: type) -> Iterable[type]:
    """The classes that describe this exchange, without ccxt's base classes and our own."""
    return (
        part
        for part in kind.__mro__
        if part.__module__.startswith(("ccxt.async_support.", "ccxt.pro.")) and ".base." not in part.__module__
    )


def _constants(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple):
            yield from (part for part in constant if isinstance(part, str))
        elif isinstance(constant, CodeType):
            yield from _constants(constant)
