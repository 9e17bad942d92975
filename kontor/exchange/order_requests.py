"""Orders on their way out: refused here when the venue could not take them as they are, never silently changed."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kontor.domain.market import Market, MarketKind
from kontor.domain.order import Order, OrderType, Side, TimeInForce
from kontor.errors import InvalidOrder, NotSupported
from kontor.exchange.markets import to_contracts
from kontor.exchange.stops import attached_stop_params


def check_order(order: Order, market: Market) -> None:
    """Raise InvalidOrder when the venue's steps and limits, or common sense, forbid the order."""
    problem = _shape_problem(order, market) or _quantity_problem(order, market) or _price_problem(order, market)
    if problem:
        raise InvalidOrder(f"order {order.client_order_id} on {order.symbol}: {problem}")


def order_request(order: Order, market: Market, *, cost_only_buys: bool) -> dict[str, Any]:
    """The order as ccxt's create_orders takes it; `cost_only_buys`: this venue's market buys name a cost instead."""
    if cost_only_buys and _is_spot_market_buy(order, market):
        raise NotSupported(
            f"order {order.client_order_id}: this exchange takes market buys on spot by cost only, so the quantity "
            f"could not be kept; send a limit order with time in force IOC"
        )
    params: dict[str, Any] = {"clientOrderId": order.client_order_id}
    if order.post_only:
        params["postOnly"] = True
    if order.reduce_only:
        params["reduceOnly"] = True
    if order.time_in_force is not TimeInForce.GTC and order.order_type is OrderType.LIMIT:
        params["timeInForce"] = order.time_in_force.value
    if order.trigger_price is not None:
        params |= attached_stop_params(order)
    return {
        "symbol": order.symbol,
        "type": order.order_type.value,
        "side": order.side.value,
        "amount": float(to_contracts(order.quantity, market)),
        "price": None if order.price is None else float(order.price),
        "params": params,
    }


def expires_at(order: Order, now: datetime, patience: timedelta) -> datetime:
    """When the venue shall drop the request: once nobody waits for its answer any more, or its price is stale."""
    given_up = now + patience
    return given_up if order.good_until is None else min(order.good_until, given_up)


def _shape_problem(order: Order, market: Market) -> str | None:
    is_market, is_limit = order.order_type is OrderType.MARKET, order.order_type is OrderType.LIMIT
    checks: Mapping[str, bool] = {
        "the market is not open for trading": not market.active,
        "a limit order needs a price": is_limit and order.price is None,
        "a market order takes no price": not is_limit and order.price is not None,
        "a stop needs a trigger price": order.is_stop and not order.trigger_price,
        "a stop must be reduce only": order.is_stop and not order.reduce_only,
        "post only means a resting limit order": order.post_only
        and (not is_limit or order.time_in_force is not TimeInForce.GTC),
        "a market order cannot be fill-or-kill": is_market and order.time_in_force is TimeInForce.FOK,
        "reduce only exists on swaps, this is spot": order.reduce_only and market.kind is MarketKind.SPOT,
    }
    return next((sentence for sentence, is_wrong in checks.items() if is_wrong), None)


def _quantity_problem(order: Order, market: Market) -> str | None:
    quantity = order.quantity
    if quantity <= 0:
        return f"quantity {quantity} is not above zero"
    if quantity < market.min_quantity:
        return f"quantity {quantity} is below the venue's minimum of {market.min_quantity} {market.base}"
    if market.quantity_step > 0 and market.round_quantity(quantity) != quantity:
        return f"quantity {quantity} is not a multiple of the venue's step of {market.quantity_step} {market.base}"
    is_limit = order.order_type is OrderType.LIMIT
    if is_limit and market.max_quantity is not None and quantity > market.max_quantity:
        return f"quantity {quantity} is above the venue's maximum of {market.max_quantity} {market.base}"
    return None


def _price_problem(order: Order, market: Market) -> str | None:
    price: Decimal | None = order.price
    if price is None:
        return None
    if price <= 0:
        return f"price {price} is not above zero"
    if market.price_step > 0 and market.round_price(price) != price:
        return f"price {price} is not a multiple of the venue's step of {market.price_step} {market.quote}"
    if market.min_cost is not None and price * order.quantity < market.min_cost:
        return f"cost {price * order.quantity} is below the venue's minimum of {market.min_cost} {market.quote}"
    return None


def _is_spot_market_buy(order: Order, market: Market) -> bool:
    return order.order_type is OrderType.MARKET and order.side is Side.BUY and market.kind is MarketKind.SPOT
