"""The rate budgets of an account's processes, in the store: what each needs and holds, and what it has left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kontor.ports import DeskState
from kontor.resilience.rate_budget import Share
from kontor.resilience.rate_shares import Holding, Needs, remembered

RATE_BUDGETS = "rate_budgets"


@dataclass(frozen=True, slots=True)
class ReportedBudget:
    """One process's budget: `left` is a share of the full bucket, below 0 while a large call is paid off."""

    process: str
    per_second: float
    left: float
    # How many calls wait for their turn.
    waiting: int
    at: datetime


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One process's row: its holding, its budget's figures, and until when the exchange has asked it to be silent."""

    holding: Holding
    reported: ReportedBudget
    paused_until: datetime | None = None


async def load_budgets(state: DeskState, account: str, now: datetime) -> tuple[ReportedBudget, ...]:
    """What the processes have reported within the last minutes."""
    found = await state.attribute(account, RATE_BUDGETS)
    rows = rows_of(found.value if found else None)
    kept = remembered([row.holding for row in rows], now)
    return tuple(row.reported for row in rows if row.holding in kept and not row.holding.has_left)


def rows_of(value: Any) -> list[BudgetRow]:
    """The rows that a stored value means; what an older version has left there is none."""
    return [_from_json(name, row) for name, row in (value or {}).items() if row and "rate" in row]


def value_of(rows: Sequence[BudgetRow]) -> dict[str, Any]:
    """Rows as they are stored."""
    return {row.holding.process: _to_json(row) for row in rows}


def _to_json(row: BudgetRow) -> dict[str, Any]:
    holding, reported = row.holding, row.reported
    return {
        "at": holding.at.isoformat(),
        "urgent": round(holding.needs.urgent, 4),
        "data": round(holding.needs.data, 4),
        "rate": holding.share.rate,
        "burst": holding.share.burst,
        "floor": holding.floor,
        "has_left": holding.has_left,
        "per_second": reported.per_second,
        "left": round(reported.left, 4),
        "waiting": reported.waiting,
        "paused_until": row.paused_until.isoformat() if row.paused_until else None,
    }


def _from_json(process: str, value: Mapping[str, Any]) -> BudgetRow:
    at = datetime.fromisoformat(value["at"])
    needs, share = Needs(value["urgent"], value["data"]), Share(value["rate"], value["burst"])
    paused = value["paused_until"]
    return BudgetRow(
        Holding(process, at, needs, share, value["floor"], value["has_left"]),
        ReportedBudget(process, value["per_second"], value["left"], value["waiting"], at),
        datetime.fromisoformat(paused) if paused else None,
    )
