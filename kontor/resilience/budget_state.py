"""What each process of a desk has left of its rate budget, in the store: for the doctor and whoever shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kontor.ports import DeskState
from kontor.resilience.rate_budget import RateBudget

RATE_BUDGETS = "rate_budgets"
# What a process that is gone has left behind says nothing any more.
REMEMBERED = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class ReportedBudget:
    """One process's budget: `left` is a share of the full bucket, below 0 while a large call is paid off."""

    process: str
    per_second: float
    left: float
    # How many calls wait for their turn.
    waiting: int
    at: datetime


async def save_budget(state: DeskState, account: str, process: str, budget: RateBudget, at: datetime) -> None:
    """Note what a process has left; what others said too long ago goes. Two at once: the next report mends it."""
    found = await load_budgets(state, account, at)
    own = ReportedBudget(process, budget.per_second, budget.left, budget.waiting, at)
    kept = {each.process: each for each in found} | {process: own}
    await state.set_attribute(account, RATE_BUDGETS, {name: _to_json(each) for name, each in kept.items()}, at)


async def load_budgets(state: DeskState, account: str, now: datetime) -> tuple[ReportedBudget, ...]:
    """What the processes have reported within the last minutes."""
    found = await state.attribute(account, RATE_BUDGETS)
    reported = [_from_json(name, value) for name, value in (found.value if found else {}).items()]
    return tuple(each for each in reported if now - each.at < REMEMBERED)


def _to_json(budget: ReportedBudget) -> dict[str, Any]:
    figures = {"per_second": budget.per_second, "left": round(budget.left, 4), "waiting": budget.waiting}
    return {**figures, "at": budget.at.isoformat()}


def _from_json(process: str, value: Mapping[str, Any]) -> ReportedBudget:
    at = datetime.fromisoformat(value["at"])
    return ReportedBudget(process, value["per_second"], value["left"], value["waiting"], at)
