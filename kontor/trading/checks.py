"""Decisions looked at before anything is done: is it one, does it make sense, does it keep its strategy's share."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import orjson

from kontor.config import StrategySettings
from kontor.domain.exposure import only_reduces
from kontor.domain.intent import OrderIntent
from kontor.domain.market import Market
from kontor.domain.order import Order, OrderType, Side, TimeInForce
from kontor.domain.strategy_position import closing_of
from kontor.errors import StrategyFailed
from kontor.strategies.protocol import Decision, StrategyOrder
from kontor.strategies.view import MarketView
from kontor.trading.books import Books

MAX_STATE_BYTES = 256 * 1024
MAX_LEG = 100
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An order of a strategy that was not even queued, and why."""

    symbol: str
    leg: str
    reason: str


def checked(decision: object, settings: StrategySettings, view: MarketView) -> Decision:
    """The decision; raises StrategyFailed, and nothing of it is done, when it is none or asks for too much."""
    if not isinstance(decision, Decision):
        raise StrategyFailed(f"decide() must return a Decision, not {type(decision).__name__}")
    if not isinstance(decision.orders, tuple) or not isinstance(decision.cancels, tuple):
        raise StrategyFailed("a decision's orders and cancels are tuples; Decision.of makes them")
    count = len(decision.orders) + len(decision.cancels)
    if count > settings.max_orders_per_run:
        raise StrategyFailed(
            f"wants {count} orders and cancels at once, above max_orders_per_run {settings.max_orders_per_run};"
            " none of them was placed"
        )
    for order in decision.orders:
        _check_order(order, view)
    legs = [(order.intent.symbol, order.leg) for order in decision.orders]
    if len(set(legs)) < len(legs):
        raise StrategyFailed("two orders of one symbol have the same leg; give each its own")
    own = {order.client_order_id for market in view.values() for order in market.orders}
    for name in decision.cancels:
        if name not in own:
            raise StrategyFailed(f"cancels {name!r}, which is not an open order of its own")
    if decision.state is not None:
        _check_state(decision.state)
    return decision


def _check_order(order: object, view: MarketView) -> None:
    if not isinstance(order, StrategyOrder) or not isinstance(order.intent, OrderIntent):
        raise StrategyFailed(f"{order!r:.200} is not a StrategyOrder")
    intent = order.intent
    if not isinstance(order.leg, str) or not 0 < len(order.leg) <= MAX_LEG:
        raise StrategyFailed(f"a leg is a text of 1 to {MAX_LEG} characters, not {order.leg!r:.200}")
    if intent.symbol not in view:
        raise StrategyFailed(f"wants to trade {intent.symbol!r:.100}, which is not in its view")
    kinds = (
        isinstance(intent.side, Side),
        isinstance(intent.order_type, OrderType),
        isinstance(intent.time_in_force, TimeInForce),
        isinstance(intent.post_only, bool),
        isinstance(intent.reduce_only, bool),
    )
    if not all(kinds):
        raise StrategyFailed(f"leg {order.leg!r} has a field of the wrong type: {intent!r:.300}")
    for figure in (intent.quantity, *(() if intent.price is None else (intent.price,))):
        if not isinstance(figure, Decimal) or not figure.is_finite() or figure <= 0:
            raise StrategyFailed(f"leg {order.leg!r} of {intent.symbol}: {figure!r} is not a Decimal above 0")


def _check_state(state: object) -> None:
    try:
        size = len(orjson.dumps(state))
    except TypeError as error:
        raise StrategyFailed(f"its state is not JSON ({error})") from None
    if not isinstance(state, dict) or size > MAX_STATE_BYTES:
        raise StrategyFailed(f"its state must be an object of at most {MAX_STATE_BYTES} bytes; it has {size}")


class Share:
    """What is left of a strategy's capital share, order by order."""

    def __init__(self, view: MarketView, books: Books, max_positions: int | None) -> None:
        self._view, self._books, self._most = view, books, max_positions
        self._held = {
            symbol for (name, symbol), each in books.positions.items() if name == view.strategy and each.is_open
        }
        mine = books.orders.get(view.strategy, ())
        self._used = _worth(view, books, mine)
        self._pending = {order.symbol for order in mine if not _closes(books, order)}
        self._opened = 0

    def refusal(self, intent: OrderIntent) -> str | None:
        """Why an order that opens or grows a position may not be queued; an admitted one is counted."""
        market = self._view[intent.symbol]
        if only_reduces(market.market, intent.side, reduce_only=intent.reduce_only):
            return None
        worth = intent.quantity * (intent.price or market.price)
        closes = _closing_part(market.position.quantity, intent)
        worth = worth * (intent.quantity - closes) / intent.quantity
        if self._used + worth > self._view.max_value:
            return (
                f"capital_share: with it {self._view.strategy} would have {self._used + worth:.2f} in positions and"
                f" entries, above its {self._view.max_value:.2f}"
            )
        is_new = intent.symbol not in self._held | self._pending
        if is_new and self._most is not None and self._books.units.open_units + self._opened >= self._most:
            return f"max_positions: {self._most} units are open already"
        self._used += worth
        if is_new:
            self._opened += 1
            self._pending.add(intent.symbol)
        return None


def _closing_part(held: Decimal, intent: OrderIntent) -> Decimal:
    """How much of an order only closes what its strategy holds the other way."""
    against = held < 0 if intent.side is Side.BUY else held > 0
    return min(abs(held), intent.quantity) if against else _NOTHING


def _closes(books: Books, order: Order) -> bool:
    return only_reduces(books.view.markets.get(order.symbol), order.side, reduce_only=order.reduce_only)


def _worth(view: MarketView, books: Books, orders: Iterable[Order]) -> Decimal:
    """What a strategy's positions and pending entries are worth now."""
    prices = {symbol: ticker.last for symbol, ticker in books.view.tickers.items() if ticker.last is not None}
    held = sum(
        (
            abs(each.quantity) * prices.get(symbol, each.entry_price)
            for (name, symbol), each in books.positions.items()
            if name == view.strategy
        ),
        _NOTHING,
    )
    pending = (
        order.remaining_quantity * (order.price or prices.get(order.symbol, _NOTHING))
        for order in orders
        if not _closes(books, order)
    )
    return held + sum(pending, _NOTHING)


class Closings:
    """A strategy's closing orders as the venue can take them, order by order: never more than what is its own.

    On spot every sale is one: what else is there belongs to people or to other strategies.
    """

    def __init__(self, books: Books, strategy: str) -> None:
        self._books, self._strategy = books, strategy
        self._planned: dict[tuple[str, Side], Decimal] = {}

    def parts(self, order: StrategyOrder, market: Market, names: Collection[str]) -> list[StrategyOrder] | str:
        """What the venue holds on that side by reduce-only, and what another strategy holds against us by a plain
        order, so that each keeps what is its own; or why there is nothing to close.

        `names` are the order's own, which it may already have in the queue.
        """
        intent = order.intent
        if not only_reduces(market, intent.side, reduce_only=intent.reduce_only):
            return [order]
        intent = replace(intent, reduce_only=True)
        position = self._books.position(self._strategy, intent.symbol)
        if not position.is_open or intent.side is not position.closing_side:
            return f"own_position: {self._strategy} holds nothing of {intent.symbol} that a {intent.side} would close"
        own = abs(position.quantity) - self._under_way(intent, names)
        closing = closing_of(position, self._books.positions, self._books.held(market))
        reducing = min(intent.quantity, closing.reduce_only, own)
        plain = min(intent.quantity - reducing, closing.plain, own - reducing)
        quantities: Mapping[str, tuple[Decimal, dict[str, Any]]] = {
            order.leg: (market.round_quantity(reducing), {}),
            f"{order.leg}-net": (market.round_quantity(plain), {"reduce_only": False}),
        }
        smallest = max(market.min_quantity, market.quantity_step)
        found = [
            StrategyOrder(leg, replace(intent, quantity=quantity, **changes))
            for leg, (quantity, changes) in quantities.items()
            if quantity >= smallest
        ]
        if not found:
            return f"own_position: of its {abs(position.quantity):f} of {intent.symbol} nothing is left to close"
        key = intent.symbol, intent.side
        self._planned[key] = self._planned.get(key, _NOTHING) + sum((each.intent.quantity for each in found), _NOTHING)
        return found

    def _under_way(self, intent: OrderIntent, names: Collection[str]) -> Decimal:
        """What closes already: its other orders on that side, and those of this decision."""
        resting = (
            order.remaining_quantity
            for order in self._books.orders_of(self._strategy, intent.symbol)
            if order.side is intent.side and order.client_order_id not in names
        )
        return sum(resting, self._planned.get((intent.symbol, intent.side), _NOTHING))
