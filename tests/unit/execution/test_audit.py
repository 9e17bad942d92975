"""Who did what to an order, and when: in its history for ever, and in every line of the log."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kontor.domain.order import OrderState
from kontor.errors import StoreUnavailable
from kontor.execution.cancel import request_cancels
from kontor.execution.reconcile import reconcile
from kontor.execution.shift import Shift
from kontor.execution.track import track
from tests.fakes.desk import BTC, ETH, SOL, FakeDesk
from tests.fakes.exchange import Fault
from tests.fakes.virtual_time import in_virtual_time

S = OrderState
REPOSITORY = Path(__file__).parents[3]
# A line that is about one order or several, wherever it says so.
ABOUT_ORDERS = re.compile(
    r"(?<![\w_])(orders?|cancel\w*|create\w*|contradictions?|tracking|stops?|fills?|sen[dt]\w*)\b|_order_"
)
FOLDERS = ("execution", "trading", "exchange", "store", "streams", "notify")
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
# Lines with such a word that are about no order that could be named.
NAMELESS = {
    "open orders not refreshed": "the account's open orders could not be read",
    "placed orders left to tracking": "the store could not say which",
    "fills not told apart": "the store could not say which",
    "stop shrinks": "what a position wants; the orders that follow have lines of their own",
    "holdings not compared": "fills of the whole account kept coming",
    "sending pauses": "the wire of the account; each order of the batch has a line of its own",
    "open_orders_maybe_incomplete": "a page of the venue was full",
    "stops not kept": "nothing could be looked at",
    "alert not sent": "an alert",
    "alerts not delivered": "alerts",
    "executor ": "the executor itself",
    "store": "the store",
}
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
        lines = [
            record.getMessage()
            for record in caplog.records
            if ABOUT_ORDERS.search(record.getMessage()) and not record.getMessage().startswith(tuple(NAMELESS))
        ]
        assert len(lines) > 10
        assert [line for line in lines if not re.search(r"client_order_ids?=", line)] == []
        told = {name for line in lines for name in re.findall(r"client_order_id=(\S+)", line)}
        assert told == names

    scenario()


def test_trouble_with_orders_names_them_too(caplog: pytest.LogCaptureFixture) -> None:
    """A venue that does not answer about them, and a store that cannot record: these lines are what one looks for."""
    caplog.set_level(logging.DEBUG, logger="kontor")

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        async with desk.executing():
            resting = [await desk.want(BTC, price="90"), await desk.want(BTC, price="91")]
            for order in resting:
                await desk.until_state(order, S.ACCEPTED)
        desk.venue.orders.clear()
        await asyncio.sleep(60)
        desk.exchange.script("lookup", *[Fault.NO_CONNECTION] * 9)
        report = await track(desk, actor="track-orders")
        assert set(report.failed) == {BTC}
        (told,) = re.findall(r"tracking failed client_order_ids=(\S+) symbol=", caplog.text)
        assert set(told.split(",")) == {order.client_order_id for order in resting}

        async def full() -> None:
            raise StoreUnavailable("disk full")

        shift: Any = SimpleNamespace(account="paper")
        await Shift._contain(shift, full, f"cancel client_order_id={resting[0].client_order_id}")
        assert f"cancel client_order_id={resting[0].client_order_id} not recorded account=paper" in caplog.text

    scenario()


def log_calls(file: Path) -> Iterator[tuple[str, str]]:
    """The message of each log call and its source."""
    text = file.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, ast.get_source_segment(text, node) or ""


def test_the_source_has_no_line_about_an_order_without_its_id() -> None:
    """Also those that no test makes, and wherever in the line the order is spoken of."""
    found = [
        (f"{file.name}: {message}", source)
        for folder in FOLDERS
        for file in (REPOSITORY / "kontor" / folder).rglob("*.py")
        for message, source in log_calls(file)
        if ABOUT_ORDERS.search(message) and not message.startswith(tuple(NAMELESS))
    ]
    assert len(found) > 20
    assert [line for line, source in found if "client_order_id" not in source] == []


def test_work_of_the_executor_is_named_by_the_orders_it_is_about() -> None:
    """What fails in it is logged by that name."""
    names = [
        name
        for file in (REPOSITORY / "kontor" / "execution").glob("*.py")
        for name in re.findall(r"\.start\(partial\([^)]*\), f\"([^\"]+)\"", file.read_text(encoding="utf-8"))
    ]
    assert len(names) >= 4
    assert [name for name in names if "client_order_id" not in name] == []


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
