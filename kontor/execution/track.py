"""Tracking: brings our live orders up to date with the venue, asking only for those that left its open orders."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kontor.domain.order import Order, OrderReport, OrderState, apply_report
from kontor.domain.snapshot import Snapshot
from kontor.errors import ExchangeError
from kontor.execution.collect import collect_fills, refresh_or_close
from kontor.execution.journal import Change, Journal
from kontor.execution.parts import Parts

log = logging.getLogger(__name__)

TRACKED = frozenset({OrderState.SUBMITTED, OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED})
PARALLEL = 8

Work = Callable[[Order], Coroutine[Any, Any, Order]]


@dataclass(slots=True)
class TrackReport:
    """What one round of tracking did; `failed` maps a symbol to the venue's error there."""

    tracked: int = 0
    asked: int = 0
    finished: int = 0
    still_open: int = 0
    short_of_fills: int = 0
    failed: dict[str, str] = field(default_factory=dict)


async def track(parts: Parts, *, actor: str = "track-orders") -> TrackReport:
    """Bring live orders up to date: from the snapshot of open orders, and by asking for those missing in it.

    Only orders that the venue had accepted before the snapshot was taken count as missing. A symbol whose question
    fails keeps its orders as they are until the next round; the others are not affected.
    """
    orders = parts.store.orders
    journal = Journal(orders, parts.clock, actor)
    live = await orders.find(parts.account, states=TRACKED, limit=10_000)
    report = TrackReport(tracked=len(live))
    snapshot = await _snapshot(parts, live)
    reports = {key: found for found in snapshot.value for key in _keys(found)}
    seen = await _apply_all(journal, live, reports)
    missing = [order for order in seen if _is_missing(order, reports, snapshot)]
    report.asked = len(missing)
    await _by_symbol(missing, lambda order: refresh_or_close(journal, parts.exchange, parts.clock, order), report)
    short = await orders.short_of_fills(parts.account)
    await _by_symbol(short, lambda order: collect_fills(journal, parts.exchange, order), report)
    report.short_of_fills = len(await orders.short_of_fills(parts.account))
    now = [await orders.get(order.client_order_id) for order in live]
    report.finished = sum(1 for order in now if order is not None and order.is_finished)
    report.still_open = len(live) - report.finished
    return report


async def _snapshot(parts: Parts, live: Sequence[Order]) -> Snapshot[tuple[OrderReport, ...]]:
    """The open orders as last seen; asked for now when they were never seen, or are older than every live order."""
    known = await parts.store.account.open_orders(parts.account)
    newest = [order.submitted_at for order in live if order.submitted_at is not None]
    if known is not None and (not newest or known.at > max(newest)):
        return known
    at = parts.clock.now()
    try:
        found = await parts.exchange.fetch_open_orders()
    except ExchangeError as error:
        log.warning("open orders not refreshed account=%s error=%s", parts.account, error)
        return known or Snapshot((), min(newest, default=at))
    await parts.store.account.save_open_orders(parts.account, found, at)
    return Snapshot(tuple(found), at)


def _keys(report: OrderReport) -> list[tuple[str, str]]:
    # With the symbol: some venues number the orders of each market anew.
    keys = [(report.symbol, f"venue {report.venue_order_id}")]
    return [*keys, (report.symbol, f"client {report.client_order_id}")] if report.client_order_id else keys


def _report_for(order: Order, reports: Mapping[tuple[str, str], OrderReport]) -> OrderReport | None:
    if order.venue_order_id is not None:
        return reports.get((order.symbol, f"venue {order.venue_order_id}"))
    return reports.get((order.symbol, f"client {order.client_order_id}"))


async def _apply_all(
    journal: Journal, live: Sequence[Order], reports: Mapping[tuple[str, str], OrderReport]
) -> list[Order]:
    found = {order.client_order_id: _report_for(order, reports) for order in live}

    def decide(order: Order) -> Order:
        report = found[order.client_order_id]
        return order if report is None else apply_report(order, report)

    return await journal.change_all([Change(order, decide) for order in live])


def _is_missing(
    order: Order, reports: Mapping[tuple[str, str], OrderReport], snapshot: Snapshot[tuple[OrderReport, ...]]
) -> bool:
    """Whether the venue must be asked; a SUBMITTED order is the executor's to look up."""
    if order.state is OrderState.SUBMITTED or order.is_finished or _report_for(order, reports) is not None:
        return False
    return order.submitted_at is None or snapshot.at > order.submitted_at


async def _by_symbol(orders: Sequence[Order], work: Work, report: TrackReport) -> None:
    """Work on each symbol's orders one after the other, symbols in parallel; an error ends its own symbol only."""
    symbols: dict[str, list[Order]] = defaultdict(list)
    for order in orders:
        symbols[order.symbol].append(order)
    slots = asyncio.Semaphore(PARALLEL)

    async def one(symbol: str) -> None:
        left = [order.client_order_id for order in symbols[symbol]]
        try:
            async with slots:
                for order in symbols[symbol]:
                    await work(order)
                    left.remove(order.client_order_id)
        except ExchangeError as error:
            report.failed[symbol] = str(error)
            log.warning("tracking failed client_order_ids=%s symbol=%s error=%s", ",".join(left), symbol, error)

    async with asyncio.TaskGroup() as tasks:
        for symbol in symbols:
            tasks.create_task(one(symbol))
