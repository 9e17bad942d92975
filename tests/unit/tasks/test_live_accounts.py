"""An account with real money is traded by nobody before its name was typed, whenever its block was turned to live."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kontor.desk import accept_live, open_gate, stakes_of
from kontor.errors import ConfigError, GateClosed
from kontor.exchange.sessions import SessionPool
from kontor.ports import Exchange, ExchangeSettings
from kontor.resilience.clock import VirtualClock
from kontor.store.memory import MemoryStore
from tasks.desk import _assemble
from tasks.resources import Resources
from tests.fakes.exchange import FakeExchange
from tests.fakes.venue import Venue

PAPER = ExchangeSettings("okx", "main", mode="paper")
LIVE = replace(PAPER, mode="live")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def opened() -> list[ExchangeSettings]:
    """What a session was opened for, in this order."""
    return []


@pytest.fixture
def resources(opened: list[ExchangeSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resources:
    """A process that has a store and reaches a venue."""
    (tmp_path / "kontor.yaml").write_text("accounts: {main: {risk: {max_order_value: 5}}}")
    monkeypatch.setenv("KONTOR_CONFIG", str(tmp_path / "kontor.yaml"))
    clock = VirtualClock(NOW)

    def opener(settings: ExchangeSettings, donors: Sequence[Exchange]) -> Exchange:
        del donors
        opened.append(settings)
        return FakeExchange(Venue(), clock)

    made = Resources()
    made._sessions = SessionPool(clock=clock, opener=opener)
    made._store_url, made._stores = (time.monotonic(), "memory"), {"memory": MemoryStore()}
    return made


def turn(resources: Resources, settings: ExchangeSettings) -> None:
    """Somebody edits the block, and its time to take effect has come."""
    resources._settings[settings.account] = time.monotonic(), settings


async def test_a_block_turned_to_live_under_an_open_gate_trades_nothing(
    resources: Resources, opened: list[ExchangeSettings]
) -> None:
    """Only initialize once asked for the person's word: the next run of any flow sent real orders."""
    turn(resources, PAPER)
    state = (await resources.store()).desk
    await open_gate(state, "main", NOW)
    desk = await _assemble(resources, "main")
    assert desk.config.risk.max_order_value == 5
    turn(resources, LIVE)
    with pytest.raises(ConfigError, match=r"account main: it trades real money at okx.*'kontor live main'"):
        await _assemble(resources, "main", gated=True)
    # One alert is enough: from then on its flows wait, and it is initialized anew once it is accepted.
    with pytest.raises(GateClosed):
        await _assemble(resources, "main", gated=True)
    with pytest.raises(ConfigError, match="'kontor live main'"):
        await resources.restart_exchange("main", 7)
    assert opened == [PAPER]
    assert await stakes_of(state, "main") == "paper"
    await accept_live(state, "main", "okx", NOW)
    await _assemble(resources, "main")
    assert opened == [PAPER, LIVE]
    # What everybody is shown is what is reached, not what a block says.
    assert await stakes_of(state, "main") == "live"


async def test_one_that_was_never_accepted_waits_and_reaches_no_exchange(
    resources: Resources, opened: list[ExchangeSettings]
) -> None:
    """Deployed, and not accepted yet: its updaters say Waiting every ten seconds, and do not fail."""
    turn(resources, LIVE)
    with pytest.raises(GateClosed):
        await _assemble(resources, "main", gated=True)
    assert opened == []


async def test_what_needs_no_exchange_works_for_it_all_the_same(resources: Resources) -> None:
    """Halting must always be possible."""
    turn(resources, LIVE)
    assert (await _assemble(resources, "main", with_exchange=False)).account == "main"
