"""Comparing our books with the venue's: who each order belongs to, and by how much holdings differ. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.identity import EXTERNAL, belongs_to, external_order_id, is_foreign
from kontor.domain.market import Market, MarketKind
from kontor.domain.order import FINISHED, Order, OrderReport, OrderState, apply_report

_NOTHING = Decimal(0)
# Venues keep balances in floats or to their own precision.
_RELATIVE_TOLERANCE = Decimal("1e-9")


@dataclass(slots=True)
class Matches:
    """The venue's open orders, sorted by what they are to us."""

    known: list[tuple[Order, OrderReport]] = field(default_factory=list)
    # Open there, closed here by our own word or an older report.
    contradicted: list[tuple[Order, OrderReport]] = field(default_factory=list)
    external: list[OrderReport] = field(default_factory=list)
    # Placed by another Kontor desk: two desks trade one account.
    foreign: list[OrderReport] = field(default_factory=list)


def match(
    reports: Iterable[OrderReport], ours: Mapping[str, Order], by_venue: Mapping[tuple[str, str], Order], prefix: str
) -> Matches:
    """Sort open orders of the venue; `ours` by client order id, `by_venue` by symbol and venue order id."""
    matches = Matches()
    for report in reports:
        order = by_venue.get((report.symbol, report.venue_order_id)) or ours.get(report.client_order_id or "")
        if order is not None:
            sort = matches.contradicted if order.state in FINISHED else matches.known
            sort.append((order, report))
        elif is_foreign(prefix, report.client_order_id):
            matches.foreign.append(report)
        else:
            matches.external.append(report)
    return matches


def adopted(report: OrderReport, account: str, prefix: str) -> Order:
    """An order of ours made from what the venue says of somebody else's.

    One with this desk's own prefix keeps its id: the store forgot it, after a restored backup for instance.
    """
    mine = report.client_order_id if belongs_to(prefix, report.client_order_id) else None
    created_at = report.created_at or report.at
    order = Order(
        client_order_id=mine or external_order_id(account, report.symbol, report.venue_order_id),
        account=account,
        symbol=report.symbol,
        side=report.side,
        order_type=report.order_type,
        quantity=report.quantity,
        created_at=created_at,
        price=report.price,
        reduce_only=report.reduce_only,
        trigger_price=report.trigger_price,
        strategy=EXTERNAL,
        actor=EXTERNAL,
        state=OrderState.ACCEPTED,
        venue_order_id=report.venue_order_id,
        submitted_at=created_at,
        updated_at=report.at,
    )
    return apply_report(order, report)


@dataclass(frozen=True, slots=True)
class Drift:
    """A holding that is not what our fills make it; `name` is a swap's symbol or a currency."""

    name: str
    expected: Decimal
    found: Decimal

    @property
    def difference(self) -> Decimal:
        """What the venue has more than expected."""
        return self.found - self.expected

    def __str__(self) -> str:
        return f"{self.name}: expected {self.expected:f}, found {self.found:f} ({self.difference:+f})"


def expected_positions(
    before: Mapping[str, Decimal], fills: Iterable[Fill], markets: Mapping[str, Market]
) -> dict[str, Decimal]:
    """Signed swap positions after the fills; `before` as they were."""
    positions = dict(before)
    for fill in fills:
        if (market := markets.get(fill.symbol)) is not None and market.kind is MarketKind.SWAP:
            positions[fill.symbol] = positions.get(fill.symbol, _NOTHING) + fill.signed_quantity
    return positions


def expected_balances(
    before: Mapping[str, Decimal], fills: Iterable[Fill], markets: Mapping[str, Market]
) -> dict[str, Decimal]:
    """Currency totals after the fills and their fees; `before` as they were."""
    balances = dict(before)
    for fill in fills:
        market = markets.get(fill.symbol)
        if market is None:
            continue
        if market.kind is MarketKind.SPOT:
            cost = fill.signed_quantity * fill.price
            balances[market.base] = balances.get(market.base, _NOTHING) + fill.signed_quantity
            balances[market.quote] = balances.get(market.quote, _NOTHING) - cost
        if fill.fee is not None and fill.fee_currency:
            balances[fill.fee_currency] = balances.get(fill.fee_currency, _NOTHING) - fill.fee
    return balances


def unsettled(balances: Mapping[str, Decimal], markets: Mapping[str, Market]) -> dict[str, Decimal]:
    """The currencies that only trades and transfers move.

    Those that swaps settle in are left out: profit, loss and funding move them by amounts that no fill names.
    """
    settling = {market.settle for market in markets.values() if market.kind is MarketKind.SWAP}
    return {name: total for name, total in balances.items() if name not in settling}


def drifts(expected: Mapping[str, Decimal], found: Mapping[str, Decimal]) -> tuple[Drift, ...]:
    """Where the venue differs from what was expected, by more than rounding."""
    pairs = [
        Drift(name, expected.get(name, _NOTHING), found.get(name, _NOTHING)) for name in sorted({*expected, *found})
    ]
    return tuple(drift for drift in pairs if abs(drift.difference) > _tolerance(drift))


def _tolerance(drift: Drift) -> Decimal:
    return _RELATIVE_TOLERANCE * max(abs(drift.expected), abs(drift.found), Decimal(1))


def positions_by_symbol(positions: Sequence[Position]) -> dict[str, Decimal]:
    """Signed quantity by symbol, long and short legs of a hedged account summed up."""
    found: dict[str, Decimal] = {}
    for position in positions:
        found[position.symbol] = found.get(position.symbol, _NOTHING) + position.signed_quantity
    return found


def totals(balance: Balance) -> dict[str, Decimal]:
    """Total by currency."""
    return {name: currency.total for name, currency in balance.currencies.items()}
