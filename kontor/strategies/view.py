"""What a strategy sees: its symbols with candles, prices and its own positions and orders, at one moment."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kontor.domain.account import Balance
from kontor.domain.intent import OrderIntent
from kontor.domain.market import NO_CANDLES, TIMEFRAMES, Candles, Market, MarketKind, Ticker
from kontor.domain.order import Order, OrderType, Side
from kontor.domain.ranges import Range
from kontor.domain.strategy_position import StrategyPosition
from kontor.domain.units import UnitFigures

if TYPE_CHECKING:
    from kontor.strategies.protocol import StrategyOrder

# Columns of candles.
OPEN, HIGH, LOW, CLOSE, VOLUME = 1, 2, 3, 4, 5
MOST_CANDLES = 5000


@dataclass(frozen=True, slots=True)
class DataNeed:
    """The candles a strategy must see: how many of which timeframe, and more timeframes in `others`.

    The first timeframe is its pace: a leg is one order per candle of it. With `ranges` a symbol without a complete
    range is left out.
    """

    timeframe: str
    candles: int
    others: tuple[tuple[str, int], ...] = ()
    ranges: bool = False

    def __post_init__(self) -> None:
        for timeframe, count in self.all():
            if timeframe not in TIMEFRAMES:
                raise ValueError(f"timeframe {timeframe!r} is unknown; use one of {', '.join(TIMEFRAMES)}")
            if not 1 <= count <= MOST_CANDLES:
                raise ValueError(f"{count} candles of {timeframe}: ask for 1 to {MOST_CANDLES}")

    def all(self) -> tuple[tuple[str, int], ...]:
        """Every (timeframe, count) needed."""
        return ((self.timeframe, self.candles), *self.others)


@dataclass(frozen=True, slots=True)
class SymbolView:
    """One symbol as a strategy sees it; `candle_at` is the open of the newest finished candle of its pace."""

    market: Market
    ticker: Ticker
    price: Decimal
    candle_at: datetime
    all_candles: Mapping[str, Candles] = field(repr=False)
    position: StrategyPosition
    # Its own orders that may still change the position, oldest first.
    orders: tuple[Order, ...] = ()
    range: Range | None = None

    @property
    def symbol(self) -> str:
        """The unified symbol."""
        return self.market.symbol

    @property
    def quantity(self) -> Decimal:
        """What the strategy holds, signed."""
        return self.position.quantity

    def candles(self, timeframe: str) -> Candles:
        """Finished candles, oldest first, shape (n, 6): open time in ms, open, high, low, close, volume."""
        return self.all_candles.get(timeframe, NO_CANDLES)

    def quantity_for(self, value: Decimal) -> Decimal:
        """The tradable quantity worth at most `value` at the last price; 0 below the venue's minimum."""
        return self.tradable(value / self.price, self.price)

    def tradable(self, quantity: Decimal, price: Decimal) -> Decimal:
        """The quantity in the venue's steps; 0 below its minimum."""
        rounded = self.market.round_quantity(quantity)
        too_cheap = self.market.min_cost is not None and rounded * price < self.market.min_cost
        return Decimal(0) if rounded < self.market.min_quantity or too_cheap else rounded

    def limit(self, leg: str, side: Side, quantity: Decimal, price: Decimal, **more: Any) -> "StrategyOrder":
        """A limit order of this symbol; quantity and price are put into the venue's steps."""
        rounded = self.market.round_quantity(quantity)
        return self._order(
            leg, OrderIntent(self.symbol, side, OrderType.LIMIT, rounded, price=self.market.round_price(price), **more)
        )

    def at_market(self, leg: str, side: Side, quantity: Decimal, **more: Any) -> "StrategyOrder":
        """A market order of this symbol."""
        return self._order(leg, OrderIntent(self.symbol, side, OrderType.MARKET, quantity, **more))

    def target(self, quantity: Decimal | int, leg: str = "target") -> "list[StrategyOrder]":
        """Market orders that bring the position to `quantity` (signed); none while an order of ours is open.

        Through zero it takes two: one that closes, one that opens. On spot nothing is below zero.
        """
        if self.orders:
            return []
        wanted = Decimal(quantity)
        if self.market.kind is MarketKind.SPOT:
            wanted = max(wanted, Decimal(0))
        held, orders = self.quantity, []
        if held and (wanted * held <= 0 or abs(wanted) < abs(held)):
            closed = held if wanted * held <= 0 else held - wanted
            side = Side.SELL if closed > 0 else Side.BUY
            size = self.tradable(abs(closed), self.price)
            orders += [self.at_market(f"{leg}-close", side, size, reduce_only=True)] if size else []
            held -= closed
        opened = wanted - held
        size = self.tradable(abs(opened), self.price)
        if size:
            orders.append(self.at_market(f"{leg}-open", Side.BUY if opened > 0 else Side.SELL, size))
        return orders

    def _order(self, leg: str, intent: OrderIntent) -> "StrategyOrder":
        from kontor.strategies.protocol import StrategyOrder

        return StrategyOrder(leg, intent)


@dataclass(frozen=True, slots=True)
class MarketView(Mapping[str, SymbolView]):
    """Everything a strategy may know, by symbol; symbols without fresh data are left out and named in `left_out`."""

    strategy: str
    now: datetime
    symbols: Mapping[str, SymbolView]
    # The strategy's share of the account's total, in the capital currency.
    capital: Decimal
    # How much its positions and pending entries may be worth together.
    max_value: Decimal
    balance: Balance
    units: UnitFigures
    priority: bool = False
    stop_loss_percent: Decimal | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, symbol: str) -> SymbolView:
        return self.symbols[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(self.symbols)

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def share(self) -> Decimal:
        """The capital divided evenly among all its symbols, those left out included."""
        count = len(self.symbols) + len(self.left_out)
        return self.capital / count if count else Decimal(0)

    @property
    def risk_margin(self) -> Decimal:
        """What another unit of this strategy may risk."""
        return self.units.margin(priority=self.priority)
