"""The breakers of every process of a desk, in the store: for the status, and for whoever wants them closed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kontor.ports import DeskState
from kontor.resilience.circuit_breaker import BreakerState, BreakerStatus

BREAKERS = "breakers"
# Goes up whenever somebody wants every breaker closed; each process looks at it when it opens the desk.
BREAKERS_RESET = "breakers_reset"
# How often a process says again that a breaker of its own is not closed.
REPEATED = timedelta(minutes=1)
# What nobody has said for so long has been left behind by a process that is gone.
REMEMBERED = 3 * REPEATED


@dataclass(frozen=True, slots=True)
class ReportedBreaker:
    """A breaker that is not closed, and the process it belongs to."""

    process: str
    status: BreakerStatus
    at: datetime


async def save_breaker(state: DeskState, account: str, process: str, status: BreakerStatus, at: datetime) -> None:
    """Note how a breaker stands; one that is closed is forgotten, and so is what dead processes have left."""
    key = f"{process} {status.name}"
    own = {} if status.state is BreakerState.CLOSED else {key: _to_json(process, status, at)}

    def change(value: Any) -> dict[str, Any]:
        others = {name: row for name, row in (value or {}).items() if row and name != key}
        return {name: row for name, row in others.items() if _is_remembered(row, at)} | own

    await state.update_attribute(account, BREAKERS, change, at)


async def load_breakers(state: DeskState, account: str, now: datetime) -> tuple[ReportedBreaker, ...]:
    """Those that are not closed, as their processes have reported them within the last minutes."""
    found = await state.attribute(account, BREAKERS)
    reported = [_from_json(value) for value in (found.value if found else {}).values() if value]
    return tuple(each for each in reported if now - each.at < REMEMBERED)


async def ask_for_reset(state: DeskState, account: str, at: datetime) -> int:
    """Have every process close its breakers; returns the number of this request."""
    await state.set_attribute(account, BREAKERS, {}, at)
    return await state.increment(account, BREAKERS_RESET, at)


async def last_reset(state: DeskState, account: str) -> int:
    """The number of the newest such request, 0 when there was none."""
    found = await state.attribute(account, BREAKERS_RESET)
    return int(found.value) if found else 0


def _is_remembered(row: Mapping[str, Any], now: datetime) -> bool:
    return now - datetime.fromisoformat(row["at"]) < REMEMBERED


def _to_json(process: str, status: BreakerStatus, at: datetime) -> dict[str, Any]:
    return {
        "process": process,
        "name": status.name,
        "state": status.state.value,
        "failures": status.failures,
        "since": status.since.isoformat() if status.since else None,
        "retry_at": status.retry_at.isoformat() if status.retry_at else None,
        "reason": status.reason[:300],
        "at": at.isoformat(),
    }


def _from_json(value: Mapping[str, Any]) -> ReportedBreaker:
    since, retry_at = (datetime.fromisoformat(value[name]) if value[name] else None for name in ("since", "retry_at"))
    status = BreakerStatus(
        value["name"], BreakerState(value["state"]), value["failures"], since, retry_at, value["reason"]
    )
    return ReportedBreaker(value["process"], status, datetime.fromisoformat(value["at"]))
