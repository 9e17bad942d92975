"""A venue's own books: orders by both ids, fills, positions; it knows nothing of networks or of us."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from kontor.domain.account import Balance, CurrencyBalance, Position, PositionSide
from kontor.domain.fill import Fill
from kontor.domain.ledger import Bill
from kontor.domain.market import Market, MarketKind, Ticker
from kontor.domain.order import Order, OrderReport, OrderState, OrderType, Side
from kontor.domain.outside import Transfer
from kontor.errors import AlreadyPlaced, InvalidOrder, OrderNotFound

PRICE = Decimal(100)


def market(symbol: str, kind: MarketKind = MarketKind.SWAP) -> Market:
    """A market in steps of 0.01 base and 0.1 quote."""
    base, _, rest = symbol.partition("/")
    quote = rest.split(":")[0]
    return Market(
        symbol=symbol,
        kind=kind,
        base=base,
        quote=quote,
        settle=quote if kind is MarketKind.SWAP else None,
        active=True,
        contract_size=Decimal(1),
        quantity_step=Decimal("0.01"),
        price_step=Decimal("0.1"),
        min_quantity=Decimal("0.01"),
        min_cost=Decimal(1) if kind is MarketKind.SPOT else None,
    )


SYMBOLS = ("BTC/USD:USD", "ETH/USD:USD", "SOL/USD:USD", "XRP/USD:USD")
MARKETS: Mapping[str, Market] = {
    **{symbol: market(symbol) for symbol in SYMBOLS},
    "BTC/USD": market("BTC/USD", MarketKind.SPOT),
}


@dataclass
class Venue:
    """Accepts an order per client id once; market orders fill at once, limit orders rest until `fill` is called."""

    accepted: Counter[str] = field(default_factory=Counter)
    orders: dict[str, OrderReport] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    markets: Mapping[str, Market] = field(default_factory=lambda: MARKETS)
    cash: Decimal = Decimal(100_000)
    # None is a venue that does not tell.
    transfers: list[Transfer] | None = None
    bills: list[Bill] | None = None
    most_bills: int = 10_000
    # Coins that no trade here brought, and markets that have no last price.
    coins: dict[str, Decimal] = field(default_factory=dict)
    unpriced: set[str] = field(default_factory=set)

    def accept(self, order: Order, at: datetime) -> OrderReport:
        """Take an order; a client id that is known is refused, as every venue with such ids does."""
        if any(known.client_order_id == order.client_order_id for known in self.orders.values()):
            raise AlreadyPlaced(f"client order id {order.client_order_id} is known", code="51016")
        if order.symbol not in self.markets:
            raise InvalidOrder(f"no such market: {order.symbol}")
        self.accepted[order.client_order_id] += 1
        report = self.put(
            OrderReport(
                symbol=order.symbol,
                side=order.side,
                order_type=order.order_type,
                state=OrderState.ACCEPTED,
                quantity=order.quantity,
                filled_quantity=Decimal(0),
                venue_order_id=str(1000 + len(self.orders)),
                at=at,
                client_order_id=order.client_order_id,
                price=order.price,
                reduce_only=order.reduce_only,
                created_at=at,
            )
        )
        if order.is_stop:
            self.put(replace(report, trigger_price=order.trigger_price))
        if order.order_type is OrderType.MARKET:
            self.fill(report.venue_order_id, order.quantity, at)
        # A venue's receipt tells the id only; what has been filled must be asked.
        return report

    def put(self, report: OrderReport) -> OrderReport:
        """Have this order in the books, also one that did not come from us."""
        self.orders[report.venue_order_id] = report
        return report

    def fill(self, venue_order_id: str, quantity: Decimal, at: datetime, price: Decimal = PRICE) -> Fill:
        """Trade a part of an open order."""
        report = self.orders[venue_order_id]
        filled = report.filled_quantity + quantity
        cost = (report.average_price or Decimal(0)) * report.filled_quantity + price * quantity
        state = OrderState.FILLED if filled >= report.quantity else OrderState.PARTIALLY_FILLED
        self.put(replace(report, filled_quantity=filled, state=state, average_price=cost / filled, at=at))
        fill = Fill(
            trade_id=f"t{len(self.fills) + 1}",
            symbol=report.symbol,
            side=report.side,
            quantity=quantity,
            price=price,
            filled_at=at,
            venue_order_id=venue_order_id,
            client_order_id=report.client_order_id,
        )
        self.fills.append(fill)
        return fill

    def trade_at(self, symbol: str, price: Decimal, at: datetime) -> list[Fill]:
        """The price moves there: stops that it crosses become orders with ids of their own, cut to what is held."""
        fired: list[Fill] = []
        for stop in [o for o in self.open_orders() if o.symbol == symbol and o.trigger_price is not None]:
            trigger, held = stop.trigger_price or price, self.holding(symbol)
            if price > trigger if stop.side is Side.SELL else price < trigger:
                continue
            quantity = min(stop.quantity, max(held if stop.side is Side.SELL else -held, Decimal(0)))
            del self.orders[stop.venue_order_id]
            became = self.put(replace(stop, venue_order_id=f"{stop.venue_order_id}x", at=at))
            if quantity:
                fired.append(self.fill(became.venue_order_id, quantity, at, price))
            if quantity < stop.quantity:
                self.put(replace(self.orders[became.venue_order_id], state=OrderState.CANCELED))
        return fired

    def cancel(self, report: OrderReport, at: datetime) -> None:
        """Cancel what is left of an order; a finished one is not found."""
        if report.state not in {OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED}:
            raise OrderNotFound(f"order {report.venue_order_id} is {report.state}")
        self.put(replace(report, state=OrderState.CANCELED, at=at))

    def find(self, client_order_id: str | None, venue_order_id: str | None) -> OrderReport:
        """One order by either id."""
        for report in self.orders.values():
            if venue_order_id is not None and report.venue_order_id == venue_order_id:
                return report
            if venue_order_id is None and client_order_id is not None and report.client_order_id == client_order_id:
                return report
        raise OrderNotFound(f"no order {client_order_id or venue_order_id}")

    def open_orders(self) -> list[OrderReport]:
        """What rests in the book."""
        return [o for o in self.orders.values() if o.state in {OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED}]

    def holding(self, symbol: str) -> Decimal:
        """What the fills on a symbol sum to, signed."""
        return sum((f.signed_quantity for f in self.fills if f.symbol == symbol), Decimal(0))

    def positions(self, at: datetime) -> Sequence[Position]:
        """Open swap positions."""
        held = {s: self.holding(s) for s, m in self.markets.items() if m.kind is MarketKind.SWAP}
        return [
            Position(
                symbol=symbol,
                side=PositionSide.LONG if quantity > 0 else PositionSide.SHORT,
                quantity=abs(quantity),
                entry_price=PRICE,
                mark_price=PRICE,
                unrealized_pnl=Decimal(0),
                notional=abs(quantity) * PRICE,
                leverage=Decimal(1),
                margin_mode="cross",
                at=at,
            )
            for symbol, quantity in held.items()
            if quantity
        ]

    def balance(self, at: datetime) -> Balance:
        """Cash in USD, and what spot trades bought."""
        spot = {m.base: self.holding(s) for s, m in self.markets.items() if m.kind is MarketKind.SPOT}
        cost = sum((f.signed_quantity * f.price for f in self.fills if self._is_spot(f.symbol)), Decimal(0))
        cash = self.cash - cost
        for name, quantity in self.coins.items():
            spot[name] = spot.get(name, Decimal(0)) + quantity
        currencies = {name: CurrencyBalance(held, Decimal(0), held) for name, held in spot.items() if held}
        currencies["USD"] = CurrencyBalance(cash, Decimal(0), cash)
        return Balance("USD", cash, cash, Decimal(0), at, currencies)

    def tickers(self, at: datetime) -> dict[str, Ticker]:
        """Everything trades at PRICE."""
        return {symbol: Ticker(symbol, PRICE, at) for symbol in self.markets if symbol not in self.unpriced}

    def _is_spot(self, symbol: str) -> bool:
        return symbol in self.markets and self.markets[symbol].kind is MarketKind.SPOT

    def side_of(self, symbol: str) -> Side | None:
        """Which way the holding is, None when flat."""
        held = self.holding(symbol)
        return None if not held else Side.BUY if held > 0 else Side.SELL


class LockingVenue(Venue):
    """Sales that rest lock the coins they would sell, as on every spot market."""

    def balance(self, at: datetime) -> Balance:
        found = super().balance(at)
        sales = [each for each in self.open_orders() if self._is_spot(each.symbol) and each.side is Side.SELL]
        locked = sum((each.quantity - each.filled_quantity for each in sales), Decimal(0))
        coins: Mapping[str, CurrencyBalance] = {
            name: CurrencyBalance(each.total - locked, locked, each.total) if name == "BTC" else each
            for name, each in found.currencies.items()
        }
        return replace(found, currencies=coins)
