"""How the breakers of a desk's processes stand, as the store has it."""

from __future__ import annotations

from kontor.resilience.breaker_state import BREAKERS, REMEMBERED, REPEATED, load_breakers, save_breaker
from kontor.resilience.circuit_breaker import BreakerState, BreakerStatus
from kontor.resilience.clock import VirtualClock
from kontor.store.memory import MemoryStore

OPEN = BreakerStatus("okx orders", BreakerState.OPEN, 5, reason="timeouts")
CLOSED = BreakerStatus("okx orders", BreakerState.CLOSED)


async def test_one_that_is_closed_again_and_those_of_dead_processes_leave_nothing_in_the_store() -> None:
    """Keys carry host and process: a desk that is started every night grew by a few each night."""
    clock, state = VirtualClock(), MemoryStore().desk
    for number in range(20):
        await save_breaker(state, "paper", f"host:{number}", OPEN, clock.now())
        await clock.advance(REMEMBERED.total_seconds() / 4)
    stored = await state.attribute("paper", BREAKERS)
    assert stored is not None
    assert len(stored.value) == 4
    await save_breaker(state, "paper", "host:19", CLOSED, clock.now())
    stored = await state.attribute("paper", BREAKERS)
    assert stored is not None
    assert not any(key.startswith("host:19") for key in stored.value)
    await save_breaker(state, "paper", "host:18", CLOSED, clock.now())
    assert {each.process for each in await load_breakers(state, "paper", clock.now())} == {"host:17"}


async def test_what_an_older_version_has_left_is_cleared_away() -> None:
    """It kept a null for each breaker that was closed again."""
    clock, state = VirtualClock(), MemoryStore().desk
    await state.set_attribute("paper", BREAKERS, {"host:1 okx orders": None}, clock.now())
    assert await load_breakers(state, "paper", clock.now()) == ()
    await save_breaker(state, "paper", "host:2", OPEN, clock.now())
    stored = await state.attribute("paper", BREAKERS)
    assert stored is not None
    assert set(stored.value) == {"host:2 okx orders"}
    assert REPEATED * 2 < REMEMBERED
