"""No sequence of intents passes the gate into a breach: against a model account, fills and cancels in between."""

from dataclasses import dataclass, field, replace
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kontor.domain.account import Balance
from kontor.domain.exposure import exposure_key, only_reduces
from kontor.domain.intent import Limits, OrderIntent, RiskView
from kontor.domain.market import MarketKind
from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.domain.risk import admit
from kontor.errors import OrderDenied
from tests.unit.domain_orders.views import MARKETS, NOW, OTHER, SPOT, SWAP, VIEW, order

PRICE = Decimal(100)
LIMITS = Limits(
    max_order_value=Decimal(400),
    max_position_value=Decimal(600),
    max_exposure=Decimal(1000),
    max_open_orders=4,
    min_free_balance=Decimal(500),
    price_collar_percent=Decimal(10),
    max_orders_per_minute=8,
    position_values={OTHER: Decimal(300)},
)


@dataclass
class Account:
    """A model: holdings, open orders and cash at a price that stands still."""

    cash: Decimal = Decimal(2000)
    holdings: dict[str, Decimal] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    reducing: set[str] = field(default_factory=set)
    recent: int = 0

    def view(self) -> RiskView:
        held = sum((order.remaining_quantity * PRICE for order in self.orders if self._takes_cash(order)), Decimal(0))
        # The balance is read before the open orders were placed: it shows none of them.
        balance = Balance("USD", self.cash, self.cash, held, NOW)
        return replace(
            VIEW,
            limits=LIMITS,
            holdings=dict(self.holdings),
            orders=tuple(self.orders),
            balance=balance,
            recent_orders=self.recent,
        )

    def place(self, wanted: OrderIntent) -> bool:
        try:
            admitted = admit(wanted, self.view())
        except OrderDenied:
            return False
        name = f"o{len(self.orders)}-{len(self.reducing)}-{wanted}"
        placed = order(
            str(admitted.quantity),
            None if admitted.order_type is OrderType.STOP else "100",
            symbol=admitted.symbol,
            order_type=admitted.order_type,
            side=admitted.side,
            client_order_id=name,
            reduce_only=admitted.reduce_only and MARKETS[admitted.symbol].kind is MarketKind.SWAP,
            state=OrderState.INITIALIZED,
        )
        if admitted.reduce_only:
            self.reducing.add(name)
        elif not only_reduces(MARKETS[admitted.symbol], admitted.side, reduce_only=False):
            self.recent += 1
        self.orders.append(placed)
        return True

    def fill(self, index: int, share: int) -> None:
        """The venue fills a part; reduce-only orders are cut to what is held, and spot cannot be sold short."""
        wanted = self.orders.pop(index)
        key = exposure_key(MARKETS[wanted.symbol])
        held = self.holdings.get(key, Decimal(0))
        quantity = wanted.remaining_quantity * share / 4
        if wanted.reduce_only or (MARKETS[wanted.symbol].kind is MarketKind.SPOT and wanted.side is Side.SELL):
            quantity = min(quantity, max(held if wanted.side is Side.SELL else -held, Decimal(0)))
        signed = quantity if wanted.side is Side.BUY else -quantity
        self.holdings[key] = held + signed
        grown = abs(held + signed) - abs(held)
        self.cash -= grown * PRICE
        left = replace(wanted, filled_quantity=wanted.filled_quantity + quantity)
        if left.remaining_quantity > 0 and share < 4:
            self.orders.append(left)

    def check(self) -> None:
        for key, quantity in self.holdings.items():
            assert abs(quantity) * PRICE <= LIMITS.position_values.get(key, LIMITS.max_position_value)  # type: ignore[operator]
        assert self.recent <= LIMITS.max_orders_per_minute  # type: ignore[operator]
        assert sum(abs(q) * PRICE for q in self.holdings.values()) <= LIMITS.max_exposure  # type: ignore[operator]
        assert self.cash >= LIMITS.min_free_balance  # type: ignore[operator]
        risky = [order for order in self.orders if order.client_order_id not in self.reducing]
        assert len(risky) <= LIMITS.max_open_orders  # type: ignore[operator]

    def _takes_cash(self, wanted: Order) -> bool:
        return not wanted.reduce_only


INTENTS = st.builds(
    OrderIntent,
    symbol=st.sampled_from([SWAP, OTHER, SPOT]),
    side=st.sampled_from(Side),
    order_type=st.just(OrderType.LIMIT),
    quantity=st.integers(1, 60).map(lambda tenths: Decimal(tenths) / 10),
    price=st.just(PRICE),
    reduce_only=st.booleans(),
)
STOPS = st.builds(
    OrderIntent,
    symbol=st.sampled_from([SWAP, OTHER]),
    side=st.sampled_from(Side),
    order_type=st.just(OrderType.STOP),
    quantity=st.integers(1, 60).map(lambda tenths: Decimal(tenths) / 10),
    trigger_price=st.just(Decimal(90)),
    reduce_only=st.just(True),
)
STEPS = st.one_of(
    INTENTS,
    STOPS,
    st.tuples(st.just("fill"), st.integers(0, 9), st.integers(1, 4)),
    st.tuples(st.just("cancel"), st.integers(0, 9), st.just(0)),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=3, max_size=25))
def test_no_sequence_of_intents_passes_the_gate_into_a_breach(
    steps: list[OrderIntent | tuple[str, int, int]],
) -> None:
    """Whatever passes, and however it fills, in parts and in any order: every limit holds."""
    account = Account()
    for step in steps:
        if isinstance(step, OrderIntent):
            account.place(step)
        elif account.orders:
            what, index, share = step
            index %= len(account.orders)
            if what == "fill":
                account.fill(index, share)
            else:
                account.orders.pop(index)
        account.check()


@settings(max_examples=60, deadline=None)
@given(st.lists(INTENTS, min_size=1, max_size=12), st.permutations(range(12)))
def test_filling_everything_that_passed_in_any_order_breaks_nothing(
    wanted: list[OrderIntent], ranking: list[int]
) -> None:
    """The worst case is counted when the order is admitted, not when it fills."""
    account = Account()
    for one in wanted:
        account.place(one)
    for rank in ranking:
        if account.orders:
            account.fill(rank % len(account.orders), 4)
            account.check()


def test_the_model_can_see_a_breach() -> None:
    """A model that cannot fail proves nothing."""
    account = Account(holdings={SWAP: Decimal(7)})
    try:
        account.check()
    except AssertionError:
        return
    raise AssertionError("seven times 100 is above 600")
