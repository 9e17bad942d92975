"""What the gate weighs: an intent to trade, the limits, and the account it would trade for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from kontor.domain.account import Balance
from kontor.domain.market import Market, Ticker
from kontor.domain.order import Order, OrderType, Side, TimeInForce
from kontor.domain.portfolio import RiskMarks


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """What somebody wants to trade, before the gate; quantity is base currency."""

    symbol: str
    side: Side
    order_type: OrderType
    quantity: Decimal
    price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    reduce_only: bool = False
    # Unsent after this moment it expires; None takes the desk's `good_for`.
    good_until: datetime | None = None
    priority: int = 100
    strategy: str | None = None
    # Where a stop becomes a market order; only stops have one.
    trigger_price: Decimal | None = None
    # Of the stop that an entry brings along; the venue places it when the entry is filled.
    stop_price: Decimal | None = None
    # When the newest candle ended that this was decided on, and the span of such candles.
    candles_until: datetime | None = None
    candle_span: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The gate's limits in the capital currency; None does not apply."""

    max_order_value: Decimal | None = None
    max_position_value: Decimal | None = None
    max_exposure: Decimal | None = None
    max_open_orders: int | None = None
    min_free_balance: Decimal | None = None
    price_collar_percent: Decimal | None = None
    # Instead of max_position_value, by symbol.
    position_values: Mapping[str, Decimal] = field(default_factory=dict)
    max_orders_per_minute: int | None = None
    max_ticker_age: timedelta = timedelta(seconds=120)
    max_drawdown_percent: Decimal | None = None
    max_daily_loss: Decimal | None = None
    # With a limit on losses, whoever watches them must have looked lately.
    max_watch_age: timedelta = timedelta(minutes=5)
    restricted: frozenset[str] = frozenset()

    @property
    def losses_are_limited(self) -> bool:
        """Somebody must watch drawdown or the day's loss."""
        return self.max_drawdown_percent is not None or self.max_daily_loss is not None

    @property
    def need_account(self) -> bool:
        """Some limit looks at the account as a whole, so intents must pass one at a time."""
        return any(
            limit is not None
            for limit in (
                self.max_position_value,
                self.max_exposure,
                self.max_open_orders,
                self.min_free_balance,
                self.max_orders_per_minute,
                self.position_values or None,
                self.losses_are_limited or None,
            )
        )


@dataclass(frozen=True, slots=True)
class RiskView:
    """What the gate looks at: everything as of `now`. `orders` are those wanted or live, pending ones included."""

    now: datetime
    limits: Limits
    markets: Mapping[str, Market]
    tickers: Mapping[str, Ticker] = field(default_factory=dict)
    # Signed base quantity held per symbol (swaps) or per base currency (spot).
    holdings: Mapping[str, Decimal] = field(default_factory=dict)
    # Prices to value holdings that have no ticker, by the same keys.
    marks: Mapping[str, Decimal] = field(default_factory=dict)
    leverage: Mapping[str, Decimal] = field(default_factory=dict)
    balance: Balance | None = None
    # What fills took of its free part since it was read.
    spent: Decimal = Decimal(0)
    # What the account is worth by that balance, and what losses are counted from; None where nobody knows yet.
    equity: Decimal | None = None
    loss_marks: RiskMarks | None = None
    orders: Sequence[Order] = ()
    halted: str | None = None
    # What else forbids new risk now, by rule: the account's set-up, the venue's maintenance.
    forbidden: Mapping[str, str] = field(default_factory=dict)
    # Orders that took risk, wanted within the last minute.
    recent_orders: int = 0
    # When drawdown and the day's loss were looked at last; None: not yet.
    losses_watched_at: datetime | None = None

    def with_order(self, order: Order) -> "RiskView":
        """The view once `order` is in the queue."""
        return replace(self, orders=(*self.orders, order), recent_orders=self.recent_orders + (not order.reduce_only))
