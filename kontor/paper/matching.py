"""Who trades with whom: pure decisions about an arriving order and about resting orders at a tick. Nothing is changed
here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from kontor.paper.book import UserBook
from kontor.paper.depth import Levels
from kontor.paper.model import ZERO, Leg, Order


class Match(NamedTuple):
    """Lots at a price; `maker` is None for the crowd."""

    px_ticks: int
    lots: int
    maker: Order | None


class RestingFill(NamedTuple):
    """A resting order's fill by the crowd."""

    order: Order
    lots: int


@dataclass(slots=True)
class Plan:
    """What an arriving order would do."""

    matches: list[Match] = field(default_factory=list)
    lots: int = 0  # matched
    self_trades: list[Order] = field(default_factory=list)  # own resting orders in the way, to be canceled
    taker_stopped: bool = False  # by self-trade prevention

    def avoid(self, own: Order, stp_mode: str) -> None:
        """Keep the arriving order from trading with this one of the same account."""
        if stp_mode != "cancel_taker":
            self.self_trades.append(own)
        self.taker_stopped = stp_mode != "cancel_maker"


def opposite(side: str) -> str:
    """The side an order of `side` trades against."""
    return "sell" if side == "buy" else "buy"


def _offers(book: UserBook, side: str, crowd: Levels) -> Iterator[tuple[int, int, Order | None]]:
    """Everything that rests on `side`, best price first; at one price users stand before the crowd."""
    ahead = (lambda a, b: a >= b) if side == "buy" else (lambda a, b: a <= b)
    users = ((price, order.lots - order.lots_filled, order) for price, level in book.levels(side) for order in level)
    user = next(users, None)
    for price, lots in crowd:
        while user is not None and ahead(user[0], price):
            yield user
            user = next(users, None)
        yield price, lots, None
    while user is not None:
        yield user
        user = next(users, None)


@dataclass(frozen=True, slots=True)
class Demand:
    """What an arriving order asks for: lots within a limit in ticks, and within a budget (`lot_price` is money per
    lot and tick).
    """

    side: str
    lots: int
    limit: int | None
    account: str
    stp_mode: str
    budget: Decimal | None = None
    lot_price: Decimal = ZERO

    def accepts(self, price: int) -> bool:
        """Whether a price is within the limit."""
        return self.limit is None or (price <= self.limit if self.side == "buy" else price >= self.limit)


def plan(book: UserBook, crowd: Levels, demand: Demand, closable: Callable[[Order], int]) -> Plan:
    """Who would trade with it, best price first. `closable` is how many lots a reduce-only order's position still
    allows.
    """
    result, used = Plan(), Counter[tuple[str, Leg]]()
    left, budget = demand.lots, demand.budget
    for price, offered, maker in _offers(book, opposite(demand.side), crowd):
        if left <= 0 or result.taker_stopped or not demand.accepts(price):
            break
        if maker is not None and maker.account == demand.account:
            result.avoid(maker, demand.stp_mode)
            continue
        taken = min(left, offered)
        if maker is not None and maker.reduce_only:
            taken = min(taken, closable(maker) - used[maker.account, maker.leg])
            if taken <= 0:
                continue
        if budget is not None:
            taken = min(taken, int(budget / (price * demand.lot_price)))
            budget -= taken * price * demand.lot_price
        if taken == 0:
            break
        result.matches.append(Match(price, taken, maker))
        if maker is not None:
            used[maker.account, maker.leg] += taken
        result.lots += taken
        left -= taken
    return result


def resting_fills(book: UserBook, side: str, last: int, crowd: Levels, traded: int) -> list[RestingFill]:
    """What the crowd does to a side's resting orders at a tick with this last price.

    An order is reached once the market trades at its price or through it. It then gets what the crowd offers at its
    price or better, plus what was `traded` at the last price; whoever stands before it takes from the same lots
    first.
    """
    fills: list[RestingFill] = []
    used = 0
    for price, level in book.levels(side):
        if (price < last) if side == "buy" else (price > last):
            break
        reach = traded + sum(lots for at, lots in crowd if (at <= price if side == "buy" else at >= price))
        for order in level:
            lots = min(order.lots - order.lots_filled, reach - used)
            if lots <= 0:
                break
            fills.append(RestingFill(order, lots))
            used += lots
    return fills
