"""What the processes of a desk have left of their rate budgets, as the store has it."""

from __future__ import annotations

from datetime import timedelta

from kontor.resilience.budget_keeper import BudgetKeeper
from kontor.resilience.budget_state import RATE_BUDGETS, load_budgets
from kontor.resilience.clock import VirtualClock
from kontor.resilience.rate_budget import Priority, RateBudget
from kontor.resilience.rate_shares import REMEMBERED
from kontor.store.memory import MemoryStore


async def test_each_process_says_what_it_has_left_and_one_that_is_gone_is_forgotten() -> None:
    """A worker that is started again every night must not leave a row for each night."""
    clock, state = VirtualClock(), MemoryStore().desk

    async def joined(process: str) -> tuple[BudgetKeeper, RateBudget]:
        budget = RateBudget(10, 10, clock)
        keeper = BudgetKeeper(state, "paper", process, budget, clock)
        await keeper.join()
        return keeper, budget

    first, budget = await joined("host:1")
    await budget.acquire(Priority.CANCEL, 3)
    await clock.advance(2)
    budget.pause(0)
    await budget.acquire(Priority.CANCEL, 3)
    await clock.advance(0)
    await first.refresh()
    assert {(each.process, each.left, each.waiting) for each in await load_budgets(state, "paper", clock.now())} == {
        ("host:1", 0.4, 0)
    }
    await clock.advance((REMEMBERED + timedelta(seconds=1)).total_seconds())
    assert await load_budgets(state, "paper", clock.now()) == ()
    await joined("host:2")
    stored = await state.attribute("paper", RATE_BUDGETS)
    assert stored is not None
    assert set(stored.value) == {"host:2"}
    assert await load_budgets(state, "other", clock.now()) == ()


async def test_what_an_older_version_has_left_in_the_store_is_no_row() -> None:
    """An upgrade finds the rows of the day before."""
    clock, state = VirtualClock(), MemoryStore().desk
    old = {"per_second": 10, "left": 0.5, "waiting": 0, "at": clock.now().isoformat()}
    await state.set_attribute("paper", RATE_BUDGETS, {"host:1": old}, clock.now())
    assert await load_budgets(state, "paper", clock.now()) == ()
    await BudgetKeeper(state, "paper", "host:2", RateBudget(10, 10, clock), clock).join()
    assert [each.process for each in await load_budgets(state, "paper", clock.now())] == ["host:2"]
