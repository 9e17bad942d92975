"""Closing a position by hand: what rests to close it is canceled first, its stop stands until it is flat."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from kontor.domain.account import Position
from kontor.domain.identity import EXTERNAL
from kontor.domain.intent import OrderIntent
from kontor.domain.market import Market, MarketKind
from kontor.domain.order import OPEN, Order, OrderState, OrderType, Side, TimeInForce
from kontor.errors import ConfigError, OrderError
from kontor.execution.cancel import request_cancels
from kontor.execution.parts import Parts
from kontor.execution.submit import place, wait_for_outcome
from kontor.execution.view import load_markets

log = logging.getLogger(__name__)

# How long resting orders may take to be canceled, all in all; a second close goes on where this one gave up.
CANCEL_SECONDS = 15.0
# A strategy may put its target back while the position still stands.
_ROUNDS = 3
_PRIORITY = 10
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class CloseResult:
    """What closing a position came to: the order, if one was needed, and what is too small to trade.

    `canceled` are the client order ids of what rested to close the position and does not any more.
    """

    symbol: str
    order: Order | None
    residue: Decimal
    sentence: str
    canceled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Held:
    """Signed base currency; on spot, orders may have locked a part of it."""

    total: Decimal
    free: Decimal


async def close_position(parts: Parts, symbol: str, *, client_order_id: str, actor: str) -> CloseResult:
    """Sell what is held, or buy back what is short, by a reduce-only market order for the tradable part of it.

    Orders of ours that rest on the closing side are canceled and seen to be gone before, else they would close the
    position a second time; stops stand. The position is asked of the venue after that. A known client order id returns
    its stored order and sends nothing. OrderError when a cancel is not confirmed in time: nothing is sent then.
    """
    markets = await load_markets(parts)
    market = markets.get(symbol)
    if market is None:
        raise ConfigError(f"{symbol} is not a market of this venue; mend the symbol", where="close_position")
    known = await parts.store.orders.get(client_order_id)
    if known is not None:
        return CloseResult(symbol, known, _NOTHING, f"order {client_order_id} closes {symbol} already")
    held, canceled, others = await _clear(parts, market, actor)
    said = f"; canceled before: {', '.join(canceled)}" if canceled else ""
    closable = max(min(abs(held.free), abs(held.total) - others), _NOTHING)
    quantity, smallest = market.round_quantity(closable), max(market.min_quantity, market.quantity_step)
    if quantity < smallest and others:
        # All of it is in orders that are not ours to cancel: the gate denies this one and says so.
        quantity = market.round_quantity(abs(held.total))
    if quantity < smallest or quantity <= 0:
        return CloseResult(symbol, None, closable, _nothing(market, held, closable) + said, canceled)
    side = Side.SELL if held.total > 0 else Side.BUY
    intent = OrderIntent(symbol, side, OrderType.MARKET, quantity, reduce_only=True, priority=_PRIORITY)
    order = await place(parts, intent, client_order_id=client_order_id, actor=actor)
    residue = max(closable - quantity, _NOTHING)
    left = f"; {residue:f} {market.base} is below the venue's step and stays" if residue else ""
    left += _locked(market, held, closable) if quantity <= closable else ""
    return CloseResult(symbol, order, residue, f"{side} {quantity} of {symbol} to close it{left}{said}", canceled)


def in_the_way(orders: Iterable[Order], symbol: str, side: Side, *, held: Decimal, wanted: Decimal) -> list[Order]:
    """Orders by hand that rest on the closing side of what is held, when all on that side leave less than is wanted."""
    closing = [order for order in orders if (order.symbol, order.side) == (symbol, side) and not order.is_stop]
    if abs(held) - sum((order.remaining_quantity for order in closing), _NOTHING) >= wanted:
        return []
    return [order for order in closing if _rests(order) and order.strategy is None]


async def _clear(parts: Parts, market: Market, actor: str) -> tuple[_Held, tuple[str, ...], Decimal]:
    """Cancel what rests to close the position; what is held then, what was canceled, what other orders close of it."""
    until = parts.clock.monotonic() + CANCEL_SECONDS
    held, canceled = await _held(parts, market), list[str]()
    resting, others = await _closing(parts, market, held)
    for _ in range(_ROUNDS):
        if not resting:
            break
        canceled += await _cancel(parts, resting, actor, until)
        # One of them may have filled before it was canceled.
        held = await _held(parts, market)
        resting, others = await _closing(parts, market, held)
    return held, tuple(canceled), sum((order.remaining_quantity for order in others), _NOTHING)


async def _closing(parts: Parts, market: Market, held: _Held) -> tuple[Sequence[Order], Sequence[Order]]:
    """Open orders on the closing side: those that rest and are ours to cancel, and the others, stops left out.

    One that is not reduce-only would close the position too, or open the opposite one once that is closed. Market
    orders are under way already; orders that somebody else placed at the venue are canceled only by name.
    """
    if not held.total:
        return (), ()
    side = Side.SELL if held.total > 0 else Side.BUY
    found = await parts.store.orders.find(parts.account, states=OPEN, symbol=market.symbol, limit=10_000)
    closing = [order for order in found if order.side is side and not order.is_stop]
    resting = [order for order in closing if _rests(order) and order.strategy != EXTERNAL]
    return resting, [order for order in closing if order not in resting]


def _rests(order: Order) -> bool:
    return order.order_type is OrderType.LIMIT and order.time_in_force is TimeInForce.GTC


async def _cancel(parts: Parts, orders: Sequence[Order], actor: str, until: float) -> list[str]:
    """Cancel these and see them gone; returns which of them did not fill instead."""
    names = [order.client_order_id for order in orders]
    await request_cancels(parts, actor=actor, client_order_ids=names)
    seconds = max(until - parts.clock.monotonic(), 0.0)
    after = await asyncio.gather(*(wait_for_outcome(parts, name, seconds=seconds, states=()) for name in names))
    alive = [order.client_order_id for order in after if not order.is_finished]
    if alive:
        raise OrderError(
            f"{orders[0].symbol} is not closed: the cancel of {', '.join(alive)}, which would close it twice, is"
            f" asked for and not confirmed after {CANCEL_SECONDS:.0f} s; stops stand, close it again"
        )
    log.info("canceled before a close symbol=%s client_order_ids=%s actor=%s", orders[0].symbol, names, actor)
    return [order.client_order_id for order in after if order.state is OrderState.CANCELED]


async def _held(parts: Parts, market: Market) -> _Held:
    """What there is to close, from the venue itself; the snapshot is renewed with it."""
    if market.kind is MarketKind.SPOT:
        balance = await parts.exchange.fetch_balance()
        await parts.store.account.save_balance(parts.account, balance)
        currency = balance.currencies.get(market.base)
        return _Held(currency.total, currency.free) if currency else _Held(_NOTHING, _NOTHING)
    at = parts.clock.now()
    positions: Sequence[Position] = await parts.exchange.fetch_positions()
    await parts.store.account.save_positions(parts.account, positions, at)
    total = sum((each.signed_quantity for each in positions if each.symbol == market.symbol), _NOTHING)
    return _Held(total, total)


def _nothing(market: Market, held: _Held, closable: Decimal) -> str:
    if not held.total:
        return f"there is no position in {market.symbol}"
    smallest = max(market.min_quantity, market.quantity_step)
    too_small = f"{closable:f} {market.base} is below the venue's minimum of {smallest} and stays"
    return too_small + _locked(market, held, closable)


def _locked(market: Market, held: _Held, closable: Decimal) -> str:
    locked = abs(held.total) - closable
    return f"; {locked:f} {market.base} is in other orders, or locked at the venue, and stays" if locked else ""
