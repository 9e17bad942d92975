"""What the processes of a desk have left of their rate budgets, as the store has it."""

from __future__ import annotations

from datetime import timedelta

from kontor.resilience.budget_state import REMEMBERED, load_budgets, save_budget
from kontor.resilience.clock import VirtualClock
from kontor.resilience.rate_budget import Priority, RateBudget
from kontor.store.memory import MemoryStore


async def test_each_process_says_what_it_has_left_and_one_that_is_gone_is_forgotten() -> None:
    """A worker that is started again every night must not leave a row for each night."""
    clock, state = VirtualClock(), MemoryStore().desk
    budget = RateBudget(10, 10, clock)
    await budget.acquire(Priority.CANCEL, 6)
    await save_budget(state, "paper", "host:1", budget, clock.now())
    await clock.advance(0.1)
    await save_budget(state, "paper", "host:2", budget, clock.now())
    assert {(each.process, each.left, each.waiting) for each in await load_budgets(state, "paper", clock.now())} == {
        ("host:1", 0.4, 0),
        ("host:2", 0.5, 0),
    }
    await clock.advance((REMEMBERED - timedelta(seconds=0.05)).total_seconds())
    assert [each.process for each in await load_budgets(state, "paper", clock.now())] == ["host:2"]
    await save_budget(state, "paper", "host:3", budget, clock.now())
    stored = await state.attribute("paper", "rate_budgets")
    assert stored is not None
    assert set(stored.value) == {"host:2", "host:3"}
    assert await load_budgets(state, "other", clock.now()) == ()
