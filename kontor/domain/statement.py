"""Our ledger held against the venue's account statement, currency by currency. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from kontor.domain.ledger import Bill, LedgerEntry, Pair
from kontor.domain.profit import Holding

_NOTHING = Decimal(0)


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
