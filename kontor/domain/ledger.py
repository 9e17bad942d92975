"""The ledger: what moved the account's money, row by row with its source, and the profit and loss it comes to. Pure.

A row is made of a fill, or of a bill of the venue that no fill tells (funding, transfers, interest). Rows are facts and
are never changed; profit and loss are computed from them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from decimal import Decimal
from enum import StrEnum

from kontor.domain.attribution import share_out
from kontor.domain.fill import Fill, FillCause

_NOTHING = Decimal(0)
MANUAL = "manual"
# What is shared out is shared in parts of this size, so that the parts sum to the whole.
_FINE = Decimal("1e-12")


class EntryKind(StrEnum):
    """What moved the money."""

    TRADE = "trade"
    # The venue itself closed a position: liquidation or auto-deleveraging.
    LIQUIDATION = "liquidation"
    FUNDING = "funding"
    # Money that came or left by anything but trading; it is no profit and no loss.
    TRANSFER = "transfer"
    INTEREST = "interest"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Bill:
    """One movement of money in the venue's own account statement; `change` is signed. Fills tell TRADEs."""

    bill_id: str
    kind: EntryKind
    currency: str
    change: Decimal
    at: datetime
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One row. `quantity` is signed base currency of a trade, `amount` signed money in `currency` of anything else.

    `fee` is positive when paid; `coin_price` is what one `fee_currency` (of a trade) or one `currency` (of a bill) was
    worth in the capital currency when it was booked, None where nobody knew.
    """

    source_id: str
    kind: EntryKind
    at: datetime
    symbol: str | None = None
    # Of the order behind a trade; None for trades by hand and for what belongs to the account as a whole.
    strategy: str | None = None
    client_order_id: str | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    currency: str | None = None
    amount: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    coin_price: Decimal | None = None


def entry_of_fill(fill: Fill, strategy: str | None, coin_price: Decimal | None) -> LedgerEntry:
    """The row of a fill."""
    forced = fill.cause in {FillCause.LIQUIDATION, FillCause.AUTO_DELEVERAGING}
    return LedgerEntry(
        source_id=f"fill:{fill.symbol}:{fill.trade_id}",
        kind=EntryKind.LIQUIDATION if forced else EntryKind.TRADE,
        at=fill.filled_at,
        symbol=fill.symbol,
        strategy=strategy,
        client_order_id=fill.client_order_id,
        quantity=fill.signed_quantity,
        price=fill.price,
        fee=fill.fee,
        fee_currency=fill.fee_currency,
        coin_price=coin_price,
    )


def entry_of_bill(bill: Bill, coin_price: Decimal | None) -> LedgerEntry:
    """The row of a bill that no fill tells."""
    return LedgerEntry(
        source_id=f"bill:{bill.bill_id}",
        kind=bill.kind,
        at=bill.at,
        symbol=bill.symbol,
        currency=bill.currency,
        amount=bill.change,
        coin_price=coin_price,
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """What a unified symbol names: `BTC/USD` is spot, `BTC/USD:USD` a swap that settles in what follows the colon."""

    base: str
    quote: str
    settle: str | None

    @classmethod
    def of(cls, symbol: str) -> "Pair":
        """Also of a symbol that the venue has delisted meanwhile."""
        base, _, rest = symbol.partition("/")
        quote, _, settle = rest.partition(":")
        return cls(base, quote, settle or None)


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


def base_fee(entry: LedgerEntry) -> Decimal:
    """What of a spot trade was kept back in its base currency, and is not held."""
    if not entry.fee or entry.symbol is None:
        return _NOTHING
    pair = Pair.of(entry.symbol)
    return entry.fee if pair.settle is None and entry.fee_currency == pair.base else _NOTHING


def money_moved(entries: Iterable[LedgerEntry], since: datetime | None = None) -> dict[str, Decimal]:
    """By how much each currency of the account changed (since a moment), as its bills must say too.

    Entries from the first one on, oldest first: what a trade realizes depends on all before it.

    A swap moves its settlement currency by what it realizes on the account's one position, whoever held it.
    """
    moved: dict[str, Decimal] = {}
    holdings: dict[str, Holding] = {}
    is_counted = True

    def move(currency: str | None, change: Decimal) -> None:
        if currency and change and is_counted:
            moved[currency] = moved.get(currency, _NOTHING) + change

    for entry in entries:
        is_counted = since is None or entry.at >= since
        if entry.quantity is not None and entry.price is not None and entry.symbol is not None:
            pair = Pair.of(entry.symbol)
            if pair.settle is None:
                move(pair.base, entry.quantity)
                move(pair.quote, -entry.quantity * entry.price)
            else:
                move(pair.settle, holdings.setdefault(entry.symbol, Holding()).trade(entry.quantity, entry.price))
        elif entry.amount is not None:
            move(entry.currency, entry.amount)
        move(entry.fee_currency, -(entry.fee or _NOTHING))
    return moved


def billed(bills: Iterable[Bill]) -> dict[str, Decimal]:
    """By how much the venue's bills say that each currency changed."""
    moved: dict[str, Decimal] = {}
    for bill in bills:
        moved[bill.currency] = moved.get(bill.currency, _NOTHING) + bill.change
    return moved


def apart(
    ours: Mapping[str, Decimal], theirs: Mapping[str, Decimal], *, cent: Decimal = Decimal("0.01")
) -> dict[str, Decimal]:
    """Where two accounts of the same money differ by half a cent or more: ours less theirs."""
    differences = {name: ours.get(name, _NOTHING) - theirs.get(name, _NOTHING) for name in {*ours, *theirs}}
    return {name: difference for name, difference in sorted(differences.items()) if abs(difference) * 2 >= cent}
