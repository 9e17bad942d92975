"""The teller: what happens on an account is told once each, over restarts, and in the words a person needs."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from kontor.config import KontorConfig, RiskSettings
from kontor.config.alerts import AlertSettings
from kontor.desk import close_gate, open_gate
from kontor.domain.account import Balance, Position, PositionSide
from kontor.domain.fill import Fill
from kontor.domain.order import Order, OrderState, Side
from kontor.execution.cancel import request_cancels
from kontor.execution.halt import halt, halted, resume
from kontor.notify.teller import DESK, HaltNews, Teller
from kontor.notify.told import TOLD
from tests.fakes.desk import ACCOUNT, BTC, ETH, Alerts, FakeDesk
from tests.fakes.virtual_time import START, in_virtual_time

S = OrderState
SETTINGS = AlertSettings()


class Rig:
    """A fake desk and its teller, which a test may replace by a new one, as a restart does."""

    def __init__(self, **how: Any) -> None:
        self.desk = FakeDesk(**how)
        self.start()

    def start(self) -> None:
        """A new process: nothing is known but what the store has."""
        self.alerts = Alerts()
        self.teller = Teller(ACCOUNT, self.desk.store, self.desk.clock, self.alerts, self.halts, mode="paper")

    async def halts(self) -> HaltNews | None:
        found = await halted(self.desk.store.desk, ACCOUNT)
        key = f"{found.at.isoformat()} {found.reason}" if found else ""
        return None if found is None else HaltNews(key, found.reason, found.actor, found.title)

    async def told(self, settings: AlertSettings = SETTINGS) -> list[str]:
        """The titles of what is told by one more step."""
        before = len(self.alerts.sent)
        while await self.teller.step(settings):
            pass
        return [alert.title for alert in self.alerts.sent[before:]]

    @property
    def events(self) -> list[str]:
        return [alert.event for alert in self.alerts.sent]


async def a_rig(**how: Any) -> Rig:
    """A rig that has begun to follow."""
    rig = Rig(**how)
    assert await rig.told() == []
    return rig


@in_virtual_time
async def test_an_order_is_told_at_each_stage_and_its_position_when_it_opens_and_closes() -> None:
    """Accepted, partly filled, filled; then what it earned."""
    rig = await a_rig()
    desk = rig.desk
    async with desk.executing():
        order = await desk.want(BTC, Side.BUY, "2", "100")
        await desk.until_state(order, S.ACCEPTED)
        assert await rig.told() == ["Accepted: buy 2 BTC/USD:USD"]
        fill(desk, order, "0.5")
        await track_and_settle(desk)
        assert await rig.told() == ["Position opened: long 0.5 BTC/USD:USD", "Partly filled: buy 2 BTC/USD:USD"]
        fill(desk, order, "1.5")
        await track_and_settle(desk)
        assert await rig.told() == ["Filled: buy 2 BTC/USD:USD"]
        exit_order = await desk.want(BTC, Side.SELL, "2", "110")
        await desk.until_state(exit_order, S.ACCEPTED)
        fill(desk, exit_order, "2", "110")
        await track_and_settle(desk)
        told = await rig.told()
    assert told == ["Position closed: BTC/USD:USD, +20 USD", "Filled: sell 2 BTC/USD:USD"]
    closed = rig.alerts.sent[-2]
    assert dict(closed.fields) | {"Entry": "100", "Exit": "110"} == dict(closed.fields)
    assert rig.events == [
        "order.accepted",
        "position.opened",
        "order.partially_filled",
        "order.filled",
        "position.closed",
        "order.filled",
    ]


def fill(desk: FakeDesk, order: Order, quantity: str, price: str = "100") -> None:
    """The venue trades a part of an order."""
    report = next(each for each in desk.venue.orders.values() if each.client_order_id == order.client_order_id)
    desk.venue.fill(report.venue_order_id, Decimal(quantity), desk.clock.now(), Decimal(price))


async def track_and_settle(desk: FakeDesk) -> None:
    """What track-orders does every thirty seconds."""
    from kontor.execution.track import track

    at = desk.clock.now()
    await desk.store.account.save_open_orders(ACCOUNT, await desk.exchange.fetch_open_orders(), at)
    await asyncio.sleep(1)
    await track(desk)


@in_virtual_time
async def test_what_happened_while_nobody_told_is_told_afterwards_and_once() -> None:
    """A restart loses nothing and repeats nothing: the place in the history is in the store."""
    rig = await a_rig()
    async with rig.desk.executing():
        order = await rig.desk.want(BTC, Side.BUY, "1")
        await rig.desk.until_state(order, S.FILLED)
    rig.start()
    assert sorted(await rig.told()) == ["Filled: buy 1 BTC/USD:USD", "Position opened: long 1 BTC/USD:USD"]
    rig.start()
    assert await rig.told() == []


@in_virtual_time
async def test_a_process_that_dies_before_it_noted_what_it_told_tells_again() -> None:
    """Rather twice than not at all: the note is made after the alert was handed over."""
    rig = await a_rig()
    await rig.desk.want("ABC/USD", Side.BUY, "1", "100")
    write = rig.desk.store.desk.set_attribute

    async def dies(*_: Any, **__: Any) -> None:
        raise OSError("killed")

    rig.desk.store.desk.set_attribute = dies  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(OSError, match="killed"):
        await rig.told()
    assert len(rig.alerts.sent) == 1
    rig.desk.store.desk.set_attribute = write
    rig.start()
    assert len(await rig.told()) == 1


@in_virtual_time
async def test_the_first_start_tells_no_history_and_knows_what_is_held() -> None:
    """Switched on over an account that traded for months."""
    rig = Rig()
    async with rig.desk.executing():
        await rig.desk.until_state(await rig.desk.want(BTC, Side.BUY, "1"), S.FILLED)
        await asyncio.sleep(5)
        held = Position(
            BTC, PositionSide.LONG, Decimal(1), Decimal(90), None, None, None, None, None, rig.desk.clock.now()
        )
        await rig.desk.store.account.save_positions(ACCOUNT, [held], rig.desk.clock.now())
        assert await rig.told() == []
        await rig.desk.until_state(await rig.desk.want(BTC, Side.SELL, "1"), S.FILLED)
        await asyncio.sleep(5)
    assert "Position closed: BTC/USD:USD, +10 USD" in await rig.told()


@in_virtual_time
async def test_refusals_are_told_with_their_reason_and_a_limit_by_its_name() -> None:
    """Which limit stopped it is what a person wants to know."""
    config = KontorConfig(risk=RiskSettings(max_order_value=Decimal(50)))
    rig = await a_rig(config=config)
    await rig.desk.want(BTC, Side.BUY, "1", "100")
    await rig.desk.want("ABC/USD", Side.BUY, "1", "100")
    assert await rig.told() == ["Risk limit hit: max_order_value", "Denied: buy 1 ABC/USD"]
    limit, denied = rig.alerts.sent
    assert (limit.event, limit.severity) == ("risk.limit_hit", "warning")
    assert "above max_order_value 50" in dict(limit.fields)["Reason"]
    assert (denied.event, denied.severity) == ("order.denied", "warning")


@in_virtual_time
async def test_a_cancel_is_told_and_the_wish_for_one_is_not() -> None:
    """Only what is true at the venue is news."""
    rig = await a_rig()
    async with rig.desk.executing():
        order = await rig.desk.want(BTC, Side.BUY, "1", "99")
        await rig.desk.until_state(order, S.ACCEPTED)
        await request_cancels(rig.desk, actor="test", client_order_ids=[order.client_order_id])
        await rig.desk.until_state(order, S.CANCELED)
    assert await rig.told() == ["Canceled: buy 1 BTC/USD:USD"]


@in_virtual_time
async def test_an_outcome_unknown_for_too_long_is_one_critical_alert() -> None:
    """The most dangerous thing that can happen: neither there nor not there."""
    rig = await a_rig()
    desk = rig.desk
    order = await desk.want(BTC, Side.BUY, "1", "99")
    stored = await desk.order(order)
    lost = replace(stored, state=S.SUBMITTED, submitted_at=desk.clock.now(), unknown_since=desk.clock.now(), attempts=1)
    await desk.store.orders.record([(stored, lost)], actor="test", at=desk.clock.now())
    assert await rig.told() == []
    await asyncio.sleep(31)
    assert await rig.told() == ["Outcome unknown: buy 1 BTC/USD:USD"]
    alert = rig.alerts.sent[-1]
    assert (alert.severity, alert.event) == ("critical", "order.unknown")
    assert "for 31 s" in alert.text
    rig.start()
    await asyncio.sleep(600)
    assert await rig.told() == []


@in_virtual_time
async def test_a_halt_and_its_end_are_told_whoever_called_it() -> None:
    """Nothing is traded any more: people must know, and know when it goes on."""
    rig = await a_rig()
    state, clock = rig.desk.store.desk, rig.desk.clock
    await halt(state, ACCOUNT, "lost 5 % today", actor="monitor-risk", at=clock.now())
    assert await rig.told() == ["Trading halted"]
    assert (rig.alerts.sent[-1].text, rig.alerts.sent[-1].severity) == ("lost 5 % today", "critical")
    rig.start()
    assert await rig.told() == []
    await resume(state, ACCOUNT, actor="a person", at=clock.now())
    assert await rig.told() == ["Trading resumed"]
    assert rig.alerts.sent[-1].text == "It had been halted: lost 5 % today"


@in_virtual_time
async def test_the_desk_is_told_up_and_down_once_each_time() -> None:
    """A restart of the teller's own process is neither."""
    rig = await a_rig()
    state, clock = rig.desk.store.desk, rig.desk.clock
    await close_gate(state, ACCOUNT, clock.now())
    assert await rig.told() == []
    await open_gate(state, ACCOUNT, clock.now())
    assert await rig.told() == ["Desk started"]
    rig.start()
    assert await rig.told() == []
    await asyncio.sleep(60)
    await state.set_attribute(ACCOUNT, DESK, {"stopping": True}, clock.now())
    assert await rig.told() == ["Desk stopped"]
    assert await rig.told() == []
    await asyncio.sleep(60)
    await close_gate(state, ACCOUNT, clock.now())
    assert await rig.told() == []
    await asyncio.sleep(1)
    await open_gate(state, ACCOUNT, clock.now())
    assert await rig.told() == ["Desk started"]


@in_virtual_time
async def test_the_daily_summary_comes_once_a_day_at_its_hour() -> None:
    """What one reads with the first coffee."""
    rig = await a_rig()
    desk = rig.desk
    settings = AlertSettings.model_validate({"daily_summary": {"at": "07:00", "timezone": "Europe/Berlin"}})
    await desk.store.account.save_balance(ACCOUNT, balance("1000", desk))
    await asyncio.sleep(6 * 3600)  # 06:00 UTC is 07:00 in Berlin, on the day the teller began
    assert await rig.told(settings) == []
    await asyncio.sleep(24 * 3600 - 60)
    assert await rig.told(settings) == []
    await desk.store.account.save_balance(ACCOUNT, balance("1100", desk))
    async with desk.executing():
        await desk.until_state(await desk.want(BTC, Side.BUY, "1"), S.FILLED)
        await desk.until_state(await desk.want(BTC, Side.SELL, "1"), S.FILLED)
        await desk.want(ETH, Side.BUY, "1", "99")
        await asyncio.sleep(60)
    told = await rig.told(settings)
    assert told[-1] == "Daily summary 2026-01-02"
    facts = dict(rig.alerts.sent[-1].fields)
    assert facts["Capital"] == "1,100.00 USD"
    assert facts["Orders"] == "2 filled, 1 accepted"
    assert facts["Fills"] == "2"
    assert facts["P&L of closed positions"] == "+0.00 USD"
    assert await rig.told(settings) == []


def balance(total: str, desk: FakeDesk) -> Balance:
    return Balance("USD", Decimal(total), Decimal(total), Decimal(0), desk.clock.now())


@in_virtual_time
async def test_more_than_a_batch_is_told_to_the_end() -> None:
    """A night without a teller."""
    rig = await a_rig()
    for _ in range(120):
        await rig.desk.want("ABC/USD", Side.BUY, "1", "100")
    assert len(await rig.told()) == 120


@in_virtual_time
async def test_one_order_that_cannot_be_told_does_not_stop_the_rest() -> None:
    """The place in the history would never be passed."""
    rig = await a_rig()
    await rig.desk.want("ABC/USD", Side.BUY, "1", "100")
    odd = await rig.desk.want("ABC/USD", Side.BUY, "2", "100")
    rig.desk.store.orders._orders[odd.client_order_id] = replace(odd, quantity="none")  # pyright: ignore[reportArgumentType]
    assert await rig.told() == ["Denied: buy 1 ABC/USD"]
    assert await rig.told() == []


@in_virtual_time
async def test_what_was_told_is_bounded() -> None:
    """It is written at every step."""
    rig = await a_rig()
    for number in range(50):
        fill = Fill(
            f"t{number}", BTC, Side.BUY if number % 2 else Side.SELL, Decimal(1), Decimal(100), START, "v1", "c1"
        )
        await rig.desk.store.orders.save_fills(ACCOUNT, [fill])
    await rig.told()
    told = await rig.desk.store.desk.attribute(ACCOUNT, TOLD)
    assert told is not None
    assert len(str(told.value)) < 1000
    assert told.at >= START + timedelta(0)
