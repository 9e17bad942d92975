"""Which updaters are well: each heartbeat judged against its own interval."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

# A run may start late and takes its time: the next success is due within two intervals.
PATIENCE = 2


class HeartbeatLike(Protocol):
    """The part of a heartbeat that is judged."""

    @property
    def last_success_at(self) -> datetime | None:
        """Success only; a failure leaves it alone."""
        ...

    @property
    def last_error(self) -> str | None:
        """Why the newest failure failed."""
        ...


@dataclass(frozen=True, slots=True)
class UpdaterHealth:
    """One updater's verdict; `age` is the time since its last success, None when there was none."""

    updater: str
    interval: timedelta
    last_success_at: datetime | None
    age: timedelta | None
    ok: bool
    reason: str


def judge(
    intervals: Mapping[str, timedelta], heartbeats: Mapping[str, HeartbeatLike], now: datetime
) -> tuple[UpdaterHealth, ...]:
    """A verdict for every updater that has an interval, by name; one that never reported is down."""
    return tuple(_one(name, interval, heartbeats.get(name), now) for name, interval in sorted(intervals.items()))


def _one(name: str, interval: timedelta, heartbeat: HeartbeatLike | None, now: datetime) -> UpdaterHealth:
    if heartbeat is None or heartbeat.last_success_at is None:
        reason = (heartbeat.last_error if heartbeat else None) or "never reported"
        return UpdaterHealth(name, interval, None, None, ok=False, reason=reason)
    age = max(now - heartbeat.last_success_at, timedelta(0))
    ok = age <= PATIENCE * interval
    reason = "" if ok else heartbeat.last_error or f"no success for {age.total_seconds():.0f} s"
    return UpdaterHealth(name, interval, heartbeat.last_success_at, age, ok=ok, reason=reason)
