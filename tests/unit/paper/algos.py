"""What tests of algo orders share: a body, a price that jumps, and what is held."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from kontor.paper.venue import Venue
from tests.unit.paper.books import SWAP

HOUR = 3600


def body(**changes: Any) -> dict[str, Any]:
    return {
        "instId": SWAP,
        "tdMode": "cross",
        "side": "sell",
        "ordType": "conditional",
        "sz": "10",
        "reduceOnly": True,
        "slOrdPx": "-1",
    } | changes


def jump(venue: Venue, ticks: int, inst_id: str = SWAP) -> None:
    instrument = venue.instrument(inst_id)
    venue.set_price(inst_id, venue.mark_price(inst_id) + ticks * instrument.tick_sz)


def held(venue: Venue, account: str = "paper") -> Decimal:
    return sum((position.pos for position in venue.positions(account)), Decimal(0))
