"""The holdings at the last reconciliation: what our fills are added to when the venue is compared with our books."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from kontor.ports import DeskState

RECONCILED = "reconciled"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Signed swap positions and currency totals, as the venue had them at `at`."""

    at: datetime
    positions: Mapping[str, Decimal]
    balances: Mapping[str, Decimal]
    # Newest fills that the holdings contain already, as "symbol trade_id": clocks differ, so time alone cannot tell.
    counted: frozenset[str] = frozenset()


async def load_baseline(state: DeskState, account: str) -> Baseline | None:
    """The last one, None before the first reconciliation."""
    found = await state.attribute(account, RECONCILED)
    if found is None or not found.value:
        return None
    value = found.value
    return Baseline(
        datetime.fromisoformat(value["at"]),
        _decimals(value["positions"]),
        _decimals(value["balances"]),
        frozenset(value["counted"]),
    )


def as_value(baseline: Baseline) -> dict[str, Any]:
    """How it is stored, as the attribute RECONCILED."""
    return {
        "at": baseline.at.isoformat(),
        "positions": {name: str(quantity) for name, quantity in baseline.positions.items()},
        "balances": {name: str(total) for name, total in baseline.balances.items()},
        "counted": sorted(baseline.counted),
    }


def _decimals(values: Mapping[str, str]) -> dict[str, Decimal]:
    return {name: Decimal(value) for name, value in values.items()}
