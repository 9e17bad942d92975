"""How far positions could grow if every open order filled: the worst case the gate's limits are held against."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from kontor.domain.fill import Fill
from kontor.domain.market import Market, MarketKind
from kontor.domain.order import Order, Side

_NOTHING = Decimal(0)


def exposure_key(market: Market) -> str:
    """What a holding is counted under: a swap by its symbol, spot by its base currency, whatever it was bought with."""
    return market.base if market.kind is MarketKind.SPOT else market.symbol


def only_reduces(market: Market | None, side: Side, *, reduce_only: bool) -> bool:
    """Whether an order can but close what is held: reduce-only ones, and sales on spot, where nobody can be short."""
    return reduce_only or (market is not None and market.kind is MarketKind.SPOT and side is Side.SELL)


def spent(
    fills: Iterable[Fill],
    markets: Mapping[str, Market],
    held: Mapping[str, Decimal],
    leverage: Mapping[str, Decimal],
) -> Decimal:
    """What fills took of the free money that the balance does not show yet: coins bought, margin of swaps that grew.

    `held` are the holdings after these fills. What sales and closed positions brought back is not counted.
    """
    total = _NOTHING
    changes: dict[str, Decimal] = {}
    prices: dict[str, Decimal] = {}
    for fill in fills:
        market = markets.get(fill.symbol)
        if market is not None and market.kind is MarketKind.SWAP:
            changes[fill.symbol] = changes.get(fill.symbol, _NOTHING) + fill.signed_quantity
            prices[fill.symbol] = max(fill.price, prices.get(fill.symbol, _NOTHING))
        elif market is not None and fill.side is Side.BUY:
            total += fill.quantity * fill.price
    for symbol, change in changes.items():
        now = held.get(symbol, _NOTHING)
        grown = max(abs(now) - abs(now - change), _NOTHING)
        total += grown * prices[symbol] / leverage.get(symbol, Decimal(1))
    return total


@dataclass(frozen=True, slots=True)
class Book:
    """Signed holdings, and what open orders could still buy or sell, by exposure key."""

    held: Mapping[str, Decimal]
    buys: Mapping[str, Decimal]
    sells: Mapping[str, Decimal]
    # Quantities of orders that can only close: they close what is held, so that less stands against the others.
    closing_buys: Mapping[str, Decimal]
    closing_sells: Mapping[str, Decimal]

    @classmethod
    def of(cls, markets: Mapping[str, Market], held: Mapping[str, Decimal], orders: Sequence[Order]) -> "Book":
        """The book of an account with its open orders."""
        book = cls(held, {}, {}, {}, {})
        for order in orders:
            market = markets.get(order.symbol)
            key = exposure_key(market) if market else order.symbol
            closing = only_reduces(market, order.side, reduce_only=order.reduce_only)
            book = book.plus(key, order.side, order.remaining_quantity, closing=closing)
        return book

    def plus(self, key: str, side: Side, quantity: Decimal, *, closing: bool = False) -> "Book":
        """The book with one more open order."""
        name = ("closing_" if closing else "") + ("buys" if side is Side.BUY else "sells")
        column: Mapping[str, Decimal] = getattr(self, name)
        changed: dict[str, Any] = {name: {**column, key: column.get(key, _NOTHING) + quantity}}
        return replace(self, **changed)

    def side_quantity(self, key: str, side: Side) -> Decimal:
        """How long (BUY) or short (SELL) the holding could become, once closing orders closed what they can."""
        held = self.held.get(key, _NOTHING)
        if side is Side.BUY:
            closed = min(self.closing_buys.get(key, _NOTHING), max(-held, _NOTHING))
            return max(held + closed + self.buys.get(key, _NOTHING), _NOTHING)
        closed = min(self.closing_sells.get(key, _NOTHING), max(held, _NOTHING))
        return max(self.sells.get(key, _NOTHING) + closed - held, _NOTHING)

    def quantity(self, key: str) -> Decimal:
        """The largest the holding could become, either way."""
        return max(self.side_quantity(key, Side.BUY), self.side_quantity(key, Side.SELL))

    def quantities(self) -> Iterator[tuple[str, Decimal]]:
        """(key, largest possible quantity) of everything held or ordered."""
        for key in sorted({*self.held, *self.buys, *self.sells}):
            quantity = self.quantity(key)
            if quantity:
                yield key, quantity
