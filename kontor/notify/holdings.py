"""What our fills have made of each position: opened, grown, closed, with what it earned."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from kontor.domain.fill import Fill

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Holding:
    """One symbol: signed base quantity, mean entry price, and P&L in the quote currency since it was opened."""

    quantity: Decimal = _NOTHING
    entry: Decimal = _NOTHING
    pnl: Decimal = _NOTHING


@dataclass(frozen=True, slots=True)
class Opened:
    """A position began with this holding."""

    symbol: str
    holding: Holding


@dataclass(frozen=True, slots=True)
class Closed:
    """A position ended: what it was, and the exit price; `holding.pnl` is what it earned."""

    symbol: str
    holding: Holding
    price: Decimal


def book(symbol: str, holding: Holding, fill: Fill) -> Iterator[tuple[Holding, Opened | Closed | None]]:
    """The holding after a fill, and what that means; twice when the fill turns a long position into a short one.

    Fees in the quote currency count against the P&L; those in the base currency, as on spot, against the quantity.
    """
    base, quote = currencies(symbol)
    fee = fill.fee or _NOTHING
    change = fill.signed_quantity - (fee if fill.fee_currency == base else _NOTHING)
    cost = fee if fill.fee_currency == quote else _NOTHING
    if holding.quantity * change >= 0:
        grown = _grown(holding, change, fill.price, cost)
        is_new = not holding.quantity and bool(grown.quantity)
        yield grown, Opened(symbol, grown) if is_new else None
        return
    closing = min(abs(change), abs(holding.quantity))
    direction = 1 if holding.quantity > 0 else -1
    earned = closing * (fill.price - holding.entry) * direction
    part = closing / abs(change)
    left = replace(holding, quantity=holding.quantity - closing * direction, pnl=holding.pnl + earned - cost * part)
    if left.quantity:
        yield left, None
        return
    yield Holding(), Closed(symbol, replace(left, quantity=holding.quantity), fill.price)
    rest = change + closing * direction
    if rest:
        turned = _grown(Holding(), rest, fill.price, cost * (1 - part))
        yield turned, Opened(symbol, turned)


def currencies(symbol: str) -> tuple[str, str]:
    """(base, quote) of a unified ccxt symbol."""
    base, _, quote = symbol.partition(":")[0].partition("/")
    return base, quote


def _grown(holding: Holding, change: Decimal, price: Decimal, cost: Decimal) -> Holding:
    quantity = holding.quantity + change
    entry = (holding.quantity * holding.entry + change * price) / quantity if quantity else _NOTHING
    return Holding(quantity, entry, holding.pnl - cost)
