"""What the system status tells: down once, up again once, and the capital as one tidy message an hour."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import cast

import pytest

from kontor.config import KontorConfig
from kontor.config.trading import StrategySettings
from kontor.desk import Desk
from kontor.domain.account import Balance
from kontor.domain.health import judge
from kontor.notify.queued import sameness
from kontor.ports import Exchange
from kontor.resilience.clock import VirtualClock
from kontor.store.memory import MemoryStore
from kontor.trading.books import UNITS
from tasks.status import send_capital_message, tell_changes
from tests.fakes.desk import Alerts

ACCOUNT = "paper"
INTERVALS = {"update-balance": timedelta(seconds=30), "update-candles": timedelta(seconds=60)}


@pytest.fixture
def desk() -> Desk:
    return Desk(ACCOUNT, KontorConfig(), cast("Exchange", None), MemoryStore(), VirtualClock(), Alerts())


def titles(desk: Desk) -> list[str]:
    return [alert.title for alert in cast("Alerts", desk.notifier).sent]


async def look(desk: Desk) -> list[str]:
    """One run of the status check; the titles of what it tells."""
    before = len(titles(desk))
    heartbeats = await desk.store.desk.heartbeats(ACCOUNT)
    await tell_changes.fn(desk, judge(INTERVALS, heartbeats, desk.clock.now()))
    return titles(desk)[before:]


async def test_down_is_told_once_and_up_again_too(desk: Desk) -> None:
    """Never reported is down; in between there is nothing to tell; and nobody has to look whether it works again."""
    clock, state = cast("VirtualClock", desk.clock), desk.store.desk
    assert await look(desk) == ["2 updaters are down"]
    assert await look(desk) == []
    await state.beat(ACCOUNT, "update-balance", clock.now())
    assert await look(desk) == ["update-balance is up again"]
    await state.beat(ACCOUNT, "update-candles", clock.now())
    assert await look(desk) == ["update-candles is up again"]
    await clock.advance(61)
    assert await look(desk) == ["update-balance is down"]
    down = cast("Alerts", desk.notifier).sent[-1]
    assert (down.severity, down.text) == ("critical", "no success for 61 s")
    await clock.advance(60)
    await state.beat(ACCOUNT, "update-balance", clock.now())
    assert await look(desk) == ["update-candles is down"]
    swapped = cast("Alerts", desk.notifier).sent[-1]
    assert "up again: update-balance" in swapped.text
    await state.beat(ACCOUNT, "update-candles", clock.now())
    assert await look(desk) == ["update-candles is up again"]
    # One story for the grouping: an updater that flaps is one alert, then digests.
    assert len({sameness(alert) for alert in cast("Alerts", desk.notifier).sent}) == 1


async def test_the_capital_message_is_one_tidy_message_an_hour(desk: Desk) -> None:
    """Total, free, what it was, units, each with its currency; nothing before the first balance."""
    clock, hour = cast("VirtualClock", desk.clock), timedelta(hours=1)
    assert await send_capital_message.fn(desk, hour) == {}
    assert titles(desk) == []
    for total in ("1000", "1100"):
        balance = Balance("USD", Decimal(total), Decimal(900), Decimal(200), clock.now())
        await desk.store.account.save_balance(ACCOUNT, balance)
    units = {
        "free_risk_margin": "55",
        "free_risk_margin_priority": "88",
        "open_units": "2",
        "unit_risk": "44",
        "next_unit_value": "16.5",
        "max_unit_value": "22",
    }
    await desk.store.desk.set_attribute(ACCOUNT, UNITS, units, clock.now())
    for _ in range(120):
        await send_capital_message.fn(desk, hour)
        await clock.advance(60)
    assert titles(desk) == ["Capital", "Capital"]
    fields = dict(cast("Alerts", desk.notifier).sent[0].fields)
    assert fields["Total"] == "1,100.00 USD"
    assert fields["Free"] == "900.00 USD"
    assert fields["Since the start"] == "+100.00 USD (+10.00 %)"
    assert "Open units" not in fields, "figures of strategies although none is enabled"
    desk.config.strategies["own"] = StrategySettings(use="sma_cross", symbols=("BTC/USD",))
    await send_capital_message.fn(desk)
    fields = dict(cast("Alerts", desk.notifier).sent[-1].fields)
    assert fields["Free risk margin"] == "55.00 USD"
    assert fields["Priority margin"] == "88.00 USD"
    assert fields["Open units"] == "2, risking 44.00 USD"
    assert fields["Next unit"] == "16.50 of at most 22.00 USD"
