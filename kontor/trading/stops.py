"""Protective stops: every position of a strategy has one at the venue, of its size, where its rules want it.

It stands when the desk is dead. It is an order like any other: queued through the gate, sent once, followed, booked.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from kontor.domain.exits import ExitRules
from kontor.domain.identity import attached_stop_id, client_order_id
from kontor.domain.intent import OrderIntent
from kontor.domain.market import Market, MarketKind
from kontor.domain.order import Order, OrderReport, OrderState, OrderType, reopen
from kontor.domain.protection import Stop, brings_stop, is_crossed, plan, stop_price, waits_for_entry
from kontor.domain.strategy_position import StrategyPosition
from kontor.errors import KontorError, OrderNotFound
from kontor.execution.cancel import request_cancels
from kontor.execution.journal import Journal
from kontor.execution.parts import Parts
from kontor.execution.submit import place
from kontor.trading.books import Books, load_books
from kontor.trading.consent import lacks_stops
from kontor.trading.exits import WATCH, exit_rules, pause_after
from kontor.trading.second_look import certain_quantity

log = logging.getLogger(__name__)

ACTOR = "protective stop"
# Ahead of exits: it is what stands when everything else fails.
PRIORITY = 1
_CAME_TO_NOTHING = frozenset({OrderState.DENIED, OrderState.REJECTED, OrderState.EXPIRED})
_SLACK = timedelta(minutes=1)
# Entries may rest for long before they open the position; and how long their stop is asked for after the last fill.
_ENTRIES_BACK = timedelta(days=30)
_ATTACHED_PATIENCE = timedelta(minutes=2)


@dataclass(slots=True)
class StopReport:
    """What a look at the stops did: by "strategy symbol" or client order id."""

    protected: dict[str, str] = field(default_factory=dict)
    placed: list[str] = field(default_factory=list)
    canceled: list[str] = field(default_factory=list)
    # Positions without a stop at the venue, and why.
    unprotected: dict[str, str] = field(default_factory=dict)
    # Positions of which the venue holds less, or does not show all yet.
    capped: list[str] = field(default_factory=list)


async def keep_stops(parts: Parts) -> StopReport:
    """Make the stops at the venue what the positions want; trouble with one touches no other."""
    report = StopReport()
    books = await load_books(parts)
    watch = await parts.store.desk.attribute(parts.account, WATCH)
    known: Mapping[str, Any] = watch.value if watch and watch.value else {}
    rules = await exit_rules(parts)
    for key in sorted({*books.positions, *books.stops}):
        name, symbol = key
        # What has been filled but not booked would be protected twice, or not at all.
        if key in books.unsettled:
            continue
        try:
            await _keep(parts, books, books.position(*key), rules.get(name, ExitRules()), known, report)
        except KontorError as error:
            report.unprotected[f"{name} {symbol}"] = str(error)
            known_stops = ",".join(order.client_order_id for order in books.stops.get(key, ())) or "none"
            log.error(  # noqa: TRY400 - says it all
                "stop not kept client_order_ids=%s account=%s strategy=%s symbol=%s error=%s",
                known_stops,
                parts.account,
                name,
                symbol,
                error,
            )
    return report


async def _keep(
    parts: Parts,
    books: Books,
    position: StrategyPosition,
    rules: ExitRules,
    watch: Mapping[str, Any],
    report: StopReport,
) -> None:
    key = f"{position.strategy} {position.symbol}"
    market = books.view.markets.get(position.symbol)
    live = list(books.stops.get((position.strategy, position.symbol), ()))
    wanted = None
    if position.is_open:
        reason = f"{position.symbol} is not a market of this venue" if market is None else lacks_stops(parts, market)
        if reason is not None or market is None:
            report.unprotected[key] = reason or ""
            return
        if market.kind is MarketKind.SPOT:
            return
        live += await _attached(parts, position)
        quantity = await certain_quantity(parts, books, position, market, live)
        if quantity < market.round_quantity(abs(position.quantity)):
            report.capped.append(key)
        if quantity >= max(market.min_quantity, market.quantity_step):
            wanted = Stop(quantity, _trigger(parts, position, rules, watch.get(key), market))
    todo = plan(wanted, live, entry_price=position.entry_price)
    if todo.cancel:
        asked = await request_cancels(parts, actor=ACTOR, client_order_ids=todo.cancel)
        report.canceled += [order.client_order_id for order in asked]
    if todo.place is not None:
        await _place(parts, books, position, todo.place, key, report)
    elif wanted is not None:
        report.protected[key] = f"{wanted.quantity:f} at {wanted.trigger_price:f}"


async def _attached(parts: Parts, position: StrategyPosition) -> list[Order]:
    """Stops that the venue has placed for entries of this position, and that we hear of now."""
    if not parts.exchange.profile.attached_stops or position.opened_at is None:
        return []
    found: list[Order] = []
    since = position.opened_at - _ENTRIES_BACK
    journal = Journal(parts.store.orders, parts.clock, ACTOR)
    for entry in await parts.store.orders.find(
        parts.account, states={OrderState.FILLED}, symbol=position.symbol, since=since, limit=1000
    ):
        filled_at = entry.updated_at or entry.created_at
        if entry.strategy != position.strategy or not brings_stop(entry) or filled_at < position.opened_at:
            continue
        stop = await parts.store.orders.get(attached_stop_id(entry.client_order_id))
        # Placed with the last fill, or not at all.
        if stop is None or not waits_for_entry(stop) or parts.clock.now() - filled_at > _ATTACHED_PATIENCE:
            continue
        try:
            report = await parts.exchange.fetch_order(stop.symbol, client_order_id=stop.client_order_id, stop=True)
        except OrderNotFound:
            continue
        changed = await journal.change(stop, partial(_told, report=report), "the venue has placed it with its entry")
        found += [] if changed.is_finished else [changed]
    return found


def _told(stored: Order, *, report: OrderReport) -> Order:
    return reopen(stored, report)


def _trigger(
    parts: Parts, position: StrategyPosition, rules: ExitRules, watch: Mapping[str, Any] | None, market: Market
) -> Decimal:
    is_mine = watch is not None and watch.get("opened_by") == position.opened_by and "best" in watch
    # Until check-exits has seen a price, the entry is the best there was.
    best = Decimal(watch["best"]) if watch is not None and is_mine else position.entry_price
    percent = parts.config.protection.stop_percent
    return stop_price(position, rules, stop_percent=percent, best=best, market=market)


async def _place(
    parts: Parts, books: Books, position: StrategyPosition, stop: Stop, key: str, report: StopReport
) -> None:
    ticker = books.view.tickers.get(position.symbol)
    if is_crossed(position, stop.trigger_price, ticker.last if ticker else None):
        report.unprotected[key] = f"the price is beyond {stop.trigger_price:f} already: check-exits closes the position"
        return
    earlier = await _earlier(parts, position)
    refused = _refused(earlier)
    if refused and books.view.now - refused[-1].created_at < pause_after(refused):
        report.unprotected[key] = f"its stop came to nothing: {refused[-1].reason}"
        return
    prefix = await parts.store.desk.desk_prefix()
    name = client_order_id(prefix, "stop", position.strategy, position.symbol, position.opened_by, len(earlier))
    intent = OrderIntent(
        position.symbol,
        position.closing_side,
        OrderType.STOP,
        stop.quantity,
        reduce_only=True,
        trigger_price=stop.trigger_price,
        priority=PRIORITY,
        strategy=position.strategy,
    )
    order = await place(parts, intent, client_order_id=name, actor=ACTOR)
    if order.state is OrderState.DENIED:
        report.unprotected[key] = order.reason or "denied"
    else:
        report.placed.append(order.client_order_id)


def _refused(stops: Sequence[Order]) -> list[Order]:
    """Those that came to nothing since one stood at the venue; what is live or was replaced is no failure."""
    refused: list[Order] = []
    for stop in stops:
        if stop.state in _CAME_TO_NOTHING:
            refused.append(stop)
        elif stop.venue_order_id is not None:
            refused.clear()
    return refused


async def _earlier(parts: Parts, position: StrategyPosition) -> list[Order]:
    """The stops this position has had, oldest first; however many processes look, they count the same."""
    since = None if position.opened_at is None else position.opened_at - _SLACK
    prefix = await parts.store.desk.desk_prefix()
    found = await parts.store.orders.find(parts.account, symbol=position.symbol, since=since, limit=10_000)
    stops = {order.client_order_id: order for order in found if order.is_stop and order.strategy == position.strategy}
    mine: list[Order] = []
    while True:
        name = client_order_id(prefix, "stop", position.strategy, position.symbol, position.opened_by, len(mine))
        order = stops.get(name)
        if order is None:
            return mine
        mine.append(order)
