"""What a venue can do, read off its ccxt class, and what the desk would like it to do."""

from collections.abc import Iterable, Iterator, Mapping
from types import CodeType
from typing import Any

from kontor.domain.market import MarketKind
from kontor.domain.venue_profile import VenueProfile
from kontor.exchange.venue_switches import SWITCHES
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
    "cancelAllOrdersAfter": "there is no dead man's switch that this desk can keep: orders stay when it dies",
    "setLeverage": "leverage is set on the venue's own page",
    "fetchTime": "this machine's clock is not checked against the venue's",
}
CLIENT_ID_WORDS = frozenset({"clientOrderId", "clOrdId", "client_order_id", "cl_ord_id"})
DEFAULT_CANDLES = 100


def venue_profile(client: Any, venue: Venue) -> VenueProfile:
    """What this client's venue can do; unknown limits are taken low."""
    has = {name: bool(value) for name, value in client.has.items()}
    # That ccxt has a request for it does not say that it can be disarmed, nor which orders it takes.
    switch = SWITCHES.get(client.id)
    has["cancelAllOrdersAfter"] = switch is not None
    return VenueProfile(
        exchange_id=client.id,
        capabilities=has,
        absence_grace=venue.absence_grace,
        lookup_by_client_order_id=has.get("fetchOrder", False) and mentions_client_id(client, "fetch_order"),
        client_order_id_on_create=mentions_client_id(client, "create_order"),
        batch_limit=max(batch_limits(client).values()),
        cancel_all_after=switch is not None,
        cancel_all_after_kinds=switch.kinds if switch is not None else frozenset(),
        cancel_all_after_spares_stops=venue.stop_orders,
        stop_orders=venue.stop_orders,
        attached_stops=venue.attached_stops,
        request_expiry=venue.expiry_headers is not None,
        max_candles_per_call=max(_limit(client, "fetchOHLCV", DEFAULT_CANDLES), 2),
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


def batch_limits(client: Any) -> Mapping[MarketKind, int]:
    """How many orders one request may hold, by kind of market; 1 where there are no batches or nobody tells."""
    can = client.has.get("createOrders")
    return {kind: int(_feature(client, kind, "createOrders").get("max") or 1) if can else 1 for kind in MarketKind}


def page_size(client: Any, method: str) -> int:
    """How many items a page of that method holds, 100 where ccxt does not tell."""
    return _limit(client, method, 100)


def cost_only_buys(client: Any) -> bool:
    """Whether a market buy on spot takes the cost to spend instead of the quantity to get."""
    told = _feature(client, MarketKind.SPOT, "createOrder").get("marketBuyRequiresPrice")
    return bool(client.options.get("createMarketBuyOrderRequiresPrice", told))


def _limit(client: Any, method: str, default: int) -> int:
    """The smaller of a method's page sizes on spot and on linear swaps."""
    told = (_feature(client, kind, method).get("limit") for kind in MarketKind)
    return min((int(limit) for limit in told if limit), default=default)


def _feature(client: Any, kind: MarketKind, method: str) -> Mapping[str, Any]:
    """What ccxt tells of a method on one kind of market (swaps: linear ones); empty when it tells nothing."""
    found = (client.features or {}).get(kind.value)
    if kind is MarketKind.SWAP and isinstance(found, Mapping):
        found = found.get("linear")
    feature = found.get(method) if isinstance(found, Mapping) else None
    return feature if isinstance(feature, Mapping) else {}


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
