"""An order's way while its process alerts on each change and the channel is in trouble: not a moment longer.

In virtual time, so that what is compared is who waits for whom; what an alert costs in computing is measured by
`python -m benchmarks notify`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kontor.config.alerts import ChannelRules, Grouping
from kontor.domain.order import OrderState
from kontor.notify import BackgroundSender, Outlet
from kontor.notify.delivery import Courier, Throttled, Unreachable
from kontor.notify.queued import Queued
from kontor.ports import Alert
from tests.fakes.desk import BTC, FakeDesk
from tests.fakes.virtual_time import in_virtual_time

ORDERS = 60
LOUD = ChannelRules(grouping=Grouping(burst=1000))


async def _healthy() -> None:
    await asyncio.sleep(0.05)


async def _stalled() -> None:
    await asyncio.sleep(10)
    raise Unreachable("no answer within 10 s")


async def _refused() -> None:
    raise Unreachable("ConnectionRefusedError")


async def _throttled() -> None:
    raise Throttled("too many messages", retry_after=1.0)


async def _failing() -> None:
    await asyncio.sleep(0.05)
    raise Unreachable("HTTP 500")


async def _unresolved() -> None:
    await asyncio.sleep(5)
    raise Unreachable("ClientConnectorDNSError")


async def _untrusted() -> None:
    await asyncio.sleep(0.1)
    raise Unreachable("ClientConnectorSSLError")


async def _broken() -> None:
    raise RuntimeError("a bug in a channel")


FAULTS = [_stalled, _refused, _throttled, _failing, _unresolved, _untrusted, _broken]


class Troubled:
    """A channel with a real courier, whose every attempt ends as the fault has it."""

    name, is_for_people = "troubled", True

    def __init__(self, fault: Callable[[], Awaitable[None]]) -> None:
        self._fault = fault
        self._courier = Courier("troubled", monotonic=asyncio.get_running_loop().time)
        self.attempts = 0

    def fit(self, waiting: list[Queued]) -> int:
        return min(len(waiting), 10)

    async def send(self, session: object, batch: list[Queued]) -> None:
        del session, batch
        await self._courier.insist(self._attempt)

    async def _attempt(self) -> None:
        self.attempts += 1
        await self._fault()


async def ways(fault: Callable[[], Awaitable[None]], waits: float = 0.0) -> list[timedelta]:
    """How long each of many orders took from enqueue to ack; who tells may be made to wait, in seconds."""
    desk, channel = FakeDesk(), Troubled(fault)

    async def source() -> Sequence[Outlet]:
        return [Outlet(channel, LOUD)]

    sender = BackgroundSender(source, monotonic=asyncio.get_running_loop().time, moment=asyncio.get_running_loop().time)
    record = desk.store.orders.record

    async def record_and_tell(changes: Any, **how: Any) -> Any:
        done = await record(changes, **how)
        for _, order in changes:
            title = f"{order.state}: {order.client_order_id}"
            sender.notify(Alert(title, "", "info", datetime.now(UTC), side=str(order.side)))
        if waits:
            await asyncio.sleep(waits)
        return done

    desk.store.orders.record = record_and_tell  # pyright: ignore[reportAttributeAccessIssue]
    taken: list[timedelta] = []
    async with desk.executing():
        for _ in range(ORDERS):
            order = await desk.want(BTC, price="99")
            await desk.until_state(order, OrderState.ACCEPTED)
            history = await desk.store.orders.events(order.client_order_id)
            acked = next(event.at for event in history if event.new_state is OrderState.ACCEPTED)
            taken.append(acked - history[0].at)
    assert channel.attempts > 0
    await sender.close(seconds=0)
    return taken


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_no_order_waits_for_a_channel_in_trouble(fault: Callable[[], Awaitable[None]]) -> None:
    """The same orders take the same time to the microsecond, whatever the webhook does."""
    healthy, troubled = in_virtual_time(ways)(_healthy), in_virtual_time(ways)(fault)
    assert len(troubled) == ORDERS
    assert min(healthy) > timedelta(0)
    assert troubled == healthy


def test_the_comparison_would_see_an_order_that_waits() -> None:
    """A figure that cannot differ proves nothing."""
    slowed, healthy = in_virtual_time(ways)(_healthy, 0.001), in_virtual_time(ways)(_healthy)
    assert sum(slowed, timedelta(0)) > sum(healthy, timedelta(0))
