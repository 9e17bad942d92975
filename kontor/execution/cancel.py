"""Asking for cancels, and closing a position: durable wishes that the executor carries out."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal

from kontor.domain.account import Position
from kontor.domain.identity import EXTERNAL
from kontor.domain.intent import OrderIntent
from kontor.domain.ledger import Pair
from kontor.domain.market import Market, MarketKind
from kontor.domain.order import OPEN, Order, OrderType, Side
from kontor.errors import ConfigError, OrderError
from kontor.execution.parts import Parts
from kontor.execution.submit import place
from kontor.execution.view import load_markets

log = logging.getLogger(__name__)


async def request_cancels(
    parts: Parts,
    *,
    actor: str,
    client_order_ids: Collection[str] | None = None,
    symbol: str | None = None,
    with_stops: bool = False,
) -> Sequence[Order]:
    """Ask for cancels of the named orders, or of all of ours that are open, on `symbol` or everywhere.

    One not yet sent is CANCELED at once; a live one is when the venue says so: wait for it with `wait_for_outcome`.
    Orders that somebody else placed at the venue are canceled only by name, and protective stops only so or when they
    are asked for: a position would stand naked until they are placed anew. Asking twice changes nothing.
    """
    if client_order_ids is None:
        open_orders = await parts.store.orders.find(parts.account, states=OPEN, symbol=symbol, limit=10_000)
        client_order_ids = [
            order.client_order_id
            for order in open_orders
            if order.strategy != EXTERNAL and (with_stops or not order.is_stop)
        ]
    for name in client_order_ids:
        order = await parts.store.orders.get(name)
        if order is None or order.account != parts.account:
            raise OrderError(f"order {name} is not an order of account {parts.account}; check the id")
    asked = await parts.store.orders.request_cancel(list(client_order_ids), actor=actor, at=parts.clock.now())
    for order in asked:
        log.info("cancel requested client_order_id=%s state=%s actor=%s", order.client_order_id, order.state, actor)
    return asked


async def cancel_entries(parts: Parts, *, actor: str) -> Sequence[Order]:
    """Ask for cancels of everything of ours, resting or unsent, that could still take risk; those newly asked for.

    What can only make a position smaller stays: stops, reduce-only orders, sales on spot. Needs no answer of the venue.
    """
    found = await parts.store.orders.find(parts.account, states=OPEN, limit=10_000)
    names = [
        order.client_order_id
        for order in found
        if order.strategy != EXTERNAL and order.cancel_requested_at is None and not _only_closes(order)
    ]
    return await request_cancels(parts, actor=actor, client_order_ids=names) if names else ()


def _only_closes(order: Order) -> bool:
    # By the symbol's own form: nobody can be short on spot, also while the venue's markets are not to be had.
    is_spot = Pair.of(order.symbol).settle is None
    return order.is_stop or order.reduce_only or (is_spot and order.side is Side.SELL)


@dataclass(frozen=True, slots=True)
class CloseResult:
    """What closing a position came to: the order, if one was needed, and what is too small to trade."""

    symbol: str
    order: Order | None
    residue: Decimal
    sentence: str


async def close_position(parts: Parts, symbol: str, *, client_order_id: str, actor: str) -> CloseResult:
    """Sell what is held, or buy back what is short, by a reduce-only market order for the tradable part of it.

    The position is asked of the venue now. A known client order id returns its stored order and sends nothing.
    """
    markets = await load_markets(parts)
    market = markets.get(symbol)
    if market is None:
        raise ConfigError(f"{symbol} is not a market of this venue; mend the symbol", where="close_position")
    known = await parts.store.orders.get(client_order_id)
    if known is not None:
        return CloseResult(symbol, known, Decimal(0), f"order {client_order_id} closes {symbol} already")
    held = await _held(parts, market)
    quantity = market.round_quantity(abs(held))
    if quantity < max(market.min_quantity, market.quantity_step) or quantity <= 0:
        return CloseResult(symbol, None, abs(held), _nothing(market, held))
    side = Side.SELL if held > 0 else Side.BUY
    intent = OrderIntent(symbol, side, OrderType.MARKET, quantity, reduce_only=True, priority=10)
    order = await place(parts, intent, client_order_id=client_order_id, actor=actor)
    residue = abs(held) - quantity
    left = f"; {residue:f} {market.base} is below the venue's step and stays" if residue else ""
    return CloseResult(symbol, order, residue, f"{side} {quantity} of {symbol} to close it{left}")


async def _held(parts: Parts, market: Market) -> Decimal:
    """What there is to close, signed, from the venue itself; the snapshot is renewed with it."""
    if market.kind is MarketKind.SPOT:
        balance = await parts.exchange.fetch_balance()
        await parts.store.account.save_balance(parts.account, balance)
        currency = balance.currencies.get(market.base)
        return currency.free if currency else Decimal(0)
    at = parts.clock.now()
    positions: Sequence[Position] = await parts.exchange.fetch_positions()
    await parts.store.account.save_positions(parts.account, positions, at)
    return sum((position.signed_quantity for position in positions if position.symbol == market.symbol), Decimal(0))


def _nothing(market: Market, held: Decimal) -> str:
    if not held:
        return f"there is no position in {market.symbol}"
    smallest = max(market.min_quantity, market.quantity_step)
    return f"{abs(held):f} {market.base} is below the venue's minimum of {smallest} and stays"
