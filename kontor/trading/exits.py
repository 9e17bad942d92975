"""Watching the exits: positions of strategies that their rules close, whatever the strategy itself does."""

import asyncio
import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kontor.domain.exits import ExitRules, better, exit_reason
from kontor.domain.identity import client_order_id
from kontor.domain.intent import OrderIntent
from kontor.domain.market import Market, MarketKind
from kontor.domain.order import CANCELABLE, Order, OrderState, OrderType
from kontor.domain.protection import is_crossed
from kontor.domain.strategy_position import StrategyPosition, closing_of
from kontor.errors import KontorError
from kontor.execution.cancel import request_cancels
from kontor.execution.closing import in_the_way
from kontor.execution.parts import Parts
from kontor.execution.reconcile import own_strays
from kontor.execution.submit import place_all, wait_for_outcome
from kontor.resilience.deadline import deadline
from kontor.trading.books import Books, load_books
from kontor.trading.exit_rules import exit_rules_of
from kontor.trading.orphans import orphans
from kontor.trading.positions import PATIENCE

log = logging.getLogger(__name__)

WATCH = "exit_watch"
# Resting orders of the position are canceled before it is closed: together they would close it twice.
CANCEL_SECONDS = 4.0
PRIORITY = 5
# How long a stop that was reached may take to close the position before the desk does it.
STOP_GRACE = timedelta(seconds=10)
_NOTHING = Decimal(0)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=5)
_MOST_TRIES = 200
_STRAY_SECONDS = 2.0
_DECISION = ("reason", "decided_at")


@dataclass(slots=True)
class ExitReport:
    """What a look at the exits found: positions watched, those being closed with the reason, and what went wrong."""

    watched: int = 0
    closing: dict[str, str] = field(default_factory=dict)
    orders: list[str] = field(default_factory=list)
    residue: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    # Positions that no strategy of kontor.yaml manages any more, and what ends them.
    orphans: dict[str, str] = field(default_factory=dict)


async def check_exits(parts: Parts) -> ExitReport:
    """Close every position of a strategy that one of its rules ends; an error with one touches no other.

    Works on after a restart: the best price is in the store, and an exit's client order id derives from the fill that
    opened the position, so that a position is closed once. Rules of a removed strategy stay until it is flat.
    """
    known = await parts.store.desk.attribute(parts.account, WATCH)
    watch: Mapping[str, Any] = known.value if known and known.value else {}
    await _own_strays(parts)
    books = await load_books(parts)
    rules = await exit_rules(parts)
    report = ExitReport(orphans=orphans(parts.config, books.positions, rules, books.view.markets))
    seen, todo = _look_at_all(parts, books, rules, watch, report)
    # Known before anything is waited for: what was decided stays decided though this look ends early.
    await _save(parts, watch, seen)
    saved = dict(seen)
    holds = await asyncio.gather(*(_end(parts, books, each, report) for each in todo))
    for decided in (each for each, is_held in zip(todo, holds, strict=True) if not is_held):
        # What somebody buys later must not be closed by what was decided before.
        seen[decided.key] = {name: value for name, value in decided.watch.items() if name not in _DECISION}
    await _save(parts, saved, seen)
    return report


def _look_at_all(
    parts: Parts, books: Books, rules: Mapping[str, ExitRules], watch: Mapping[str, Any], report: ExitReport
) -> tuple[dict[str, dict[str, str]], "list[_Decided]"]:
    """What is kept of each open position, and those that are to be closed."""
    seen, todo = dict[str, dict[str, str]](), list[_Decided]()
    for (name, symbol), position in books.positions.items():
        if not position.is_open:
            continue
        key = f"{name} {symbol}"
        report.watched += 1
        with _contained(parts, key, report):
            decided = _look(parts, books, position, rules.get(name, ExitRules()), watch.get(key))
            seen[key] = decided.watch
            if decided.reason is not None:
                report.closing[key] = decided.reason
                todo.append(decided)
        if key in report.errors and key in watch:
            seen[key] = watch[key]
    return seen, todo


async def _save(parts: Parts, before: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
    if seen != before:
        await parts.store.desk.set_attribute(parts.account, WATCH, dict(seen), parts.clock.now())


@contextmanager
def _contained(parts: Parts, key: str, report: ExitReport) -> Generator[None]:
    """What goes wrong with one position is told, and touches no other."""
    try:
        yield
    except KontorError as error:
        report.errors[key] = str(error)
        log.error("exit not checked account=%s position=%s error=%s", parts.account, key, error)  # noqa: TRY400
    except Exception as error:
        report.errors[key] = f"{type(error).__name__}: {error}"
        log.exception("exit not checked account=%s position=%s", parts.account, key)


async def _own_strays(parts: Parts) -> None:
    """While it is not known whose a fill is, no position of its symbol is touched: find out now."""
    try:
        async with deadline("finding out whose fills are", _STRAY_SECONDS):
            await own_strays(parts, actor="check-exits", since=parts.clock.now() - PATIENCE)
    except KontorError as error:
        log.warning("fills not told apart account=%s error=%s", parts.account, error)


async def exit_rules(parts: Parts) -> Mapping[str, ExitRules]:
    """Rules by strategy: those of kontor.yaml, and the last known ones of strategies that are not in it any more."""
    return await exit_rules_of(parts.store.desk, parts.account, parts.config)


@dataclass(frozen=True, slots=True)
class _Decided:
    """One position looked at: what is kept of it, and why it is to be closed, if so."""

    position: StrategyPosition
    watch: dict[str, str]
    price: Decimal | None
    reason: str | None = None

    @property
    def key(self) -> str:
        return f"{self.position.strategy} {self.position.symbol}"


def _look(
    parts: Parts, books: Books, position: StrategyPosition, rules: ExitRules, known: Mapping[str, Any] | None
) -> _Decided:
    """Watch one position: the fill that opened it, the best price, and why it is being closed are kept."""
    ticker = books.fresh_ticker(position.symbol, timedelta(seconds=parts.config.risk.max_ticker_age_seconds))
    price = None if isinstance(ticker, str) else ticker.last
    mine = known if known is not None and known.get("opened_by") == position.opened_by else None
    best = Decimal(mine["best"]) if mine and "best" in mine else None
    if price is not None:
        best = better(position, best, price)
    # Once decided it stays decided: a price that comes back does not leave half a position.
    reason = (mine or {}).get("reason") or exit_reason(position, rules, price=price, best=best, now=books.view.now)
    reason = reason or _delisting(parts, books, position)
    if reason is None and price is None and rules.need_price:
        raise KontorError(f"{position.symbol}: {ticker}, so its stops cannot be watched")
    watch = {"opened_by": position.opened_by}
    watch |= {"best": str(best)} if best is not None else {}
    if reason is not None:
        watch |= {"reason": reason, "decided_at": (mine or {}).get("decided_at") or books.view.now.isoformat()}
    return _Decided(position, watch, price, reason)


async def _end(parts: Parts, books: Books, decided: _Decided, report: ExitReport) -> bool:
    """Carry out what was decided, unless the venue does; False when nothing is held of the position."""
    holds = True
    with _contained(parts, decided.key, report):
        decided_at = datetime.fromisoformat(decided.watch["decided_at"])
        if not _venue_closes(books, decided.position, decided.price, decided_at):
            holds = await _close(parts, books, decided.position, report)
    return holds


def _delisting(parts: Parts, books: Books, position: StrategyPosition) -> str | None:
    """The market ends soon: who waits longer is closed by the venue, at its price."""
    market = books.view.markets.get(position.symbol)
    if market is None or market.delists_at is None:
        return None
    before = timedelta(hours=float(parts.config.protection.exit_before_delisting_hours))
    if books.view.now < market.delists_at - before:
        return None
    return f"delisting: {position.symbol} ends at {market.delists_at:%Y-%m-%d %H:%M} UTC"


def _venue_closes(books: Books, position: StrategyPosition, price: Decimal | None, decided_at: datetime) -> bool:
    """The stop at the venue has been reached and gets a moment to do its work: two orders would close it twice."""
    if books.view.now - decided_at > STOP_GRACE:
        return False
    stops = books.stops.get((position.strategy, position.symbol), ())
    return any(
        stop.state in CANCELABLE
        and stop.trigger_price is not None
        and is_crossed(position, stop.trigger_price, price)
        and stop.remaining_quantity >= abs(position.quantity)
        for stop in stops
    )


async def _close(parts: Parts, books: Books, position: StrategyPosition, report: ExitReport) -> bool:
    """Close what can be closed; False when the venue holds nothing of it."""
    market = books.view.markets.get(position.symbol)
    if market is None:
        raise KontorError(f"{position.symbol} is not a market of this venue any more; ask the venue what became of it")
    key = f"{position.strategy} {position.symbol}"
    exits, number = await _earlier_exits(parts, position)
    if any(not order.is_finished for order in exits) or (position.strategy, position.symbol) in books.unsettled:
        return True
    if exits and books.view.now - exits[-1].created_at < pause_after(exits):
        return True
    stops = books.stops.get((position.strategy, position.symbol), ())
    reached = [stop for stop in stops if is_crossed(position, stop.trigger_price or _NOTHING, _last(books, position))]
    closing, is_spot = closing_of(position, books.positions, books.held(market)), market.kind is MarketKind.SPOT
    by_hand = _in_the_way(books, position, market, abs(position.quantity) if is_spot else closing.reduce_only)
    # A stop that was reached and did nothing must not wake up later; the others stand until the position is flat.
    await _clear(parts, (*books.orders_of(position.strategy, position.symbol), *reached, *by_hand))
    wanted = {
        "": (market.round_quantity(closing.reduce_only), True),
        "net": (market.round_quantity(closing.plain), False),
    }
    smallest = max(market.min_quantity, market.quantity_step)
    names = await _names(parts, position, number)
    intents = {
        names[leg]: OrderIntent(
            position.symbol,
            position.closing_side,
            OrderType.MARKET,
            quantity,
            reduce_only=reduces,
            priority=PRIORITY,
            strategy=position.strategy,
        )
        for leg, (quantity, reduces) in wanted.items()
        if quantity >= smallest
    }
    if not intents:
        if not (closing.reduce_only or closing.plain):
            # On spot the coins may be there, locked by an order whose cancel the balance does not show yet.
            return is_spot and books.total(market) > 0
        report.residue[key] = f"{abs(position.quantity):f} {market.base}: nothing of it can be traded"
        return True
    for order in await place_all(parts, intents, actor=f"exit of {position.strategy}"):
        if order.state is OrderState.DENIED:
            report.errors[key] = order.reason or "denied"
        else:
            report.orders.append(order.client_order_id)
    return True


def _in_the_way(books: Books, position: StrategyPosition, market: Market, wanted: Decimal) -> Sequence[Order]:
    """Targets that people set for the same quantity: they must not keep a rule from closing it."""
    others = [order for order in books.view.orders if order.strategy != position.strategy]
    return in_the_way(others, position.symbol, position.closing_side, held=books.total(market), wanted=wanted)


def _last(books: Books, position: StrategyPosition) -> Decimal | None:
    ticker = books.view.tickers.get(position.symbol)
    return None if ticker is None else ticker.last


async def _names(parts: Parts, position: StrategyPosition, number: int) -> Mapping[str, str]:
    prefix = await parts.store.desk.desk_prefix()
    base = ("exit", position.strategy, position.symbol, position.opened_by, number)
    return {leg: client_order_id(prefix, *base, leg) for leg in ("", "net")}


async def _earlier_exits(parts: Parts, position: StrategyPosition) -> tuple[list[Order], int]:
    """The exit orders this position has had, oldest first, and the number of the next try."""
    found: list[Order] = []
    for number in range(_MOST_TRIES):
        tries = [await parts.store.orders.get(name) for name in (await _names(parts, position, number)).values()]
        here = [order for order in tries if order is not None]
        if not here:
            return found, number
        found += here
    raise KontorError(f"{_MOST_TRIES} exits of {position.symbol} came to nothing; close it with close-position")


def pause_after(exits: list[Order]) -> timedelta:
    """How long after the last try the next one may come: refused ones wait ever longer, one that filled does not."""
    refused = 0
    for order in reversed(exits):
        if order.filled_quantity:
            break
        refused += 1
    if not refused:
        return timedelta(0)
    return min(_FIRST_PAUSE * 2 ** min(refused - 1, 10), _LONGEST_PAUSE)


async def _clear(parts: Parts, orders: tuple[Order, ...]) -> None:
    """Cancel what rests for the position and wait a moment for it to be gone."""
    if not orders:
        return
    names = [order.client_order_id for order in orders]
    await request_cancels(parts, actor="exit", client_order_ids=names)
    await asyncio.gather(*(wait_for_outcome(parts, name, seconds=CANCEL_SECONDS, states=()) for name in names))
