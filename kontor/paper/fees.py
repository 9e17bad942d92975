"""Which currency a fee is paid in, and how much of it."""

from __future__ import annotations

from decimal import Decimal

from kontor.paper.accounts import Account
from kontor.paper.margin import USD, Prices
from kontor.paper.model import ZERO, Instrument, VenueError

BASE, QUOTE = "base", "quote"
_PLACES = Decimal("1e-12")


def fee_of(
    account: Account,
    instrument: Instrument,
    side: str,
    quantity: Decimal,
    value: Decimal,
    rate: Decimal,
    prices: Prices,
) -> tuple[Decimal, str]:
    """A fill's fee, negative when it is charged, and its currency.

    OKX takes it from what the trade brings in: the settlement currency of a swap, the base currency of a buy, the
    quote currency of a sale. An account may be set to pay in base, in quote, or in a coin of its own; where that is
    not there in full, OKX's own rule holds.
    """
    swap, base, quote = instrument.is_swap, instrument.base_ccy, instrument.quote_ccy
    usual = (value * rate, quote) if swap or side == "sell" else (quantity * rate, base)
    wanted = {"": usual[1], BASE: base, QUOTE: quote}.get(account.fee_ccy, account.fee_ccy)
    if wanted == usual[1] or (swap and account.fee_ccy == BASE):
        return usual
    if wanted == quote:
        return value * rate, quote
    price = quote_price(wanted, instrument, quantity, value, prices)
    fee = (value * rate / price).quantize(_PLACES) if price else ZERO
    free = account.cash.get(wanted, ZERO) - account.frozen.get(wanted, ZERO)
    if wanted == base and side == "sell":
        free -= quantity
    return (fee, wanted) if fee and free >= -fee else usual


def quote_price(ccy: str, instrument: Instrument, quantity: Decimal, value: Decimal, prices: Prices) -> Decimal | None:
    """What a unit of a currency is worth in dollars; None where nothing is listed that tells."""
    if ccy == USD:
        return Decimal(1)
    if ccy == instrument.base_ccy and not instrument.is_swap:
        return value / quantity
    for inst_id in (f"{ccy}-USD", f"{ccy}-USD-SWAP"):
        try:
            listed, last = prices(inst_id)
        except VenueError:
            continue
        return last * listed.tick_sz
    return None
