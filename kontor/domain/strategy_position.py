"""Virtual positions: what each strategy holds by its own fills. Their sum and the venue's position differ by what
people did by hand.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from kontor.domain.exposure import exposure_key
from kontor.domain.fill import Fill
from kontor.domain.market import Market, MarketKind
from kontor.domain.order import Side

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class StrategyPosition:
    """What a strategy holds on a symbol: `quantity` in base currency, signed, `realized_pnl` in quote before fees.

    `opened_by` names the fill that opened it, and so this position and no later one.
    """

    strategy: str
    symbol: str
    quantity: Decimal = _NOTHING
    entry_price: Decimal = _NOTHING
    opened_at: datetime | None = None
    opened_by: str = ""
    realized_pnl: Decimal = _NOTHING
    # What was paid for trading it so far, by currency; negative is a rebate.
    fees: Mapping[str, Decimal] | None = None

    @property
    def is_open(self) -> bool:
        """Something is held."""
        return self.quantity != 0

    @property
    def closing_side(self) -> Side:
        """The side of an order that makes it smaller."""
        return Side.SELL if self.quantity > 0 else Side.BUY

    def pnl_at(self, price: Decimal) -> Decimal:
        """What closing it at a price would earn on top of what is realized, before fees."""
        return (price - self.entry_price) * self.quantity

    def after(self, fill: Fill, market: Market | None = None) -> "StrategyPosition":
        """The position after one more fill; on spot a fee taken in the base is not held."""
        fees = dict(self.fees or {})
        change = fill.signed_quantity
        if fill.fee and fill.fee_currency:
            fees[fill.fee_currency] = fees.get(fill.fee_currency, _NOTHING) + fill.fee
            if market is not None and market.kind is MarketKind.SPOT and fill.fee_currency == market.base:
                change -= fill.fee
        return replace(self.moved(change, fill.price, fill.filled_at, fill.trade_id), fees=fees)

    def moved(self, change: Decimal, at_price: Decimal, at: datetime, name: str) -> "StrategyPosition":
        """The position after so much (signed) was traded at a price; `name` is what opens it, if that is so."""
        held, total = self.quantity, self.quantity + change
        if not held or held * change > 0:
            price = at_price if not total else (self.entry_price * held + at_price * change) / total
            opened = (self.opened_at, self.opened_by) if held else (at, name)
            return replace(self, quantity=total, entry_price=price, opened_at=opened[0], opened_by=opened[1])
        closed = min(abs(change), abs(held)) * (1 if held > 0 else -1)
        realized = self.realized_pnl + (at_price - self.entry_price) * closed
        if not total:
            return replace(
                self, quantity=total, entry_price=_NOTHING, opened_at=None, opened_by="", realized_pnl=realized
            )
        if total * held > 0:
            return replace(self, quantity=total, realized_pnl=realized)
        # Through zero: what is left was opened by this fill.
        return replace(
            self,
            quantity=total,
            entry_price=at_price,
            opened_at=at,
            opened_by=name,
            realized_pnl=realized,
        )


Positions = Mapping[tuple[str, str], StrategyPosition]


def positions_of(fills: Iterable[tuple[str, Fill]], markets: Mapping[str, Market]) -> Positions:
    """Positions by (strategy, symbol) out of (strategy, fill) pairs, oldest first; closed ones stay, for their P&L."""
    positions: dict[tuple[str, str], StrategyPosition] = {}
    for strategy, fill in fills:
        key = strategy, fill.symbol
        position = positions.get(key) or StrategyPosition(strategy, fill.symbol)
        positions[key] = position.after(fill, markets.get(fill.symbol))
    return positions


def by_hand(positions: Positions, holdings: Mapping[str, Decimal], markets: Mapping[str, Market]) -> dict[str, Decimal]:
    """What is held beyond the strategies' positions, by exposure key: the difference that belongs to nobody's rules."""
    left = dict(holdings)
    for (_, symbol), position in positions.items():
        market = markets.get(symbol)
        if market is not None and position.is_open:
            key = exposure_key(market)
            left[key] = left.get(key, _NOTHING) - position.quantity
    return {key: quantity for key, quantity in left.items() if quantity}


@dataclass(frozen=True, slots=True)
class Closing:
    """How to close a position: so much by reduce-only orders, so much by orders that trade against another strategy."""

    reduce_only: Decimal
    plain: Decimal = _NOTHING


def closing_of(position: StrategyPosition, positions: Positions, held: Decimal) -> Closing:
    """What of a position can be closed when the venue holds `held` (signed) on its symbol.

    Never more than the venue holds on that side, so that a position somebody reduced by hand is not turned around;
    what another strategy holds against it is no loss of ours: that much is closed by a plain order.
    """
    sign = 1 if position.quantity > 0 else -1
    own = abs(position.quantity)
    there = max(held * sign, _NOTHING)
    against = sum(
        (
            -other.quantity * sign
            for (strategy, symbol), other in positions.items()
            if symbol == position.symbol and strategy != position.strategy and other.quantity * sign < 0
        ),
        _NOTHING,
    )
    reduce_only = min(own, there)
    return Closing(reduce_only, min(own - reduce_only, against))
