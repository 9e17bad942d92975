"""Drift: holdings at the venue that neither the last reconciliation nor the fills since explain."""

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from kontor.domain.fill import Fill
from kontor.domain.reconcile import (
    Drift,
    drifts,
    expected_balances,
    expected_positions,
    positions_by_symbol,
    totals,
    unsettled,
)
from kontor.execution.baseline import Baseline, load_baseline, save_baseline
from kontor.execution.parts import Parts
from kontor.execution.view import load_markets

log = logging.getLogger(__name__)

DRIFT = "drift"
# A fill may show in a position before it shows in the list of fills: only what lasts longer than this is drift.
SETTLE_SECONDS = 2.0
LOOKS = 3
# Fills this much older than a baseline may still be told apart from those it contains.
RECENT = timedelta(minutes=5)


async def compare_holdings(parts: Parts, book_fills: Callable[[], Awaitable[int]]) -> tuple[Drift, ...]:
    """How the venue's positions and balances differ from what our fills make of the last baseline; sets a new one.

    The snapshots of positions and balance are renewed on the way. `book_fills` books the venue's fills and says how
    many were new. The first time there is nothing to compare with.
    """
    before = await load_baseline(parts.store.desk, parts.account)
    for look in range(LOOKS):
        if look:
            await parts.clock.sleep(SETTLE_SECONDS)
            await book_fills()
        found = await _holdings(parts)
        if await book_fills():
            # Somebody traded meanwhile: which of it the holdings contain is unknown, so look again.
            continue
        found_drift = await _compare(parts, before, found)
        if not found_drift or look == LOOKS - 1:
            return await _settle(parts, found, found_drift)
    # Never quiet: keep the old baseline, the next reconciliation compares with it again.
    log.info("holdings not compared account=%s: fills kept coming", parts.account)
    return ()


async def _holdings(parts: Parts) -> Baseline:
    at = parts.clock.now()
    positions = await parts.exchange.fetch_positions()
    balance = await parts.exchange.fetch_balance()
    await parts.store.account.save_positions(parts.account, positions, at)
    await parts.store.account.save_balance(parts.account, balance)
    return Baseline(at, positions_by_symbol(positions), totals(balance))


async def _compare(parts: Parts, before: Baseline | None, found: Baseline) -> tuple[Drift, ...]:
    if before is None:
        return ()
    markets = await load_markets(parts)
    recent = await parts.store.orders.fills(parts.account, since=before.at - RECENT, limit=100_000)
    fills = [fill for fill in recent if _name(fill) not in before.counted]
    balances = expected_balances(before.balances, fills, markets)
    return (
        *drifts(expected_positions(before.positions, fills, markets), found.positions),
        *drifts(unsettled(balances, markets), unsettled(found.balances, markets)),
    )


async def _settle(parts: Parts, found: Baseline, drift: tuple[Drift, ...]) -> tuple[Drift, ...]:
    """Believe the venue from here on, and keep what differed for people to see."""
    recent = await parts.store.orders.fills(parts.account, since=found.at - RECENT, limit=100_000)
    counted = frozenset(_name(fill) for fill in recent)
    await save_baseline(parts.store.desk, parts.account, Baseline(found.at, found.positions, found.balances, counted))
    figures = [{"name": d.name, "expected": str(d.expected), "found": str(d.found)} for d in drift]
    await parts.store.desk.set_attribute(parts.account, DRIFT, figures, found.at)
    return drift


def _name(fill: Fill) -> str:
    return f"{fill.symbol} {fill.trade_id}"
