"""Who did what to an order, and when: in its history for ever, and in every line of the log."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

import pytest

from kontor.domain.order import OrderState
from kontor.execution.cancel import request_cancels
from kontor.execution.reconcile import reconcile
from kontor.execution.track import track
from tests.fakes.desk import BTC, ETH, SOL, FakeDesk
from tests.fakes.exchange import Fault
from tests.fakes.virtual_time import in_virtual_time

S = OrderState
REPOSITORY = Path(__file__).parents[3]
# A line that is about one order or several, by its first words.
ABOUT_ORDERS = re.compile(r"(orders?|cancel|canceled|create|contradiction)\b")
# The history of the money: what may never be thrown away.
KEPT = ("orders", "order_events", "fills", "outside_moves")


async def _a_bad_day(desk: FakeDesk) -> None:
    """Answers that are lost, refusals, cancels of what is gone, and a crash in the adapter."""
    desk.exchange.script("create", Fault.TIMEOUT_AFTER)
    async with desk.executing("execute-orders brave-ant"):
        lost = await desk.want(BTC, price="90")
        await desk.until_state(lost, S.ACCEPTED)
        desk.exchange.script("create", Fault.REJECTED)
        await desk.until_state(await desk.want(ETH, price="90"), S.REJECTED)
        await desk.until_state(await desk.want(SOL, quantity="2"), S.FILLED)
        desk.exchange.script("cancel", Fault.TIMEOUT_AFTER)
        await request_cancels(desk, actor="telegram user ada", client_order_ids=[lost.client_order_id])
        await desk.until_state(lost, S.CANCELED)
        await asyncio.sleep(5)
    await track(desk, actor="track-orders")
    await reconcile(desk, actor="reconcile-orders")


def test_every_log_line_of_an_order_carries_its_client_order_id(caplog: pytest.LogCaptureFixture) -> None:
    """The one word by which somebody finds everything that happened to it, here and at the exchange."""
    caplog.set_level(logging.DEBUG, logger="kontor")

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        await _a_bad_day(desk)
        names = {order.client_order_id for order in await desk.store.orders.find("paper")}
        lines = [record.getMessage() for record in caplog.records if ABOUT_ORDERS.match(record.getMessage())]
        assert len(lines) > 10
        assert [line for line in lines if not re.search(r"client_order_ids?=", line)] == []
        told = {name for line in lines for name in re.findall(r"client_order_id=(\S+)", line)}
        assert told == names

    scenario()


def test_the_source_has_no_line_about_an_order_without_its_id() -> None:
    """Also those that no test makes."""
    lines = [
        f"{file.name}: {text}"
        for folder in ("execution", "trading", "exchange", "store", "streams")
        for file in (REPOSITORY / "kontor" / folder).rglob("*.py")
        for text in re.findall(r"log(?:ger)?\.\w+\(\s*\"([^\"]+)\"", file.read_text(encoding="utf-8"))
        if ABOUT_ORDERS.match(text)
    ]
    assert len(lines) > 10
    assert [line for line in lines if "client_order_id" not in line and "open orders" not in line] == []


def test_every_step_of_an_order_names_its_actor() -> None:
    """Strategy, flow run or operator: after a bad night somebody asks who did this."""

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        await _a_bad_day(desk)
        for order in await desk.store.orders.find("paper"):
            events = await desk.store.orders.events(order.client_order_id)
            assert [event for event in events if not event.actor] == []
            assert events[0].actor == order.actor == "test"
            # Each executor has a number of its own behind its name.
            later = {event.actor.partition(":")[0] for event in events[1:]}
            assert later <= {"executor execute-orders brave-ant", "telegram user ada", "track-orders"}
        (lost,) = await desk.store.orders.find("paper", symbol=BTC)
        actors = {event.actor.partition(":")[0] for event in await desk.store.orders.events(lost.client_order_id)}
        assert {"test", "executor execute-orders brave-ant", "telegram user ada"} <= actors

    scenario()


def test_nothing_in_the_source_throws_history_away() -> None:
    """Runs, logs and candles expire; what was bought and sold does not."""
    found = [
        f"{file.relative_to(REPOSITORY)}: {table}"
        for file in (REPOSITORY / "kontor" / "store").rglob("*.py")
        for table in KEPT
        if re.search(rf"(delete\((tables\.)?|DELETE FROM ){table}\b", file.read_text(encoding="utf-8"))  # noqa: S608
    ]
    assert found == []
