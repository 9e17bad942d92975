"""Whatever happens to the queue and its lease in whatever order: SQLite and the memory adapter agree."""

import asyncio
import itertools
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kontor.domain.order import TRANSITIONS, Order, OrderState
from kontor.errors import LeaseLost
from kontor.ports import Lease, Store
from kontor.store import open_store
from tests.contract.store.builders import NOW, make_fill, make_order

T = TypeVar("T")

SYMBOLS = ["BTC/USD", "ETH/USD"]
TTL = timedelta(seconds=10)
LEASE = "executor:paper"
picks = st.integers(0, 10**6)


class QueueAndLease(RuleBasedStateMachine):
    """Every step goes to both stores; answers and everything that can be read must be equal."""

    template: Path
    folder: Path
    numbers = itertools.count()

    @initialize()
    def open(self) -> None:
        path = self.folder / f"{next(self.numbers)}.db"
        shutil.copy(self.template, path)
        self.runner = asyncio.Runner()
        self.stores = [open_store("memory://"), open_store(f"sqlite:///{path}")]
        self.now = NOW
        # Every order as it ever was: old readings are what optimistic recording is about.
        self.readings: list[Order] = []
        self.leases: list[Lease] = []

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.close_all())
            self.runner.close()

    async def close_all(self) -> None:
        for store in self.stores:
            await store.close()

    def both(self, step: Callable[[Store], Awaitable[T]]) -> T | str:
        """What both stores answer; an error is an answer too."""

        async def take(store: Store) -> T | str:
            try:
                return await step(store)
            except LeaseLost as lost:
                return str(lost)

        model, real = (self.runner.run(take(store)) for store in self.stores)
        assert model == real
        return model

    @rule(symbol=st.sampled_from(SYMBOLS), priority=st.integers(1, 2), age=st.integers(0, 2), name=st.integers(0, 12))
    def enqueue(self, symbol: str, priority: int, age: int, name: int) -> None:
        created = NOW + timedelta(seconds=age)
        order = make_order(f"o{name}", symbol=symbol, priority=priority, created_at=created, quantity=Decimal("0.08"))
        (stored,) = self.both(lambda store: store.orders.enqueue([order], "model"))
        assert isinstance(stored, Order)
        self.readings.append(stored)

    @precondition(lambda self: self.readings)
    @rule(
        pick=picks,
        state=st.sampled_from(OrderState),
        unknown=st.booleans(),
        venue=st.none() | st.sampled_from(["v1", "v2"]),
        filled=st.sampled_from(["0", "0.04", "0.08"]),
        lease=st.none() | picks,
    )
    def record(
        self, pick: int, state: OrderState, unknown: bool, venue: str | None, filled: str, lease: int | None
    ) -> None:
        old = self.readings[pick % len(self.readings)]
        if state is not old.state and state not in TRANSITIONS[old.state]:
            return
        new = replace(
            old,
            state=state,
            unknown_since=self.now if unknown else None,
            venue_order_id=venue or old.venue_order_id,
            filled_quantity=Decimal(filled),
            attempts=old.attempts + 1,
        )
        fencing = self.leases[lease % len(self.leases)].fencing if lease is not None and self.leases else None
        at = self.now
        done = self.both(lambda store: store.orders.record([(old, new)], actor="m", at=at, fencing=fencing))
        if done == [True]:
            self.readings.append(new)

    @precondition(lambda self: self.readings)
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        name, at = self.readings[pick % len(self.readings)].client_order_id, self.now
        self.readings += self.both(lambda store: store.orders.request_cancel([name, "nobody"], actor="m", at=at))  # pyright: ignore[reportOperatorIssue]

    @rule(
        trade=st.integers(0, 8),
        venue=st.sampled_from(["v1", "v2"]),
        owner=st.none() | st.integers(0, 12),
        symbol=st.sampled_from(SYMBOLS),
    )
    def fill(self, trade: int, venue: str, owner: int | None, symbol: str) -> None:
        name = None if owner is None else f"o{owner}"
        fill = make_fill(f"t{trade}", venue_order_id=venue, symbol=symbol, client_order_id=name)
        self.both(lambda store: store.orders.save_fills("paper", [fill, fill]))

    @rule(seconds=st.integers(1, 12))
    def time_goes_on(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(owner=st.sampled_from("ab"))
    def acquire(self, owner: str) -> None:
        at = self.now
        lease = self.both(lambda store: store.desk.acquire_lease(LEASE, owner, TTL, at))
        if isinstance(lease, Lease):
            assert all(lease.fencing >= earlier.fencing for earlier in self.leases)
            self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(pick=picks, release=st.booleans())
    def renew_or_release(self, pick: int, release: bool) -> None:
        lease, at = self.leases[pick % len(self.leases)], self.now
        if release:
            self.both(lambda store: store.desk.release_lease(lease))
            return
        renewed = self.both(lambda store: store.desk.renew_lease(lease, TTL, at))
        if isinstance(renewed, Lease):
            self.leases.append(renewed)

    @invariant()
    def everything_readable_is_equal(self) -> None:
        async def read(store: Store) -> list[Any]:
            queue = store.orders
            orders = await queue.find("paper")
            return [
                orders,
                await queue.pending("paper"),
                await queue.counts("paper"),
                await queue.fills("paper"),
                await queue.short_of_fills("paper"),
                [await queue.events(order.client_order_id) for order in orders],
                [await queue.fills("paper", client_order_id=order.client_order_id) for order in orders],
                await store.desk.lease(LEASE),
            ]

        answer = self.both(read)
        assert not isinstance(answer, str)
        pending: list[Order] = answer[1]
        symbols = [order.symbol for order in pending]
        assert len(symbols) == len(set(symbols))
        assert all(order.state is OrderState.INITIALIZED for order in pending)


def test_sqlite_and_memory_agree_on_every_history(sqlite_template: Path, tmp_path: Path) -> None:
    """The memory adapter is the plain telling of the rules; SQLite must never tell otherwise."""
    machine = type("Machine", (QueueAndLease,), {"template": sqlite_template, "folder": tmp_path})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
