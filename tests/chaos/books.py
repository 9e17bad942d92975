"""Both books side by side: what the venue has in its own file, and what we have in our store."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from kontor.domain.fill import Fill
from kontor.domain.identity import EXTERNAL
from kontor.domain.market import Market
from kontor.domain.order import FINISHED, Order, OrderState

S = OrderState
STATES = {"live": S.ACCEPTED, "partially_filled": S.PARTIALLY_FILLED, "filled": S.FILLED, "canceled": S.CANCELED}


@dataclass(frozen=True)
class VenueOrder:
    """A line of the venue's books, in base currency."""

    venue_order_id: str
    client_order_id: str
    state: OrderState
    filled: Decimal


@dataclass
class Verdict:
    """How the books differ, one sentence per difference."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    untracked: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.duplicated or self.untracked or self.stuck)

    @property
    def figures(self) -> str:
        names = ("lost", "duplicated", "untracked", "stuck")
        return " ".join(f"{name}={len(getattr(self, name))}" for name in names)


def read_books(path: Path, account: str, markets: Mapping[str, Market]) -> tuple[list[VenueOrder], dict[str, Decimal]]:
    """The venue's orders, and its fills by symbol and trade id, straight from its file."""
    contracts = {str(market.raw["id"]): market for market in markets.values()}
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as books:
        orders = [
            VenueOrder(venue_id, client_id, STATES[state], Decimal(filled) * contracts[inst].contract_size)
            for venue_id, client_id, state, filled, inst in books.execute(
                "SELECT ord_id, cl_ord_id, state, acc_fill_sz, inst_id FROM orders WHERE account = ?", (account,)
            )
        ]
        fills = {
            f"{contracts[inst].symbol} {trade_id}": Decimal(quantity) * contracts[inst].contract_size
            for trade_id, quantity, inst in books.execute(
                "SELECT trade_id, fill_sz, inst_id FROM fills WHERE account = ?", (account,)
            )
        }
    return orders, fills


def compare(
    theirs: Sequence[VenueOrder], their_fills: Mapping[str, Decimal], ours: Sequence[Order], our_fills: Sequence[Fill]
) -> Verdict:
    """Order by order and fill by fill."""
    verdict = Verdict()
    by_venue_id = {order.venue_order_id: order for order in ours if order.venue_order_id}
    at_venue = {order.venue_order_id for order in theirs}
    for name, count in Counter(order.client_order_id for order in theirs).items():
        if count > 1:
            verdict.duplicated.append(f"{name} is at the venue {count} times")
    for line in theirs:
        _compare_order(line, by_venue_id.get(line.venue_order_id), verdict)
    for order in ours:
        if order.state not in FINISHED:
            verdict.stuck.append(f"{order.client_order_id} is {order.state} since {order.unknown_since}")
        if order.venue_order_id and order.venue_order_id not in at_venue:
            verdict.lost.append(f"{order.client_order_id} has {order.venue_order_id}, which the venue never had")
    _compare_fills(their_fills, ours, our_fills, verdict)
    return verdict


def _compare_order(line: VenueOrder, order: Order | None, verdict: Verdict) -> None:
    if order is None or order.strategy == EXTERNAL:
        verdict.untracked.append(f"{line.client_order_id} ({line.venue_order_id}) is {line.state} at the venue only")
    elif (order.state, order.filled_quantity) != (line.state, line.filled):
        verdict.lost.append(
            f"{line.client_order_id} is {line.state} {line.filled} there, {order.state} {order.filled_quantity} here"
        )


def _compare_fills(
    theirs: Mapping[str, Decimal], orders: Sequence[Order], ours: Sequence[Fill], verdict: Verdict
) -> None:
    booked = Counter(f"{fill.symbol} {fill.trade_id}" for fill in ours)
    quantities = {f"{fill.symbol} {fill.trade_id}": fill.quantity for fill in ours}
    for name, quantity in theirs.items():
        if quantities.get(name) != quantity:
            verdict.lost.append(f"fill {name} of {quantity} there, {quantities.get(name)} here")
    for name, count in booked.items():
        if count > 1 or name not in theirs:
            verdict.duplicated.append(f"fill {name} is booked {count} times, {name in theirs} at the venue")
    sums: defaultdict[str | None, Decimal] = defaultdict(Decimal)
    for fill in ours:
        sums[fill.client_order_id] += fill.quantity
    for order in orders:
        booked_quantity = sums[order.client_order_id]
        if booked_quantity != order.filled_quantity:
            verdict.lost.append(
                f"{order.client_order_id} is filled {order.filled_quantity}, its fills are {booked_quantity}"
            )
