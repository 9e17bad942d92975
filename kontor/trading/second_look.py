"""A second look at what the venue holds, before a stop of an open position is made smaller or taken away.

A fill is often told before the position that it makes: one snapshot alone may say that nothing is held.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from weakref import WeakKeyDictionary

from kontor.domain.market import Market
from kontor.domain.order import Order
from kontor.domain.strategy_position import StrategyPosition, closing_of
from kontor.errors import ExchangeError
from kontor.execution.parts import Parts
from kontor.ports import Store
from kontor.trading.books import Books

log = logging.getLogger(__name__)

# Between the two looks: venues tell a position this much later than the fill, at most, where nothing is wrong.
PAUSE = timedelta(seconds=1)
_NOTHING = Decimal(0)


@dataclass(slots=True)
class _Doubt:
    """Since when the snapshots say less than the fills, and the quantity that the second look has confirmed."""

    since: datetime
    sure: Decimal | None = None


# By account, strategy and symbol.
_doubts: WeakKeyDictionary[Store, dict[tuple[str, str, str], _Doubt]] = WeakKeyDictionary()


async def certain_quantity(
    parts: Parts, books: Books, position: StrategyPosition, market: Market, stops: Sequence[Order]
) -> Decimal:
    """How much of an open swap position a stop must cover; what somebody closed by hand needs none any more.

    Less than what stands only once the venue itself, asked anew some time after the first doubt, still holds less.
    """
    doubts = _doubts.setdefault(parts.store, {})
    key = (parts.account, position.strategy, position.symbol)
    own = market.round_quantity(abs(position.quantity))
    standing = max((stop.remaining_quantity for stop in stops if stop.cancel_requested_at is None), default=_NOTHING)
    wanted = _closable(books, position, market, books.held(market))
    if wanted >= min(own, standing):
        doubts.pop(key, None)
        return wanted
    doubt = doubts.setdefault(key, _Doubt(books.view.now))
    if doubt.sure == wanted:
        return wanted
    doubt.sure = None
    if books.view.now - doubt.since >= PAUSE:
        held = await _ask(parts, market)
        if held is not None and _closable(books, position, market, held) == wanted:
            doubt.sure = wanted
            log.info("stop shrinks account=%s position=%s %s quantity=%s held=%s", *key, wanted, held)
            return wanted
        # The snapshot is renewed: what it says is looked at twice as well.
        del doubts[key]
    return min(own, standing)


def _closable(books: Books, position: StrategyPosition, market: Market, held: Decimal) -> Decimal:
    return market.round_quantity(closing_of(position, books.positions, held).reduce_only)


async def _ask(parts: Parts, market: Market) -> Decimal | None:
    """What the venue holds now, signed; None when it does not answer."""
    at = parts.clock.now()
    try:
        positions = await parts.exchange.fetch_positions()
    except ExchangeError as error:
        log.warning("positions not asked again account=%s error=%s", parts.account, error)
        return None
    await parts.store.account.save_positions(parts.account, positions, at)
    return sum((each.signed_quantity for each in positions if each.symbol == market.symbol), _NOTHING)
