"""What moved an account from outside this desk: trades by hand, liquidations, transfers, and the unexplained. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from kontor.domain.fill import Fill, FillCause
from kontor.domain.market import Market, MarketKind
from kontor.domain.reconcile import Drift

_NOTHING = Decimal(0)


class OutsideKind(StrEnum):
    """What a move from outside was."""

    # A person, or another program, opened or added to a holding, or turned it around.
    TRADE = "trade"
    PARTIAL_CLOSE = "partial_close"
    CLOSE = "close"
    LIQUIDATION = "liquidation"
    AUTO_DELEVERAGING = "auto_deleveraging"
    TRANSFER = "transfer"
    # The venue has it, and neither fills nor its list of transfers say why.
    ADJUSTMENT = "adjustment"


_BY_CAUSE = {
    FillCause.LIQUIDATION: OutsideKind.LIQUIDATION,
    FillCause.AUTO_DELEVERAGING: OutsideKind.AUTO_DELEVERAGING,
}


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money that came to the account (positive) or left it, named by the venue's own id of it."""

    transfer_id: str
    currency: str
    quantity: Decimal
    at: datetime

    @property
    def name(self) -> str:
        """What it is called among the things a baseline has counted."""
        return f"transfer {self.transfer_id}"


@dataclass(frozen=True, slots=True)
class OutsideMove:
    """One booked move; `source_id` names what it was made from, so that it is booked once.

    `quantity` is signed: base currency of `symbol`, or an amount of `currency` where nothing was traded. A move with a
    `source_id` that begins with "fill:" is in the fills too.
    """

    source_id: str
    kind: OutsideKind
    at: datetime
    quantity: Decimal
    symbol: str | None = None
    currency: str | None = None
    price: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    # Our name for the adopted order behind it, where the venue still knew that order.
    client_order_id: str | None = None

    def __str__(self) -> str:
        price = f" at {self.price:f}" if self.price is not None else ""
        return f"{self.kind} {self.quantity:+f} {self.symbol or self.currency}{price} ({self.source_id})"


def moves_of_fills(
    held: Mapping[str, Decimal], fills: Iterable[tuple[Fill, bool]], markets: Mapping[str, Market]
) -> list[OutsideMove]:
    """The fills that are not this desk's (those with True), told apart by what they did to the holding before them.

    `held` are the signed holdings before all of the fills: swaps by symbol, spot by base currency.
    """
    holdings = dict(held)
    moves: list[OutsideMove] = []
    for fill, is_outside in sorted(fills, key=lambda pair: (pair[0].filled_at, pair[0].trade_id)):
        key = _holding_of(fill.symbol, markets)
        before = holdings.get(key, _NOTHING)
        holdings[key] = before + fill.signed_quantity
        if is_outside:
            moves.append(_move_of_fill(fill, before, holdings[key]))
    return moves


def move_of_transfer(transfer: Transfer) -> OutsideMove:
    """A transfer that the venue names."""
    return OutsideMove(
        source_id=f"transfer:{transfer.transfer_id}",
        kind=OutsideKind.TRANSFER,
        at=transfer.at,
        quantity=transfer.quantity,
        currency=transfer.currency,
    )


def move_of_drift(
    drift: Drift, *, since: datetime, at: datetime, is_symbol: bool, transfers_are_known: bool
) -> OutsideMove:
    """What is left over after fills and transfers, since the last time that everything was explained.

    A currency that only trades and transfers move was transferred, at a venue that does not list its transfers.
    """
    is_transfer = not is_symbol and not transfers_are_known
    return OutsideMove(
        source_id=f"drift:{since.isoformat()}:{drift.name}",
        kind=OutsideKind.TRANSFER if is_transfer else OutsideKind.ADJUSTMENT,
        at=at,
        quantity=drift.difference,
        symbol=drift.name if is_symbol else None,
        currency=None if is_symbol else drift.name,
    )


def with_transfers(balances: Mapping[str, Decimal], transfers: Iterable[Transfer]) -> dict[str, Decimal]:
    """Currency totals once the transfers have come and gone."""
    moved = dict(balances)
    for transfer in transfers:
        moved[transfer.currency] = moved.get(transfer.currency, _NOTHING) + transfer.quantity
    return moved


def _move_of_fill(fill: Fill, before: Decimal, after: Decimal) -> OutsideMove:
    kind = _BY_CAUSE.get(fill.cause) if fill.cause is not None else None
    return OutsideMove(
        source_id=f"fill:{fill.symbol}:{fill.trade_id}",
        kind=kind or _kind_of_trade(before, after),
        at=fill.filled_at,
        quantity=fill.signed_quantity,
        symbol=fill.symbol,
        price=fill.price,
        fee=fill.fee,
        fee_currency=fill.fee_currency,
        client_order_id=fill.client_order_id,
    )


def _kind_of_trade(before: Decimal, after: Decimal) -> OutsideKind:
    if before and not after:
        return OutsideKind.CLOSE
    if before * after > 0 and abs(after) < abs(before):
        return OutsideKind.PARTIAL_CLOSE
    return OutsideKind.TRADE


def _holding_of(symbol: str, markets: Mapping[str, Market]) -> str:
    market = markets.get(symbol)
    return market.base if market is not None and market.kind is MarketKind.SPOT else symbol
