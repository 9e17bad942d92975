"""The pre-trade gate: which order intents may enter the queue. Pure; every denial names its rule, limit and figure."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from kontor.domain.exposure import Book, exposure_key, only_reduces
from kontor.domain.intent import Limits, OrderIntent, RiskView
from kontor.domain.market import Market
from kontor.domain.order import Order, OrderType, Side
from kontor.domain.order_rules import (
    check_allowed,
    check_candles,
    check_collar,
    check_shape,
    check_stop_price,
    check_venue_sizes,
    check_watched,
    known_market,
    rounded,
    trade_price,
)
from kontor.domain.portfolio import PortfolioLimits, breaches
from kontor.errors import OrderDenied

__all__ = ["Limits", "OrderIntent", "RiskView", "admit", "order_value"]


def admit(intent: OrderIntent, view: RiskView) -> OrderIntent:
    """The intent in the venue's own steps, if every rule lets it pass; raises OrderDenied otherwise."""
    market = known_market(intent, view)
    check_shape(intent, view)
    check_allowed(intent, view, market)
    intent = rounded(intent, market)
    price = trade_price(intent, view, market)
    check_venue_sizes(intent, market, price)
    check_collar(intent, view, price)
    if intent.reduce_only:
        _check_reduces(intent, view, market)
        return intent
    check_candles(intent, view)
    check_watched(view)
    if price is None:
        raise OrderDenied("stale_ticker", f"{market.symbol} has no last price")
    check_stop_price(intent, price)
    for rule in _rules_for(intent, market):
        rule(intent, view, market, price)
    return intent


def order_value(quantity: Decimal, side: Side, price: Decimal | None, last: Decimal) -> Decimal:
    """What an order may cost at most: a buy at its limit, a sell at its limit or the better last price."""
    if price is None:
        return quantity * last
    return quantity * (price if side is Side.BUY else max(price, last))


def _check_order_value(intent: OrderIntent, view: RiskView, market: Market, price: Decimal) -> None:
    limit = view.limits.max_order_value
    if limit is None:
        return
    value = order_value(intent.quantity, intent.side, intent.price, price)
    if value > limit:
        raise OrderDenied(
            "max_order_value",
            f"an order of {value:f} for {market.symbol} is above max_order_value {limit}",
            limit=limit,
            figure=value,
        )


def _check_open_orders(intent: OrderIntent, view: RiskView, market: Market, price: Decimal) -> None:
    del intent, market, price
    limit = view.limits.max_open_orders
    # Stops only protect: they must not take the place of an order.
    count = sum(not order.is_stop for order in view.orders)
    if limit is not None and count >= limit:
        raise OrderDenied(
            "max_open_orders",
            f"{count} orders are open or pending; max_open_orders is {limit}",
            limit=Decimal(limit),
            figure=Decimal(count),
        )


def _check_order_rate(intent: OrderIntent, view: RiskView, market: Market, price: Decimal) -> None:
    del intent, market, price
    limit = view.limits.max_orders_per_minute
    if limit is not None and view.recent_orders >= limit:
        raise OrderDenied(
            "max_orders_per_minute",
            f"{view.recent_orders} orders were wanted within a minute; max_orders_per_minute is {limit}",
            limit=Decimal(limit),
            figure=Decimal(view.recent_orders),
        )


def _book(view: RiskView) -> Book:
    return Book.of(view.markets, view.holdings, view.orders)


def _check_position_value(intent: OrderIntent, view: RiskView, market: Market, price: Decimal) -> None:
    limit = view.limits.position_values.get(market.symbol, view.limits.max_position_value)
    if limit is None:
        return
    key = exposure_key(market)
    value = _book(view).plus(key, intent.side, intent.quantity).side_quantity(key, intent.side) * price
    if value > limit:
        raise OrderDenied(
            "max_position_value",
            f"{market.symbol} could grow to a position of {value:f}, above its limit of {limit} (max_position_value)",
            limit=limit,
            figure=value,
        )


def _check_exposure(intent: OrderIntent, view: RiskView, market: Market, price: Decimal) -> None:
    limit = view.limits.max_exposure
    if limit is None:
        return
    key = exposure_key(market)
    before = _book(view)
    after = before.plus(key, intent.side, intent.quantity)
    if after.quantity(key) <= before.quantity(key):
        return
    value = sum((quantity * _mark(view, name, key, price) for name, quantity in after.quantities()), Decimal(0))
    if value > limit:
        raise OrderDenied(
            "max_exposure",
            f"all positions together could grow to {value:f}, above max_exposure {limit}",
            limit=limit,
            figure=value,
        )


def _mark(view: RiskView, name: str, key: str, price: Decimal) -> Decimal:
    if name == key:
        return price
    if name in view.marks:
        return view.marks[name]
    raise OrderDenied(
        "unpriced", f"{name} is held or ordered but has no price, so max_exposure cannot be held; refresh the tickers"
    )


def _check_losses(intent: OrderIntent, view: RiskView, market: Market, price: Decimal) -> None:
    """A limit on losses is broken already; monitor-risk halts at its next look, and nothing slips in until then."""
    del intent, market, price
    if view.equity is None or view.loss_marks is None:
        return
    limits = PortfolioLimits(view.limits.max_drawdown_percent, view.limits.max_daily_loss)
    for breach in breaches(limits, view.loss_marks, view.equity, {}):
        raise OrderDenied(breach.rule, breach.sentence, limit=breach.limit, figure=breach.figure)


def _check_free_balance(intent: OrderIntent, view: RiskView, market: Market, price: Decimal) -> None:
    limit = view.limits.min_free_balance
    if limit is None:
        return
    if view.balance is None:
        raise OrderDenied("min_free_balance", "the balance is not known yet; wait for update-balance", limit=limit)
    value = order_value(intent.quantity, intent.side, intent.price, price)
    free = view.balance.free - view.spent - value / view.leverage.get(market.symbol, Decimal(1))
    free -= sum((_reserved(order, view) for order in view.orders), Decimal(0))
    if free < limit:
        raise OrderDenied(
            "min_free_balance",
            f"the order would leave {free:f} {view.balance.currency} free, below min_free_balance {limit}",
            limit=limit,
            figure=free,
        )


def _reserved(order: Order, view: RiskView) -> Decimal:
    """What an order will take that the balance does not show yet: those the venue had not accepted when it was read."""
    market = view.markets.get(order.symbol)
    shown = view.balance is not None and order.submitted_at is not None and order.submitted_at < view.balance.at
    if shown and order.unknown_since is None:
        return Decimal(0)
    if market is None or only_reduces(market, order.side, reduce_only=order.reduce_only):
        return Decimal(0)
    last = view.marks.get(exposure_key(market), order.price or Decimal(0))
    value = order_value(order.remaining_quantity, order.side, order.price, last)
    return value / view.leverage.get(order.symbol, Decimal(1))


def _check_reduces(intent: OrderIntent, view: RiskView, market: Market) -> None:
    """A reduce-only order may close what is held and what no other order on that side closes, and never more.

    A stop and what rests beside it stand for the same quantity: whichever comes first, the venue cuts the other.
    """
    held = view.holdings.get(exposure_key(market), Decimal(0))
    under_way = sum(
        (
            order.remaining_quantity
            for order in view.orders
            if (order.symbol, order.side) == (market.symbol, intent.side)
            and not (order.is_stop or intent.order_type is OrderType.STOP)
        ),
        Decimal(0),
    )
    closable = max((held if intent.side is Side.SELL else -held) - under_way, Decimal(0))
    if intent.quantity > closable:
        raise OrderDenied(
            "reduce_only",
            f"a reduce-only {intent.side} of {intent.quantity} {market.symbol} is above the {closable:f} left to close"
            f" ({held:f} held, {under_way:f} in open {intent.side} orders)",
            limit=closable,
            figure=intent.quantity,
        )


def _rules_for(intent: OrderIntent, market: Market) -> "Sequence[_Rule]":
    """The limits that this order could break; a sale on spot only closes."""
    return _CLOSING_RULES if only_reduces(market, intent.side, reduce_only=False) else _RISK_RULES


_Rule = Callable[[OrderIntent, RiskView, Market, Decimal], None]
_CLOSING_RULES: tuple[_Rule, ...] = (_check_order_value, _check_open_orders)
_RISK_RULES: tuple[_Rule, ...] = (
    _check_losses,
    *_CLOSING_RULES,
    _check_order_rate,
    _check_position_value,
    _check_exposure,
    _check_free_balance,
)
