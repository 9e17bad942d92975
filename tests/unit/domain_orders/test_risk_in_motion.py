"""The gate while the account moves: prices, fees, transfers, market orders, leverage, a balance that is old, losses.

The model is a venue of its own. What the gate sees of it is put together as the desk does; what it must not let pass is
told by the model, from its own figures: from what filling everything would do, and from what was earned and lost.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, timedelta
from decimal import Decimal

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kontor.domain.account import Balance, CurrencyBalance
from kontor.domain.exposure import exposure_key, only_reduces, spent
from kontor.domain.fill import Fill
from kontor.domain.intent import Limits, OrderIntent, RiskView
from kontor.domain.market import MarketKind, Ticker
from kontor.domain.order import Order, OrderType, Side
from kontor.domain.portfolio import PortfolioLimits, RiskMarks, breaches, equity_of, marked
from kontor.domain.risk import admit
from kontor.errors import OrderDenied
from tests.unit.domain_orders.views import MARKETS, NOW, OTHER, SPOT, SWAP, order

D = Decimal
NOTHING = D(0)
LEVERAGE: dict[str, Decimal] = {SWAP: D(5), OTHER: D(1)}
FEE = D("0.001")
LIMITS = Limits(
    max_order_value=D(700),
    max_position_value=D(800),
    max_exposure=D(1100),
    max_open_orders=5,
    min_free_balance=D(1300),
    price_collar_percent=D(10),
    max_daily_loss=D(40),
    max_drawdown_percent=D(3),
)
LOSSES = PortfolioLimits(max_drawdown_percent=LIMITS.max_drawdown_percent, max_daily_loss=LIMITS.max_daily_loss)
SYMBOLS = (SWAP, OTHER, SPOT)
# Small ones, and such as come to a limit soon.
QUANTITIES = st.one_of(st.integers(2, 60), st.integers(30, 70)).map(lambda tenths: D(tenths) / 10)


def signed(side: Side, quantity: Decimal) -> Decimal:
    return quantity if side is Side.BUY else -quantity


def takes_risk(wanted: Order | OrderIntent) -> bool:
    return not only_reduces(MARKETS[wanted.symbol], wanted.side, reduce_only=wanted.reduce_only)


class Account(RuleBasedStateMachine):
    """A venue, and beside it what the desk last read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.price: dict[str, Decimal] = dict.fromkeys(SYMBOLS, D(100))
        self.dollars, self.moved = D(2000), NOTHING
        self.held: dict[str, Decimal] = dict.fromkeys(SYMBOLS, NOTHING)
        # What the swaps that are held have cost: their worth beyond it is in the dollars' total, as venues show it.
        self.cost: dict[str, Decimal] = dict.fromkeys((SWAP, OTHER), NOTHING)
        self.orders: dict[str, Order] = {}
        self.fills: list[Fill] = []
        self.transfers: dict[str, Decimal] = {}
        self.count, self.halted = 0, False
        self.marks: RiskMarks | None = None
        # What trading had earned when the day began, or a person resumed; no transfer is part of it.
        self.morning = self.best = self.dollars
        self.look()

    # What happens at the venue.

    @rule(symbol=st.sampled_from(SYMBOLS), percent=st.integers(-6, 6))
    def price_moves(self, symbol: str, percent: int) -> None:
        self.price[symbol] = (self.price[symbol] * (100 + percent) / 100).quantize(D(1))
        self.lowest[symbol] = min(self.lowest[symbol], self.price[symbol])

    @rule(quantity=st.integers(-300, 300).map(D))
    def money_comes_or_leaves(self, quantity: Decimal) -> None:
        self.dollars += quantity
        self.moved += quantity
        self.transfers[f"t{len(self.transfers)}"] = quantity

    @rule()
    def everything_falls_and_what_can_fills(self) -> None:
        self._fill_what_can()
        for symbol in SYMBOLS:
            self.price_moves(symbol, -5)

    @precondition(lambda self: self.orders)
    @rule()
    def everything_fills_that_can(self) -> None:
        self._fill_what_can()

    def _fill_what_can(self) -> None:
        for name in sorted(self.orders):
            self._try(name, 4)

    @precondition(lambda self: self.orders)
    @rule(index=st.integers(0, 9), share=st.integers(1, 3))
    def a_part_of_an_order_fills(self, index: int, share: int) -> None:
        self._try(sorted(self.orders)[index % len(self.orders)], share)

    def _try(self, name: str, share: int) -> None:
        wanted, price = self.orders[name], self.price[self.orders[name].symbol]
        if wanted.price is not None and (price > wanted.price if wanted.side is Side.BUY else price < wanted.price):
            return
        left = self._fill(wanted, wanted.remaining_quantity * share / 4, price)
        if left.remaining_quantity and share < 4:
            self.orders[name] = left
        else:
            del self.orders[name]

    @precondition(lambda self: self.orders)
    @rule(index=st.integers(0, 9))
    def an_order_is_canceled(self, index: int) -> None:
        del self.orders[sorted(self.orders)[index % len(self.orders)]]

    # What the desk does.

    @rule()
    def read_balance(self) -> None:
        """The balance as of now; what orders take that rest by now is in it."""
        self.now += timedelta(seconds=1)
        total, coins = self.dollars + sum(self._earned(symbol) for symbol in self.cost), self.held[SPOT]
        margin = sum(abs(self.held[s]) * self.price[s] / LEVERAGE[s] for s in self.cost)
        self.orders = {name: replace(each, submitted_at=self.now) for name, each in self.orders.items()}
        self.reserved = {name: self._reservation(each) for name, each in self.orders.items()}
        free = total - margin - sum(self.reserved.values(), NOTHING)
        dollars = CurrencyBalance(free, total - free, total)
        self.now += timedelta(seconds=1)
        self.balance = Balance(
            "USD", total, free, total - free, self.now, {"USD": dollars, "BTC": CurrencyBalance(coins, NOTHING, coins)}
        )
        self.now += timedelta(seconds=1)
        self.held_then, self.bought, self.lowest = dict(self.held), NOTHING, dict(self.price)

    @rule()
    def look(self) -> None:
        """monitor-risk: a fresh balance, and the limits on losses."""
        self.read_balance()
        equity = equity_of(self.balance, {"BTC": self.price[SPOT]}).total
        self.marks = marked(self.marks, equity, self.now, UTC, self.transfers)
        earned = self._equity() - self.moved
        self.best = max(self.best, earned)
        found = {breach.rule for breach in breaches(LOSSES, self.marks, equity, {})}
        assert ("max_daily_loss" in found) == (self.morning - earned >= D(40))
        assert ("max_drawdown_percent" in found) == (self.best - earned >= D("0.03") * (self.best + self.moved))
        self.halted = self.halted or bool(found)

    @rule(really=st.integers(0, 3))
    def a_person_halts(self, really: int) -> None:
        self.halted = self.halted or really == 0

    @rule()
    def a_person_resumes(self) -> None:
        if self.halted:
            self.halted, self.marks = False, None
            self.morning = self.best = self._equity() - self.moved
            self.look()

    @rule(
        symbol=st.sampled_from(SYMBOLS),
        side=st.sampled_from(Side),
        quantity=QUANTITIES,
        off=st.one_of(st.none(), st.integers(-8, 8)),
        reduce_only=st.booleans(),
    )
    def somebody_wants(self, symbol: str, side: Side, quantity: Decimal, off: int | None, reduce_only: bool) -> None:
        self._want(symbol, side, quantity, off, reduce_only=reduce_only)

    @rule(symbol=st.sampled_from(SYMBOLS), side=st.sampled_from(Side), off=st.sampled_from([None, 0, 8]))
    def somebody_wants_much(self, symbol: str, side: Side, off: int | None) -> None:
        for quantity in (D(6), D(3), D("1.5"), D(1)):
            self._want(symbol, side, quantity, off, reduce_only=False)
            if off is None:
                self._fill_what_can()

    def _want(self, symbol: str, side: Side, quantity: Decimal, off: int | None, *, reduce_only: bool) -> None:
        price = None if off is None else (self.price[symbol] * (100 + off) / 100).quantize(D(1))
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        intent = OrderIntent(symbol, side, kind, quantity, price=price, reduce_only=reduce_only)
        try:
            admitted = admit(intent, self._view())
        except OrderDenied:
            return
        before = self._worst(symbol)
        self.count += 1
        placed = order(
            str(admitted.quantity),
            None if admitted.price is None else str(admitted.price),
            symbol=symbol,
            side=side,
            client_order_id=f"o{self.count:03}",
            reduce_only=admitted.reduce_only and MARKETS[symbol].kind is MarketKind.SWAP,
        )
        self.orders[placed.client_order_id] = placed
        if takes_risk(admitted):
            self._must_be_allowed(placed, before)

    def _must_be_allowed(self, placed: Order, worst_before: Decimal) -> None:
        """What the model says of an order that takes risk and has passed."""
        symbol = placed.symbol
        assert not self.halted
        # By what the desk knew: the balance it has read, at the prices of now.
        assert self.marks is not None
        known = self.balance.total + self.balance.currencies["BTC"].total * self.price[SPOT]
        assert self.marks.day_start - known < D(40)
        assert known > self.marks.peak * D("0.97")
        grown = self._after_all(symbol, placed.side)
        assert max(signed(placed.side, grown), NOTHING) * self.price[symbol] <= D(800)
        if self._worst(symbol) > worst_before:
            assert sum(self._worst(each) * self.price[each] for each in SYMBOLS) <= D(1100)
        assert len(self.orders) <= 5
        assert self._least_free() >= D(1300)

    @invariant()
    def nothing_closes_more_than_there_is(self) -> None:
        assert self.held[SPOT] >= 0

    # How the model counts.

    def _view(self) -> RiskView:
        """Put together as the desk does: snapshots, and fills that they do not show."""
        held = {exposure_key(MARKETS[symbol]): quantity for symbol, quantity in self.held.items()}
        marks = {exposure_key(MARKETS[symbol]): price for symbol, price in self.price.items()}
        equity = equity_of(self.balance, marks).total
        unseen = [fill for fill in self.fills if fill.filled_at > self.balance.at]
        return RiskView(
            now=self.now,
            limits=LIMITS,
            markets=MARKETS,
            tickers={symbol: Ticker(symbol, price, self.now) for symbol, price in self.price.items()},
            holdings=held,
            marks=marks,
            leverage=LEVERAGE,
            balance=self.balance,
            spent=spent(unseen, MARKETS, held, LEVERAGE),
            equity=equity,
            loss_marks=None if self.marks is None else marked(self.marks, equity, self.now, UTC, {}),
            losses_watched_at=self.now,
            orders=tuple(self.orders.values()),
            halted="lost" if self.halted else None,
        )

    def _fill(self, wanted: Order, quantity: Decimal, price: Decimal) -> Order:
        """The venue trades a part; what only reduces is cut to what is held."""
        quantity = self._cut(wanted, quantity, self.held[wanted.symbol])
        change, symbol = signed(wanted.side, quantity), wanted.symbol
        self.now += timedelta(seconds=1)
        self.held[symbol] += change
        if symbol == SPOT:
            self.dollars -= change * price
            self.bought += max(change, NOTHING) * price
        else:
            self.cost[symbol] += change * price
        self.dollars -= quantity * price * FEE
        name = f"f{len(self.fills)}"
        self.fills.append(Fill(name, symbol, wanted.side, quantity, price, self.now, "v", wanted.client_order_id))
        return replace(wanted, filled_quantity=wanted.filled_quantity + quantity)

    @staticmethod
    def _cut(wanted: Order, quantity: Decimal, held: Decimal) -> Decimal:
        if takes_risk(wanted):
            return quantity
        return min(quantity, max(held if wanted.side is Side.SELL else -held, NOTHING))

    def _earned(self, symbol: str) -> Decimal:
        return self.held[symbol] * self.price[symbol] - self.cost[symbol]

    def _equity(self) -> Decimal:
        return self.dollars + sum(self._earned(s) for s in self.cost) + self.held[SPOT] * self.price[SPOT]

    def _after_all(self, symbol: str, side: Side) -> Decimal:
        """The holding once every order of one side is filled, those that only reduce first."""
        held = self.held[symbol]
        mine = [each for each in self.orders.values() if (each.symbol, each.side) == (symbol, side)]
        for each in sorted(mine, key=takes_risk):
            held += signed(side, self._cut(each, each.remaining_quantity, held))
        return held

    def _worst(self, symbol: str) -> Decimal:
        """The largest holding that filling the buys, or the sells, leads to."""
        return max(abs(self._after_all(symbol, side)) if self._grows(symbol, side) else NOTHING for side in Side)

    def _grows(self, symbol: str, side: Side) -> bool:
        return signed(side, self._after_all(symbol, side)) > 0

    def _reservation(self, wanted: Order) -> Decimal:
        """What the venue holds back for an order that rests."""
        if not takes_risk(wanted):
            return NOTHING
        price = wanted.price or self.price[wanted.symbol]
        return wanted.remaining_quantity * price / LEVERAGE.get(wanted.symbol, D(1))

    def _least_free(self) -> Decimal:
        """The free money of the last balance, less what fills took since at least, and what orders will."""
        free = self.balance.free - self.bought
        for symbol in self.cost:
            grown = max(abs(self.held[symbol]) - abs(self.held_then[symbol]), NOTHING)
            free -= grown * self.lowest[symbol] / LEVERAGE[symbol]
        return free - sum(self._unseen(), NOTHING)

    def _unseen(self) -> Iterator[Decimal]:
        for name, each in self.orders.items():
            if name not in self.reserved and takes_risk(each):
                price = each.price or self.lowest[each.symbol]
                yield each.remaining_quantity * price / LEVERAGE.get(each.symbol, D(1))


TestTheGateInMotion = Account.TestCase
TestTheGateInMotion.settings = settings(
    max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
