"""Who tells of breakers: changes are news, and what stays open stays to be seen."""

from __future__ import annotations

import asyncio

import pytest

from kontor.resilience.breaker_state import REMEMBERED, load_breakers
from kontor.resilience.circuit_breaker import BreakerState, BreakerStatus
from kontor.resilience.connection_budget import CONNECTIONS
from kontor.resilience.connection_gate import INSTANT_TRIES
from kontor.store.memory import MemoryStore
from tasks import breakers
from tasks.breakers import BreakerReporter
from tasks.resources import Resources
from tests.fakes.virtual_time import LoopClock, in_virtual_time

OPEN = BreakerStatus("okx orders", BreakerState.OPEN, 5, reason="timeouts")


# The events of the test at hand.
TOLD: list[str] = []


@pytest.fixture(autouse=True)
def without_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are noted here, and nobody is told."""
    TOLD.clear()
    monkeypatch.setattr(breakers, "emit_event", lambda event, **_: TOLD.append(event))
    monkeypatch.setattr(breakers, "breaker_alert", lambda *_, **__: None)


def reporter_on(store: MemoryStore) -> BreakerReporter:
    async def the_store() -> MemoryStore:
        return store

    return BreakerReporter(the_store, LoopClock())


async def shown(store: MemoryStore) -> list[str]:
    return [each.status.name for each in await load_breakers(store.desk, "paper", LoopClock().now())]


@in_virtual_time
async def test_an_open_breaker_that_nobody_calls_stays_in_the_status_and_is_no_further_news() -> None:
    """No caller, no change: after ten minutes it was gone from the status, and still open."""
    store = MemoryStore()
    reporter = reporter_on(store)
    reporter.changed("paper", OPEN)
    for _ in range(30):
        await asyncio.sleep(60)
        assert await shown(store) == ["okx orders"]
    reporter.changed("paper", BreakerStatus("okx orders", BreakerState.CLOSED))
    await asyncio.sleep(1)
    assert await shown(store) == []
    await asyncio.sleep(600)
    assert await shown(store) == []
    await reporter.close()


@in_virtual_time
async def test_a_process_that_ends_does_not_leave_it_there() -> None:
    """Who repeats it is gone."""
    store = MemoryStore()
    reporter = reporter_on(store)
    reporter.changed("paper", OPEN)
    await asyncio.sleep(1)
    await reporter.close()
    await asyncio.sleep(REMEMBERED.total_seconds())
    assert await shown(store) == []


@in_virtual_time
async def test_the_gate_of_a_stream_that_has_ended_is_not_shown_and_makes_no_news() -> None:
    """It was shown as open for ten minutes after the stream's end."""
    store = MemoryStore()
    reporter = reporter_on(store)
    stream = BreakerStatus("okx stream-market", BreakerState.OPEN)
    reporter.changed("paper", stream)
    await reporter.forget("paper", {stream.name, "okx stream-market other"})
    assert await shown(store) == []
    await asyncio.sleep(600)
    assert await shown(store) == []
    # Begun again through a gate that has not closed meanwhile.
    reporter.note("paper", stream)
    await asyncio.sleep(61)
    assert await shown(store) == [stream.name]
    assert TOLD == ["kontor.breaker.opened"]
    await reporter.close()


async def test_a_stream_that_is_started_again_connects_through_the_gate_of_before() -> None:
    """Its trigger starts it every two seconds; each start with a full budget is a ban by the venue."""
    resources = Resources()
    gate = resources.gate("paper", "okx", "stream-market", 100)
    for _ in range(60):
        permit = await gate.enter("ws://x")
        gate.connected("ws://x", permit)
    again = resources.gate("paper", "okx", "stream-market", CONNECTIONS)
    assert again is gate
    # An edited limit counts, and what was opened is remembered.
    assert again.budget.left == CONNECTIONS - 60
    assert resources.gate("paper", "okx", "stream-account", 50) is not gate
    assert resources.gate("other", "okx", "stream-market", 100) is not gate


async def test_closing_the_breakers_of_one_account_leaves_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may trade at different exchanges, one of them away."""
    monkeypatch.setattr(Resources, "breaker_changed", lambda *_: None)
    resources = Resources()
    gates = [resources.gate(account, "okx", "stream-account", 100) for account in ("a", "b")]
    for gate in gates:
        for _ in range(INSTANT_TRIES):
            permit = await gate.enter("ws://x")
            gate.failed("ws://x", permit, "refused")
    resources.reset_breakers("a", 0)
    resources.reset_breakers("a", 1)
    states = [breaker.status.state for gate in gates for breaker in gate.breakers]
    assert states == [BreakerState.CLOSED, BreakerState.OPEN]
