"""Comparing holdings: what fills and transfers explain, what came from outside the desk, and what is drift."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from kontor.domain.attribution import opening_of
from kontor.domain.fill import Fill
from kontor.domain.identity import EXTERNAL, belongs_to
from kontor.domain.outside import (
    OutsideMove,
    Transfer,
    move_of_drift,
    move_of_transfer,
    moves_of_fills,
    with_transfers,
)
from kontor.domain.reconcile import (
    Drift,
    drifts,
    expected_balances,
    expected_positions,
    positions_by_symbol,
    totals,
    unsettled,
)
from kontor.execution.baseline import RECONCILED, Baseline, as_value, load_baseline
from kontor.execution.parts import Parts
from kontor.execution.view import load_markets

log = logging.getLogger(__name__)

DRIFT = "drift"
# What was held before the first fill of the store, by swap symbol or currency.
OPENING = "opening_holdings"
# A fill may show in a position before it shows in the list of fills: only what lasts longer than this is drift.
SETTLE_SECONDS = 2.0
LOOKS = 3
# Fills this much older than a baseline may still be told apart from those it contains.
RECENT = timedelta(minutes=5)


class News(Protocol):
    """What the venue says has happened since the last baseline."""

    # By name, as far as they were collected; None when the venue does not list its transfers.
    transfers: dict[str, Transfer] | None

    async def collect(self) -> int:
        """Book the venue's fills and note its transfers; how many were new."""
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the holdings say: moves from outside, booked just now, and differences that nothing explains."""

    moves: tuple[OutsideMove, ...] = ()
    drift: tuple[Drift, ...] = ()


async def compare_holdings(parts: Parts, news: News) -> Comparison:
    """How the venue's positions and balances came about since the last baseline; books it, and sets a new baseline.

    The snapshots of positions and balance are renewed on the way. The first time there is nothing to compare with.
    """
    before = await load_baseline(parts.store.desk, parts.account)
    for look in range(LOOKS):
        if look:
            await parts.clock.sleep(SETTLE_SECONDS)
            await news.collect()
        found = await _holdings(parts)
        if await news.collect():
            # Somebody traded meanwhile: which of it the holdings contain is unknown, so look again.
            continue
        comparison = await _compare(parts, before, found, news)
        if not comparison.drift or look == LOOKS - 1:
            return await _settle(parts, before, found, news, comparison)
    # Never quiet: keep the old baseline, the next reconciliation compares with it again.
    log.info("holdings not compared account=%s: fills kept coming", parts.account)
    return Comparison()


async def _holdings(parts: Parts) -> Baseline:
    at = parts.clock.now()
    positions = await parts.exchange.fetch_positions()
    balance = await parts.exchange.fetch_balance()
    await parts.store.account.save_positions(parts.account, positions, at)
    await parts.store.account.save_balance(parts.account, balance)
    return Baseline(at, positions_by_symbol(positions), totals(balance))


async def _compare(parts: Parts, before: Baseline | None, found: Baseline, news: News) -> Comparison:
    if before is None:
        return Comparison()
    markets = await load_markets(parts)
    fills = [fill for fill in await _recent_fills(parts, before.at) if _name(fill) not in before.counted]
    transfers = [each for name, each in (news.transfers or {}).items() if name not in before.counted]
    balances = with_transfers(expected_balances(before.balances, fills, markets), transfers)
    positions = drifts(expected_positions(before.positions, fills, markets), found.positions)
    currencies = drifts(unsettled(balances, markets), unsettled(found.balances, markets))
    held = {**before.balances, **before.positions}
    moves = moves_of_fills(held, await _owned(parts, fills), markets)
    moves += [move_of_transfer(transfer) for transfer in transfers]
    for drift, is_symbol in [*((drift, True) for drift in positions), *((drift, False) for drift in currencies)]:
        moves.append(
            move_of_drift(
                drift,
                since=before.at,
                at=found.at,
                is_symbol=is_symbol,
                transfers_are_known=news.transfers is not None,
            )
        )
    return Comparison(tuple(moves), (*positions, *currencies))


async def _settle(
    parts: Parts, before: Baseline | None, found: Baseline, news: News, comparison: Comparison
) -> Comparison:
    """Book what came from outside and believe the venue from here on; keep what differed for people to see."""
    counted = {_name(fill) for fill in await _recent_fills(parts, found.at)} | set(news.transfers or {})
    baseline = Baseline(found.at, found.positions, found.balances, frozenset(counted))
    since = before.at if before is not None else None
    booked = await parts.store.account.settle(
        parts.account, comparison.moves, RECONCILED, as_value(baseline), found.at, since=since
    )
    if booked is None:
        log.info("holdings compared twice account=%s: another reconciliation was faster", parts.account)
        return Comparison()
    for move in booked:
        log.warning("outside move booked account=%s %s", parts.account, move)
    await _keep_opening(parts, found)
    figures = [{"name": d.name, "expected": str(d.expected), "found": str(d.found)} for d in comparison.drift]
    await parts.store.desk.set_attribute(parts.account, DRIFT, figures, found.at)
    return Comparison(tuple(booked), comparison.drift)


async def _keep_opening(parts: Parts, found: Baseline) -> None:
    """Once: what was held before the first fill and move, so that what people hold can be told from then on."""
    if await parts.store.desk.attribute(parts.account, OPENING) is not None:
        return
    markets = await load_markets(parts)
    fills = [fill for _, fill in await parts.store.orders.owned_fills(parts.account)]
    expected = {**expected_balances({}, fills, markets), **expected_positions({}, fills, markets)}
    moves = await parts.store.account.outside_moves(parts.account, limit=1_000_000)
    opening = opening_of({**found.balances, **found.positions}, expected, moves)
    value = {name: str(quantity) for name, quantity in opening.items()}
    await parts.store.desk.set_attribute(parts.account, OPENING, value, found.at)


async def _recent_fills(parts: Parts, at: datetime) -> list[Fill]:
    return list(await parts.store.orders.fills(parts.account, since=at - RECENT, limit=100_000))


async def _owned(parts: Parts, fills: list[Fill]) -> list[tuple[Fill, bool]]:
    """Each fill, and whether it came from outside: its order was adopted, or is known to nobody."""
    prefix = await parts.store.desk.desk_prefix()
    orders = await parts.store.orders.by_venue_order_id(parts.account, {fill.venue_order_id for fill in fills})
    outside = {
        key
        for key, order in orders.items()
        # One with this desk's own prefix was only forgotten, by a restored backup for instance.
        if order.strategy == EXTERNAL and not belongs_to(prefix, order.client_order_id)
    }
    return [
        (fill, key in outside or (key not in orders and fill.client_order_id is None))
        for fill, key in ((fill, (fill.symbol, fill.venue_order_id)) for fill in fills)
    ]


def _name(fill: Fill) -> str:
    return f"{fill.symbol} {fill.trade_id}"
