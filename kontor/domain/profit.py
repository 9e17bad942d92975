"""Profit and loss, folded from the ledger's rows: by strategy, symbol and trading day. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from decimal import Decimal

from kontor.domain.attribution import share_out
from kontor.domain.ledger import EntryKind, LedgerEntry, Pair, base_fee

_NOTHING = Decimal(0)
MANUAL = "manual"
# What is shared out is shared in parts of this size, so that the parts sum to the whole.
_FINE = Decimal("1e-12")


@dataclass(slots=True)
class Holding:
    """A position as the ledger follows it, at mean entry price."""

    quantity: Decimal = _NOTHING
    entry_price: Decimal = _NOTHING

    def trade(self, change: Decimal, price: Decimal) -> Decimal:
        """Buy (positive) or sell; returns the profit that this realizes."""
        held, total = self.quantity, self.quantity + change
        self.quantity = total
        if held * change >= 0:
            self.entry_price = (self.entry_price * held + price * change) / total if total else _NOTHING
            return _NOTHING
        closed = min(abs(change), abs(held)) * (1 if held > 0 else -1)
        realized = (price - self.entry_price) * closed
        if not total:
            self.entry_price = _NOTHING
        elif total * held < 0:
            self.entry_price = price
        return realized


@dataclass(slots=True)
class ProfitAndLoss:
    """Of one strategy on one symbol and day, in the symbol's quote currency; `fees` are positive when paid.

    `unvalued` are fees, and interest, in coins that had no price when they were booked, positive when paid; they are in
    no sum.
    """

    day: str
    strategy: str
    symbol: str
    realized: Decimal = _NOTHING
    fees: Decimal = _NOTHING
    funding: Decimal = _NOTHING
    trades: int = 0
    turnover: Decimal = _NOTHING
    unvalued: dict[str, Decimal] = field(default_factory=dict)

    @property
    def net(self) -> Decimal:
        """What is left."""
        return self.realized - self.fees + self.funding


def profit_and_loss(
    entries: Iterable[LedgerEntry], zone: tzinfo, opening: Mapping[str, Decimal] | None = None
) -> list[ProfitAndLoss]:
    """By day in a time zone, strategy and symbol; `entries` from the first one on, oldest first.

    With `opening`, what was held before the first entry by exposure key, a trade by hand that closes more than people
    hold is the strategies' whose positions it closes, as their virtual positions say; None: nothing is shared out.

    Funding is shared out among the strategies by what each held on the symbol at that moment; what people hold by hand
    is a strategy named `manual`. Transfers are no profit and appear nowhere.
    """
    book = _Book(zone, opening)
    for entry in entries:
        book.add(entry)
    return sorted(book.lines.values(), key=lambda line: (line.day, line.strategy, line.symbol))


def gains(
    entries: Iterable[LedgerEntry], zone: tzinfo, opening: Mapping[str, Decimal] | None = None
) -> Iterator[tuple[LedgerEntry, Decimal | None]]:
    """Each entry with what it realized, in its symbol's quote currency; None for what is no trade.

    They sum to the `realized` of `profit_and_loss`.
    """
    book = _Book(zone, opening)
    for entry in entries:
        yield entry, book.add(entry)


class _Book:
    def __init__(self, zone: tzinfo, opening: Mapping[str, Decimal] | None = None) -> None:
        self._zone, self._opening = zone, opening
        self._holdings: dict[tuple[str, str], Holding] = {}
        self.lines: dict[tuple[str, str, str], ProfitAndLoss] = {}

    def add(self, entry: LedgerEntry) -> Decimal | None:
        """Count one more entry; returns what a trade realized."""
        if entry.quantity is not None and entry.price is not None and entry.symbol is not None:
            return self._trade(entry, entry.symbol, entry.quantity, entry.price)
        if entry.kind in {EntryKind.FUNDING, EntryKind.INTEREST, EntryKind.OTHER} and entry.amount is not None:
            self._carry(entry, entry.amount)
        return None

    def _trade(self, entry: LedgerEntry, symbol: str, quantity: Decimal, price: Decimal) -> Decimal:
        strategy = entry.strategy or MANUAL
        change = quantity - base_fee(entry)
        # Who trades how much: one, but for a close by hand of what strategies hold.
        parts = {(strategy, symbol): change}
        if entry.strategy is None and self._opening is not None:
            parts = self._closed_by_hand(symbol, change, self._opening)
        total = _NOTHING
        for (name, where), part in parts.items():
            line = self._line(entry.at, name, where)
            realized = self._holding(name, where).trade(part, price)
            total += realized
            line.realized += realized
            line.trades += 1
            line.turnover += abs(part if len(parts) > 1 else quantity) * price
        # Whoever closed pays.
        self._fee(entry, symbol, price, self._line(entry.at, *next(iter(parts))))
        return total

    def _closed_by_hand(
        self, symbol: str, change: Decimal, opening: Mapping[str, Decimal]
    ) -> dict[tuple[str, str], Decimal]:
        key = _exposure(symbol)
        here = {name: each.quantity for name, each in self._holdings.items() if _exposure(name[1]) == key}
        by_hand = opening.get(key, _NOTHING) + sum((q for (name, _), q in here.items() if name == MANUAL), _NOTHING)
        taken, _ = share_out(change, by_hand, {name: q for name, q in here.items() if q and name[0] != MANUAL})
        left = change - sum(taken.values(), _NOTHING)
        return ({(MANUAL, symbol): left} if left or not taken else {}) | taken

    @staticmethod
    def _fee(entry: LedgerEntry, symbol: str, price: Decimal, line: ProfitAndLoss) -> None:
        if not entry.fee or entry.fee_currency is None:
            return
        pair = Pair.of(symbol)
        known: Mapping[str, Decimal | None] = {pair.base: price, pair.quote: Decimal(1)}
        worth = known.get(entry.fee_currency, entry.coin_price)
        if worth is None:
            line.unvalued[entry.fee_currency] = line.unvalued.get(entry.fee_currency, _NOTHING) + entry.fee
        else:
            line.fees += entry.fee * worth

    def _carry(self, entry: LedgerEntry, amount: Decimal) -> None:
        symbol = entry.symbol or entry.currency or ""
        worth = _worth(entry)
        if worth is None:
            unvalued = self._line(entry.at, MANUAL, symbol).unvalued
            unvalued[str(entry.currency)] = unvalued.get(str(entry.currency), _NOTHING) - amount
            return
        held = {
            strategy: holding.quantity
            for (strategy, name), holding in self._holdings.items()
            if name == symbol and holding.quantity
        }
        total = sum(held.values(), _NOTHING)
        shares = {strategy: quantity / total for strategy, quantity in held.items()} if total else {MANUAL: Decimal(1)}
        left = amount * worth
        for number, (strategy, share) in enumerate(sorted(shares.items()), 1):
            # The last one takes what rounding leaves, so that the parts sum to the whole.
            part = left if number == len(shares) else (amount * worth * share).quantize(_FINE)
            left -= part
            self._line(entry.at, strategy, symbol).funding += part

    def _holding(self, strategy: str, symbol: str) -> Holding:
        return self._holdings.setdefault((strategy, symbol), Holding())

    def _line(self, at: datetime, strategy: str, symbol: str) -> ProfitAndLoss:
        key = at.astimezone(self._zone).date().isoformat(), strategy, symbol
        return self.lines.setdefault(key, ProfitAndLoss(*key))


def _exposure(symbol: str) -> str:
    """What a holding is counted under: a swap by its symbol, a coin by its name."""
    pair = Pair.of(symbol)
    return pair.base if pair.settle is None else symbol


def _worth(entry: LedgerEntry) -> Decimal | None:
    """What one of a bill's currency is worth where its profit and loss is counted; None where nobody knew."""
    if entry.symbol:
        pair = Pair.of(entry.symbol)
        if entry.currency in {None, pair.settle or pair.quote}:
            return Decimal(1)
    return entry.coin_price
