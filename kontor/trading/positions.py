"""Who holds what, kept up to date in this process: only fills that are new are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from weakref import WeakKeyDictionary

from kontor.domain.attribution import Attribution, Shared, shared_out
from kontor.domain.fill import Fill
from kontor.domain.market import Market
from kontor.domain.outside import OutsideMove
from kontor.execution.baseline import RECONCILED
from kontor.execution.drift import OPENING
from kontor.execution.parts import Parts
from kontor.execution.view import load_markets
from kontor.ports import FillCounts, Store

# So long a fill may wait to be linked to its order; then it is nobody's of this desk.
PATIENCE = timedelta(minutes=10)
# And so long the positions of its symbol are left alone for it: exits must not wait longer.
STRAY_PATIENCE = timedelta(minutes=1)
Owned = tuple[str | None, Fill]


@dataclass(frozen=True, slots=True)
class Holders:
    """Who holds what; `strays` are symbols with fills of which nobody knows yet whose they are."""

    shared: Shared
    strays: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Known:
    counts: FillCounts
    # When the opening holdings were found, and when reconciliation has booked last.
    marks: tuple[datetime | None, datetime | None]
    opening: Mapping[str, Decimal] | None
    moves: Sequence[OutsideMove]
    shared: Shared
    newest_at: datetime | None
    # The fills of that very moment: more of them may come.
    at_newest: frozenset[tuple[str, str]]
    strays: Mapping[str, datetime] = field(default_factory=dict)


# What was told of trades from outside that made strategies' positions smaller.
ATTRIBUTED_TOLD = "attributed_told"
_TOLD_BACK = timedelta(days=7)
_known: WeakKeyDictionary[Store, dict[str, _Known]] = WeakKeyDictionary()


async def holders(parts: Parts, markets: Mapping[str, Market]) -> Holders:
    """Positions by (strategy, symbol), closed ones included, and what people hold.

    Fills may come late, and out of order, or be found to be a strategy's afterwards: when their number does not add up,
    all are read again.
    """
    accounts = _known.setdefault(parts.store, {})
    counts, marks = await parts.store.orders.count_fills(parts.account), await _marks(parts)
    known = await _still_true(parts, accounts.get(parts.account), marks)
    found = await _followed(parts, known, counts, markets) if known is not None else None
    if found is None:
        found = await _all(parts, counts, marks, markets)
    accounts[parts.account] = found
    return Holders(found.shared, frozenset(found.strays))


async def new_attributions(parts: Parts) -> list[Attribution]:
    """What came from outside and made strategies' positions smaller, each once, of the last days."""
    found = await holders(parts, await load_markets(parts))
    since = parts.clock.now() - _TOLD_BACK
    recent = {f"{each.source_id} {each.strategy}": each for each in found.shared.attributed if each.at >= since}
    stored = await parts.store.desk.attribute(parts.account, ATTRIBUTED_TOLD)
    told = set(stored.value) if stored and stored.value else set[str]()
    if told != recent.keys():
        await parts.store.desk.set_attribute(parts.account, ATTRIBUTED_TOLD, sorted(recent), parts.clock.now())
    return [each for name, each in recent.items() if name not in told]


async def _still_true(
    parts: Parts, known: _Known | None, marks: tuple[datetime | None, datetime | None]
) -> _Known | None:
    """What is known, unless a stray has waited long enough, or reconciliation has booked something."""
    if known is None or any(parts.clock.now() - at >= STRAY_PATIENCE for at in known.strays.values()):
        return None
    if known.marks == marks:
        return known
    if known.marks[0] != marks[0] or await _moves(parts.store, parts.account, known.opening) != known.moves:
        return None
    return replace(known, marks=marks)


async def stored_holders(store: Store, account: str, markets: Mapping[str, Market]) -> Shared:
    """Who holds what by a store alone, read at once; fills of unknown orders count as nobody's."""
    opening = await opening_holdings(store, account)
    fills = await store.orders.owned_fills(account)
    return shared_out(fills, await _moves(store, account, opening), markets, opening)


async def opening_holdings(store: Store, account: str) -> Mapping[str, Decimal] | None:
    """What was held before the first fill, by exposure key; None before the first reconciliation."""
    stored = await store.desk.attribute(account, OPENING)
    return None if stored is None else {name: Decimal(value) for name, value in stored.value.items()}


async def _moves(store: Store, account: str, opening: Mapping[str, Decimal] | None) -> list[OutsideMove]:
    """Moves that are no fills; where nothing is attributed they do not matter."""
    if opening is None:
        return []
    moves = await store.account.outside_moves(account, limit=1_000_000)
    return [move for move in moves if not move.source_id.startswith("fill:")]


async def _marks(parts: Parts) -> tuple[datetime | None, datetime | None]:
    opening = await parts.store.desk.attribute(parts.account, OPENING)
    reconciled = await parts.store.desk.attribute(parts.account, RECONCILED)
    return None if opening is None else opening.at, None if reconciled is None else reconciled.at


async def _all(
    parts: Parts,
    counts: FillCounts,
    marks: tuple[datetime | None, datetime | None],
    markets: Mapping[str, Market],
) -> _Known:
    opening = await opening_holdings(parts.store, parts.account)
    moves = await _moves(parts.store, parts.account, opening)
    fills = await parts.store.orders.owned_fills(parts.account)
    strays, counted = _strays(parts, fills)
    shared = shared_out(counted, moves, markets, opening)
    return _Known(counts, marks, opening, moves, shared, *_newest(fills), strays)


async def _followed(parts: Parts, known: _Known, counts: FillCounts, markets: Mapping[str, Market]) -> _Known | None:
    """What is known with what is new; None when that does not add up."""
    if counts == known.counts:
        return known
    if counts.every <= known.counts.every or known.newest_at is None or known.strays:
        return None
    since = await parts.store.orders.owned_fills(parts.account, since=known.newest_at)
    new = [(name, fill) for name, fill in since if (fill.symbol, fill.trade_id) not in known.at_newest]
    linked = sum(fill.client_order_id is not None for _, fill in new)
    more = (len(new), linked, sum(name is not None for name, _ in new))
    if more != tuple(now - before for now, before in zip(counts, known.counts, strict=True)):
        return None
    # A move that was counted already may have come after some of them.
    if known.moves and known.moves[-1].at >= min(fill.filled_at for _, fill in new):
        return None
    strays, counted = _strays(parts, new)
    shared = shared_out(counted, (), markets, known.opening, known.shared)
    return _Known(counts, known.marks, known.opening, known.moves, shared, *_newest(since), strays)


def _strays(parts: Parts, fills: Sequence[Owned]) -> tuple[dict[str, datetime], list[Owned]]:
    """Symbols with fills that may still be found to be ours, with the oldest, and the fills without those."""
    strays: dict[str, datetime] = {}
    counted: list[Owned] = []
    for name, fill in fills:
        if fill.client_order_id is None and parts.clock.now() - fill.filled_at < STRAY_PATIENCE:
            strays.setdefault(fill.symbol, fill.filled_at)
        else:
            counted.append((name, fill))
    return strays, counted


def _newest(fills: Sequence[Owned]) -> tuple[datetime | None, frozenset[tuple[str, str]]]:
    newest = max((fill.filled_at for _, fill in fills), default=None)
    return newest, frozenset((fill.symbol, fill.trade_id) for _, fill in fills if fill.filled_at == newest)
