"""What tests of an account's books share: its only position, its bills, and that they add up."""

from __future__ import annotations

from decimal import Decimal

from kontor.paper.holdings import Position
from kontor.paper.model import Bill
from kontor.paper.venue import Venue

SWAP = "BTC-USD-SWAP"
BUY = {"instId": SWAP, "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "100"}


def only(venue: Venue, account: str = "paper") -> Position:
    (position,) = venue.positions(account)
    return position


def bills(venue: Venue, kind: str, account: str = "paper") -> list[Bill]:
    return [bill for bill in venue.bills(account) if bill.kind == kind]


def adds_up(venue: Venue, account: str = "paper") -> None:
    """Every currency is the sum of its bills, and isolated margin that of theirs."""
    book = venue._engine.state.account(account)
    for ccy, cash in book.cash.items():
        told = sum((bill.change for bill in book.bills if bill.ccy == ccy), Decimal(0))
        assert cash == told, f"{account}: {cash} {ccy}, by its bills {told}"
    margins = sum((position.margin for position in book.positions.values()), Decimal(0))
    moved = sum((bill.pos_change for bill in book.bills), Decimal(0))
    assert margins == moved, f"{account}: margins of {margins}, by its bills {moved}"
