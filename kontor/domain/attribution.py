"""Whose position a trade from outside made smaller: first what people hold, then the strategies, by what each holds.

Positions, virtual ones and those by hand, are folded from facts alone: fills, and the moves that reconciliation has
booked (a withdrawal, a delisting, what nobody explains). Nothing is guessed from a snapshot, and late facts find their
place.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from kontor.domain.exposure import exposure_key
from kontor.domain.fill import Fill
from kontor.domain.market import Market, MarketKind
from kontor.domain.outside import OutsideMove
from kontor.domain.strategy_position import Positions, StrategyPosition

K = TypeVar("K", bound=Hashable)
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Attribution:
    """A part of a trade from outside that made a strategy's position smaller; `quantity` is signed."""

    at: datetime
    strategy: str
    symbol: str
    quantity: Decimal
    # The fill or move that did it, and the order behind it where there is one.
    source_id: str
    client_order_id: str | None = None

    def __str__(self) -> str:
        return f"{self.strategy} {self.symbol} {self.quantity:+f} by {self.source_id}"


@dataclass(frozen=True, slots=True)
class Shared:
    """Who holds what of an account: strategies by (strategy, symbol), people by exposure key."""

    positions: Positions = field(default_factory=dict)
    by_hand: Mapping[str, Decimal] = field(default_factory=dict)
    attributed: tuple[Attribution, ...] = ()


def shared_out(
    fills: Iterable[tuple[str | None, Fill]],
    moves: Iterable[OutsideMove],
    markets: Mapping[str, Market],
    opening: Mapping[str, Decimal] | None,
    before: Shared | None = None,
) -> Shared:
    """Who holds what after these fills (with their strategy, None: nobody's) and moves, each oldest first.

    `opening` is what was held before the first of them, by exposure key; None: not known, and nothing is attributed.
    `before` is what all earlier ones have made.
    """
    book = _Book(markets, opening, before or Shared())
    events = [(fill.filled_at, strategy, fill) for strategy, fill in fills]
    # Fills are in the moves too where they came from outside: here they count once.
    events += [(move.at, None, move) for move in moves if not move.source_id.startswith("fill:")]
    for _, strategy, event in sorted(events, key=lambda entry: entry[0]):
        if strategy is not None and isinstance(event, Fill):
            book.of_strategy(strategy, event)
        elif opening is not None:
            book.from_outside(event)
    return Shared(book.positions, book.by_hand, tuple(book.attributed))


class _Book:
    def __init__(self, markets: Mapping[str, Market], opening: Mapping[str, Decimal] | None, before: Shared) -> None:
        self._markets = markets
        self.positions = dict(before.positions)
        self.by_hand = {**(opening or {}), **before.by_hand}
        self.attributed = list(before.attributed)

    def of_strategy(self, strategy: str, fill: Fill) -> None:
        key = strategy, fill.symbol
        position = self.positions.get(key) or StrategyPosition(strategy, fill.symbol)
        self.positions[key] = position.after(fill, self._markets.get(fill.symbol))

    def from_outside(self, event: Fill | OutsideMove) -> None:
        key, change, market = self._change(event)
        held = {
            name: position.quantity
            for name, position in self.positions.items()
            if position.is_open and self._key(name[1]) == key
        }
        step = market.quantity_step if market is not None else _NOTHING
        taken, self.by_hand[key] = share_out(change, self.by_hand.get(key, _NOTHING), held, step)
        for name, quantity in taken.items():
            position = self.positions[name]
            price = event.price or position.entry_price
            self.positions[name] = position.moved(quantity, price, event_at(event), source_of(event))
            self.attributed.append(
                Attribution(event_at(event), *name, quantity, source_of(event), event.client_order_id)
            )

    def _change(self, event: Fill | OutsideMove) -> tuple[str, Decimal, Market | None]:
        if isinstance(event, OutsideMove):
            return event.symbol or event.currency or "", event.quantity, self._markets.get(event.symbol or "")
        market = self._markets.get(event.symbol)
        change = event.signed_quantity
        if market is not None and market.kind is MarketKind.SPOT and event.fee and event.fee_currency == market.base:
            change -= event.fee
        return self._key(event.symbol), change, market

    def _key(self, symbol: str) -> str:
        market = self._markets.get(symbol)
        if market is not None:
            return exposure_key(market)
        # Delisted meanwhile: its name still says what it was.
        return symbol if ":" in symbol else symbol.partition("/")[0]


def share_out(
    change: Decimal, by_hand: Decimal, held: Mapping[K, Decimal], step: Decimal = _NOTHING
) -> tuple[dict[K, Decimal], Decimal]:
    """What a signed change from outside takes from each holder of `held`, signed, and what people hold after it.

    A reduction takes what people hold first and the strategies' positions on that side after it, pro rata in steps.
    One that goes beyond what people hold and leaves nothing at the venue has closed everything, whoever held it.
    """
    net = sum(held.values(), _NOTHING)
    sign = 1 if net > 0 else -1
    excess = -change * sign - max(by_hand * sign, _NOTHING)
    if not net or excess <= 0:
        return {}, by_hand + change
    if not net + by_hand + change:
        return {name: -quantity for name, quantity in held.items()}, _NOTHING
    part = min(excess, abs(net))
    same = {name: abs(quantity) for name, quantity in held.items() if quantity * sign > 0}
    taken = {name: -quantity * sign for name, quantity in _pro_rata(part, same, step).items() if quantity}
    return taken, by_hand + change + part * sign


def _pro_rata(quantity: Decimal, held: Mapping[K, Decimal], step: Decimal) -> dict[K, Decimal]:
    """Parts that sum to `quantity`, none above what is held; what does not divide goes to the largest."""
    total = sum(held.values(), _NOTHING)
    if quantity >= total:
        return dict(held)
    if len(held) == 1:
        return dict.fromkeys(held, quantity)
    parts = {name: quantity * own / total for name, own in held.items()}
    parts = {name: part // step * step if step else part for name, part in parts.items()}
    left = quantity - sum(parts.values(), _NOTHING)
    for name in sorted(held, key=lambda each: held[each], reverse=True):
        more = max(min(left, held[name] - parts[name]), -parts[name])
        parts[name] += more
        left -= more
    return parts


def source_of(event: Fill | OutsideMove) -> str:
    """What names it among all sources."""
    return event.source_id if isinstance(event, OutsideMove) else f"fill:{event.symbol}:{event.trade_id}"


def event_at(event: Fill | OutsideMove) -> datetime:
    """When it happened."""
    return event.at if isinstance(event, OutsideMove) else event.filled_at


def opening_of(
    holdings: Mapping[str, Decimal],
    expected: Mapping[str, Decimal],
    moves: Iterable[OutsideMove],
) -> dict[str, Decimal]:
    """What was held before the first fill: `holdings` now less what all fills (`expected`) and moves have made."""
    opening = {name: holdings.get(name, _NOTHING) - expected.get(name, _NOTHING) for name in {*holdings, *expected}}
    for move in moves:
        if not move.source_id.startswith("fill:"):
            name = move.symbol or move.currency or ""
            opening[name] = opening.get(name, _NOTHING) - move.quantity
    return {name: quantity for name, quantity in sorted(opening.items()) if quantity}
