"""A desk without a network: memory store, fake venue, virtual time, and executors that can be killed."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kontor.config import KontorConfig, OrderSettings
from kontor.domain.identity import client_order_id
from kontor.domain.intent import OrderIntent
from kontor.domain.order import FINISHED, Order, OrderState, OrderType, Side
from kontor.domain.venue_profile import VenueProfile
from kontor.execution.executor import Executor
from kontor.execution.shift import Failpoint, no_failpoint
from kontor.execution.submit import place
from kontor.ports import Alert
from kontor.store.memory import MemoryStore
from tests.fakes.exchange import PROFILE, FakeExchange
from tests.fakes.venue import PRICE, SYMBOLS, Venue
from tests.fakes.virtual_time import LoopClock

ACCOUNT = "paper"
BTC, ETH, SOL, XRP = SYMBOLS
SETTINGS = OrderSettings(lease_seconds=3, request_timeout_seconds=2, good_for_seconds=60)


class Killed(BaseException):
    """What kill -9 is, as far as an event loop can tell: nothing more of this process runs."""


class Mortal:
    """Passes everything on to a port of a process, until the process is dead."""

    def __init__(self, target: Any, life: "Life") -> None:
        self._target, self._life = target, life

    def __getattr__(self, name: str) -> Any:
        found: Any = getattr(self._target, name)
        if not callable(found):
            return Mortal(found, self._life) if name in {"orders", "desk", "account", "market"} else found

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._life.check()
            result: Any = await found(*args, **kwargs)  # pyright: ignore[reportGeneralTypeIssues]
            self._life.check()
            return result

        return call


@dataclass
class Life:
    """Whether a process still lives, and at which step it dies."""

    dies_at: str | None = None
    dies_after: int = 1
    is_over: bool = False
    steps: list[str] = field(default_factory=list)

    def check(self) -> None:
        if self.is_over:
            raise Killed

    def failpoint(self, step: str) -> None:
        self.check()
        self.steps.append(step)
        if step == self.dies_at and self.steps.count(step) >= self.dies_after:
            self.is_over = True
            raise Killed


class Alerts:
    """A Notifier that keeps what it was told."""

    def __init__(self) -> None:
        self.sent: list[Alert] = []

    def notify(self, alert: Alert) -> None:
        self.sent.append(alert)

    async def drain(self, *, seconds: float) -> int:
        del seconds
        return 0


class FakeDesk:
    """Everything of one account, with the venue in reach of the test."""

    def __init__(
        self, *, profile: VenueProfile = PROFILE, config: KontorConfig | None = None, settings: OrderSettings = SETTINGS
    ) -> None:
        self.account = ACCOUNT
        self.clock = LoopClock()
        self.venue = Venue()
        self.store = MemoryStore()
        self.config = config or KontorConfig(orders=settings)
        self.exchange = FakeExchange(self.venue, self.clock, profile=profile)
        self.alerts = Alerts()
        self._numbers = itertools.count(1)

    def executor(
        self, owner: str = "one", *, life: Life | None = None, failpoint: Failpoint = no_failpoint
    ) -> Executor:
        store: Any = Mortal(self.store, life) if life else self.store
        exchange: Any = MortalExchange(self.exchange, life) if life else self.exchange
        return Executor(
            self.account,
            store,
            exchange,
            self.clock,
            self.config.orders,
            owner,
            notifier=self.alerts,
            failpoint=life.failpoint if life else failpoint,
        )

    @asynccontextmanager
    async def executing(self, owner: str = "one", **how: Any) -> AsyncGenerator[Executor]:
        """Run an executor beside the test."""
        executor = self.executor(owner, **how)
        task = asyncio.create_task(executor.run())
        try:
            yield executor
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def want(
        self,
        symbol: str = BTC,
        side: Side = Side.BUY,
        quantity: str | Decimal = "1",
        price: str | Decimal | None = None,
        **more: Any,
    ) -> Order:
        """Place an intent of its own: a limit order when it has a price."""
        intent = OrderIntent(
            symbol,
            side,
            OrderType.MARKET if price is None else OrderType.LIMIT,
            Decimal(quantity),
            price=None if price is None else Decimal(price),
            **more,
        )
        prefix = await self.store.desk.desk_prefix()
        return await place(
            self, intent, client_order_id=client_order_id(prefix, "test", next(self._numbers)), actor="test"
        )

    async def order(self, order: Order | str) -> Order:
        """The order as it is stored now."""
        found = await self.store.orders.get(order if isinstance(order, str) else order.client_order_id)
        assert found is not None
        return found

    async def until(self, holds: Callable[[], Awaitable[bool]], *, seconds: float = 120) -> None:
        """Wait in virtual time until something holds; fails loudly when it does not."""
        async with asyncio.timeout(seconds):
            while True:
                if await holds():
                    return
                await asyncio.sleep(0.05)

    async def until_state(self, order: Order, *states: OrderState, seconds: float = 120) -> Order:
        """The order once it is in one of these states, or finished when none is given."""
        wanted = set(states) or FINISHED

        async def holds() -> bool:
            return (await self.order(order)).state in wanted

        await self.until(holds, seconds=seconds)
        return await self.order(order)

    async def agree(self) -> None:
        """Assert that our books and the venue's are the same, order by order and fill by fill."""
        ours = {o.client_order_id: o for o in await self.store.orders.find(self.account, limit=10_000)}
        assert set(self.venue.accepted.values()) <= {1}, f"doubled: {self.venue.accepted}"
        for report in self.venue.orders.values():
            order = ours[str(report.client_order_id)]
            assert (order.state, order.filled_quantity) == (report.state, report.filled_quantity), order
            assert order.venue_order_id == report.venue_order_id
        for order in ours.values():
            assert order.venue_order_id is None or order.client_order_id in self.venue.accepted, f"invented: {order}"
        booked = await self.store.orders.fills(self.account, limit=100_000)
        assert {f.trade_id: f.quantity for f in booked} == {f.trade_id: f.quantity for f in self.venue.fills}
        assert not await self.store.orders.short_of_fills(self.account)


class MortalExchange(Mortal):
    """The venue as a process sees it that may die; what it has sent stays sent."""

    @property
    def profile(self) -> VenueProfile:
        return self._target.profile


LAST = PRICE
