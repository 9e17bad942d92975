"""The ledger: what moved the account's money, row by row with its source. Pure.

A row is made of a fill, or of a bill of the venue that no fill tells (funding, transfers, interest). Rows are facts and
are never changed; profit and loss (`kontor.domain.profit`) are computed from them.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from kontor.domain.fill import Fill, FillCause

_NOTHING = Decimal(0)


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


def base_fee(entry: LedgerEntry) -> Decimal:
    """What of a spot trade was kept back in its base currency, and is not held."""
    if not entry.fee or entry.symbol is None:
        return _NOTHING
    pair = Pair.of(entry.symbol)
    return entry.fee if pair.settle is None and entry.fee_currency == pair.base else _NOTHING
