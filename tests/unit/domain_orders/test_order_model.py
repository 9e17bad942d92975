"""A stateful model of one order: a venue that knows the truth, and news of it that come late, twice, in any order."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kontor.domain.fill import Fill, total_of
from kontor.domain.order import (
    FINISHED,
    TRANSITIONS,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    Side,
    apply_fills,
    apply_report,
    reopen,
)
from kontor.execution.verdicts import submitted

S = OrderState
START = datetime(2026, 1, 1, tzinfo=UTC)
QUANTITY = 5
picks = st.integers(0, 10**6)


class OneOrder(RuleBasedStateMachine):
    """The venue trades, cancels and reports; each report and fill may reach us at any time, as often as it likes."""

    @initialize()
    def send(self) -> None:
        self.time = START
        order = Order("c1", "paper", "BTC/USD", Side.BUY, OrderType.LIMIT, Decimal(QUANTITY), START, price=Decimal(100))
        self.order = submitted(order, START)
        # The truth.
        self.filled, self.is_canceled = 0, False
        self.fills: list[Fill] = []
        self.reports: list[OrderReport] = []
        # What we were told of fills.
        self.booked: dict[str, Fill] = {}
        self.most_filled = Decimal(0)
        self.report()

    @property
    def truth(self) -> OrderState:
        if self.filled == QUANTITY:
            return S.FILLED
        if self.is_canceled:
            return S.CANCELED
        return S.PARTIALLY_FILLED if self.filled else S.ACCEPTED

    def change(self, new: Order) -> None:
        old, self.order = self.order, new
        assert new.state is old.state or new.state in TRANSITIONS[old.state]
        assert new.filled_quantity >= old.filled_quantity

    @rule()
    def report(self) -> None:
        """The venue says how things stand; the message is on its way."""
        self.time += timedelta(seconds=1)
        price = Decimal(100) if self.filled else None
        quantity, filled = Decimal(QUANTITY), Decimal(self.filled)
        self.reports.append(
            OrderReport(
                "BTC/USD",
                Side.BUY,
                OrderType.LIMIT,
                self.truth,
                quantity,
                filled,
                "v1",
                self.time,
                client_order_id="c1",
                average_price=price,
            )
        )

    @precondition(lambda self: self.filled < QUANTITY and not self.is_canceled)
    @rule(quantity=st.integers(1, QUANTITY))
    def trade(self, quantity: int) -> None:
        quantity = min(quantity, QUANTITY - self.filled)
        self.filled += quantity
        self.time += timedelta(seconds=1)
        name = f"t{len(self.fills)}"
        self.fills.append(Fill(name, "BTC/USD", Side.BUY, Decimal(quantity), Decimal(100), self.time, "v1"))

    @precondition(lambda self: self.filled < QUANTITY)
    @rule()
    def cancel(self) -> None:
        self.is_canceled = True

    @rule(which=picks)
    def hear_a_report(self, which: int) -> None:
        self.change(apply_report(self.order, self.reports[which % len(self.reports)]))

    @precondition(lambda self: self.fills)
    @rule(which=picks)
    def hear_a_fill(self, which: int) -> None:
        fill = self.fills[which % len(self.fills)]
        self.booked[fill.trade_id] = fill
        quantity, price = total_of(self.booked.values())
        self.change(apply_fills(self.order, quantity, price, self.time))

    @precondition(lambda self: self.order.state in FINISHED)
    @rule()
    def ask_for_it(self) -> None:
        """A reconciliation that finds it open asks for this one order, and believes the answer."""
        self.report()
        if self.reports[-1].state not in FINISHED:
            self.change(reopen(self.order, self.reports[-1]))

    @invariant()
    def never_claims_more_than_the_truth(self) -> None:
        assert self.order.filled_quantity <= self.filled
        assert (self.order.state is S.FILLED) <= (self.filled == QUANTITY)
        assert self.order.state not in {S.REJECTED, S.EXPIRED, S.INITIALIZED, S.DENIED}
        assert (self.order.state is S.CANCELED) <= self.is_canceled

    @invariant()
    def the_last_word_and_all_fills_are_the_truth(self) -> None:
        """From every state there is, hearing everything once more ends where the venue is."""
        order = self.order
        for fill in self.fills:
            quantity, price = total_of([*self.booked.values(), fill])
            order = apply_fills(order, quantity, price, self.time)
        quantity, price = total_of(self.fills)
        order = apply_fills(order, quantity, price, self.time)
        last = OrderReport(
            "BTC/USD",
            Side.BUY,
            OrderType.LIMIT,
            self.truth,
            Decimal(QUANTITY),
            Decimal(self.filled),
            "v1",
            self.time,
            client_order_id="c1",
        )
        order = apply_report(order, last)
        assert (order.state, order.filled_quantity) == (self.truth, self.filled)
        assert order.unknown_since is None
        assert apply_report(order, last) == order


OneOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestOneOrder = OneOrder.TestCase
