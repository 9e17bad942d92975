"""The strategies' positions, kept up to date in this process: only fills that are new are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from weakref import WeakKeyDictionary

from kontor.domain.market import Market
from kontor.domain.strategy_position import Positions, positions_of
from kontor.execution.parts import Parts
from kontor.ports import Store


@dataclass(frozen=True, slots=True)
class _Known:
    count: int
    positions: Positions
    newest_at: datetime | None
    # The fills of that very moment: more of them may come.
    at_newest: frozenset[tuple[str, str]]


_known: WeakKeyDictionary[Store, dict[str, _Known]] = WeakKeyDictionary()


async def strategy_positions(parts: Parts, markets: Mapping[str, Market]) -> Positions:
    """Positions by (strategy, symbol), closed ones included.

    Fills may come late, and out of order, or be found to be a strategy's afterwards: when their number does not add up,
    all are read again.
    """
    accounts = _known.setdefault(parts.store, {})
    count = await parts.store.orders.count_strategy_fills(parts.account)
    known = accounts.get(parts.account)
    if known is None or not (known := await _followed(parts, known, count, markets)):
        fills = await parts.store.orders.strategy_fills(parts.account)
        newest = max((fill.filled_at for _, fill in fills), default=None)
        names = frozenset((fill.symbol, fill.trade_id) for _, fill in fills if fill.filled_at == newest)
        known = _Known(len(fills), positions_of(fills, markets), newest, names)
    accounts[parts.account] = known
    return known.positions


async def _followed(parts: Parts, known: _Known, count: int, markets: Mapping[str, Market]) -> _Known | None:
    """What is known with what is new; None when that does not add up."""
    if count == known.count:
        return known
    if count < known.count or known.newest_at is None:
        return None
    since = await parts.store.orders.strategy_fills(parts.account, since=known.newest_at)
    new = [(name, fill) for name, fill in since if (fill.symbol, fill.trade_id) not in known.at_newest]
    if len(new) != count - known.count:
        return None
    newest = max(fill.filled_at for _, fill in new)
    names = frozenset((fill.symbol, fill.trade_id) for _, fill in since if fill.filled_at == newest)
    return _Known(count, positions_of(new, markets, known.positions), newest, names)
