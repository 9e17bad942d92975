"""A small paper venue on a clock that only moves when a test says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kontor.paper.algos.model import AlgoOrder
from kontor.paper.clock import ManualClock
from kontor.paper.model import AccountConfig, OrderAck, VenueConfig
from kontor.paper.venue import Venue
from tests.unit.paper.algos import body

START = 1_760_000_000_000
ACCOUNTS = (
    AccountConfig("paper", "key", "secret", "phrase"),
    AccountConfig("second", "key2", "secret2", "phrase2", parent="paper"),
)
Open = Callable[..., Venue]
Place = Callable[..., OrderAck]
Stop = Callable[..., AlgoOrder]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def open_venue(clock: ManualClock) -> Iterator[Callable[..., Venue]]:
    opened: list[Venue] = []

    def open_(path: Path | None = None, **changes: Any) -> Venue:
        settings = {"markets": 16, "seed": 11, "accounts": ACCOUNTS} | changes
        opened.append(Venue(VenueConfig(**settings), clock=clock, path=path))
        return opened[-1]

    yield open_
    for venue in opened:
        venue.close()


@pytest.fixture
def venue(open_venue: Callable[..., Venue]) -> Venue:
    return open_venue()


@pytest.fixture
def place(venue: Venue) -> Place:
    """Place an order; px is in ticks from the last price when it is an int."""

    def place_(side: str, sz: object, inst_id: str = "BTC-USD-SWAP", account: str = "paper", **more: Any) -> OrderAck:
        instrument = venue.instrument(inst_id)
        px = more.pop("px", None)
        if isinstance(px, int):
            px = venue.mark_price(inst_id) + px * instrument.tick_sz
        body = {
            "instId": inst_id,
            "tdMode": "cross" if instrument.is_swap else "cash",
            "side": side,
            "ordType": "market" if px is None else "limit",
            "sz": str(sz),
            **({} if px is None else {"px": str(px)}),
            **more,
        }
        return venue.place_order(account, body)

    return place_


@pytest.fixture
def stop(venue: Venue) -> Stop:
    """Places an algo order; prices in ticks from the last one when they are ints."""

    def stop_(account: str = "paper", **changes: Any) -> AlgoOrder:
        given = body(**changes)
        instrument = venue.instrument(given["instId"])
        for name in ("slTriggerPx", "tpTriggerPx", "triggerPx", "activePx"):
            if isinstance(given.get(name), int):
                given[name] = str(venue.mark_price(instrument.inst_id) + given[name] * instrument.tick_sz)
        ack = venue.place_algo(account, given)
        assert ack.s_code == "0", ack
        return venue.algo(account, ack.algo_id)

    return stop_


@pytest.fixture
def usd(venue: Venue) -> Callable[..., Decimal]:
    """The cash of an account."""

    def usd_(account: str = "paper") -> Decimal:
        return venue.balance(account, ["USD"]).details[0].cash_bal

    return usd_
