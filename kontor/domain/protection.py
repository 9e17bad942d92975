"""Where a position's protective stop belongs, and what has to be done so that exactly that stop stands. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from kontor.domain.exits import ExitRules
from kontor.domain.identity import attached_stop_id
from kontor.domain.market import Market
from kontor.domain.order import CANCELABLE, Order, OrderState, OrderType, Side
from kontor.domain.strategy_position import StrategyPosition

# How the reason of a stop begins that its entry brings along.
ATTACHED = "attached"
# A stop is moved when it would come this much nearer, as a part of its distance from the entry: not for every tick.
WORTH_MOVING = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Stop:
    """What a stop should be: base currency, and the price that triggers it."""

    quantity: Decimal
    trigger_price: Decimal


@dataclass(frozen=True, slots=True)
class StopPlan:
    """A stop to place, if any, and stops to cancel; where a new one replaces others, they go once it stands."""

    place: Stop | None = None
    cancel: tuple[str, ...] = ()


def stop_price(
    position: StrategyPosition, rules: ExitRules, *, stop_percent: Decimal, best: Decimal, market: Market
) -> Decimal:
    """The trigger: the strategy's stop loss, or else the desk's; a trailing stop may only bring it nearer."""
    sign = 1 if position.quantity > 0 else -1
    percent = rules.stop_loss_percent or stop_percent
    price = position.entry_price * (1 - sign * percent / 100)
    if rules.trailing_percent is not None:
        trailing = best * (1 - sign * rules.trailing_percent / 100)
        price = max(price, trailing) if sign > 0 else min(price, trailing)
    return max(market.round_price(price), market.price_step)


def attached_stop(entry: Order) -> Order:
    """The stop that an entry brings along, as we keep it until the venue has placed it: no order of its own yet."""
    return Order(
        client_order_id=attached_stop_id(entry.client_order_id),
        account=entry.account,
        symbol=entry.symbol,
        side=Side.SELL if entry.side is Side.BUY else Side.BUY,
        order_type=OrderType.STOP,
        quantity=entry.quantity,
        created_at=entry.created_at,
        reduce_only=True,
        strategy=entry.strategy,
        actor=entry.actor,
        state=OrderState.CANCELED,
        reason=f"{ATTACHED} to {entry.client_order_id}: the venue places it once that is filled",
        updated_at=entry.created_at,
        trigger_price=entry.trigger_price,
    )


def brings_stop(order: Order) -> bool:
    """Whether an order is an entry with a stop attached."""
    return order.trigger_price is not None and not order.is_stop


def waits_for_entry(stop: Order) -> bool:
    """An attached stop of which the venue has said nothing yet."""
    return (
        stop.venue_order_id is None and stop.state is OrderState.CANCELED and (stop.reason or "").startswith(ATTACHED)
    )


def is_crossed(position: StrategyPosition, trigger: Decimal, price: Decimal | None) -> bool:
    """The price is beyond the trigger already: the venue would refuse it, and the position is to be closed now."""
    if price is None:
        return False
    return price <= trigger if position.quantity > 0 else price >= trigger


def plan(wanted: Stop | None, live: Sequence[Order], *, entry_price: Decimal) -> StopPlan:
    """What makes the live stops of one position (open ones, oldest first) the one that is wanted.

    The old stop stands until the new one does: a moment with two is harmless, both only reduce; one with none is not.
    """
    standing = [order for order in live if order.cancel_requested_at is None]
    if wanted is None:
        return StopPlan(cancel=tuple(order.client_order_id for order in standing))
    fitting = [order for order in standing if _fits(order, wanted, entry_price)]
    if not fitting:
        return StopPlan(place=wanted)
    # The newest was placed last because it fits best.
    kept = fitting[-1]
    if kept.state not in CANCELABLE:
        return StopPlan()
    return StopPlan(cancel=tuple(order.client_order_id for order in standing if order is not kept))


def _fits(order: Order, wanted: Stop, entry_price: Decimal) -> bool:
    if order.remaining_quantity != wanted.quantity or order.trigger_price is None:
        return False
    if order.trigger_price == wanted.trigger_price:
        return True
    off = abs(order.trigger_price - wanted.trigger_price)
    return off < WORTH_MOVING * abs(entry_price - wanted.trigger_price)
