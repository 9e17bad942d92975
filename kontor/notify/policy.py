"""What one channel is told, and when: filters, quiet hours, and one digest for what is too much."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from kontor.config.alerts import ChannelRules, QuietHours
from kontor.notify.queued import Queued
from kontor.notify.windows import Pacing
from kontor.ports import Alert

SEVERITIES = ("info", "warning", "critical")
# Different titles that a digest names; the rest is a number.
TITLES = 15


def wants(rules: ChannelRules, alert: Alert) -> bool:
    """Whether a channel with these rules is told of an alert.

    A list of wanted events cannot silence a critical alert by accident; naming its event under `without` can.
    """
    if not rules.enabled or _rank(alert.severity) < _rank(rules.severity):
        return False
    name = alert.event or "other"
    if any(fnmatchcase(name, pattern) for pattern in rules.without):
        return False
    return alert.severity == "critical" or any(fnmatchcase(name, pattern) for pattern in rules.events)


def quiet_until(hours: QuietHours, now: datetime) -> datetime | None:
    """When the quiet hours that `now` lies in end; None when it lies in none."""
    local = now.astimezone(hours.zone)
    clock = local.time()
    over_midnight = hours.start > hours.end
    is_quiet = (clock >= hours.start or clock < hours.end) if over_midnight else hours.start <= clock < hours.end
    if not is_quiet:
        return None
    day = local.date() + timedelta(days=1) if over_midnight and clock >= hours.start else local.date()
    return datetime.combine(day, hours.end, hours.zone).astimezone(UTC)


@dataclass
class Policy:
    """Decides for one channel; what it holds back comes as one digest. `monotonic` seconds and wall clock are given."""

    rules: ChannelRules
    monotonic: Callable[[], float]
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    _pacing: Pacing = field(init=False)
    _held: "OrderedDict[str, int]" = field(init=False, default_factory=OrderedDict)
    _latest: Queued | None = field(init=False, default=None)
    _unnamed: int = field(init=False, default=0)
    _worst: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._pacing = self._new_pacing()

    def change(self, rules: ChannelRules) -> None:
        """Other rules from now on; what is held stays held until they let it go."""
        if rules.grouping != self.rules.grouping:
            self.rules = rules
            self._pacing = self._new_pacing()
        self.rules = rules

    def admit(self, queued: Queued) -> bool:
        """Whether an alert that the channel wants goes out now; otherwise it is held for the digest."""
        alert = queued.alert
        if alert.severity == "critical":
            return True
        is_counted = not alert.side and not alert.event.startswith("report.")
        if is_counted:
            self._pacing.sees(self.monotonic())
        if self._is_quiet() or (is_counted and not self._may_send_one()):
            self._hold(queued)
            return False
        if is_counted:
            self._pacing.sends(self.monotonic())
        return True

    def due(self) -> list[Queued]:
        """The digest, when its time has come."""
        if self._latest is None or self._is_quiet() or not self._pacing.may_send(self.monotonic()):
            return []
        self._pacing.sends(self.monotonic())
        return self.flush()

    def flush(self) -> list[Queued]:
        """The digest, due or not: the process ends."""
        if self._latest is None:
            return []
        latest, count = self._latest, sum(self._held.values()) + self._unnamed
        digest = latest if count == 1 + latest.repeats else Queued(self._digest(latest.alert, count))
        self._held.clear()
        self._latest, self._unnamed, self._worst = None, 0, 0
        return [digest]

    def next_due_in(self) -> float | None:
        """Seconds until `due` has something; None while nothing is held."""
        if self._latest is None:
            return None
        wait = max(0.0, self._pacing.next_at - self.monotonic())
        hours = self.rules.quiet_hours
        now = self.now()
        if hours is not None and (end := quiet_until(hours, now)) is not None:
            wait = max(wait, (end - now).total_seconds())
        return wait

    def _new_pacing(self) -> Pacing:
        grouping = self.rules.grouping
        return Pacing(float(grouping.first_digest_seconds), free=grouping.burst, next_at=self.monotonic())

    def _is_quiet(self) -> bool:
        hours = self.rules.quiet_hours
        return hours is not None and quiet_until(hours, self.now()) is not None

    def _may_send_one(self) -> bool:
        return self._latest is None and self._pacing.may_send(self.monotonic())

    def _hold(self, queued: Queued) -> None:
        title, count = queued.alert.title, 1 + queued.repeats
        if title in self._held or len(self._held) < TITLES:
            self._held[title] = self._held.get(title, 0) + count
        else:
            self._unnamed += count
        self._worst = max(self._worst, _rank(queued.alert.severity))
        self._latest = queued

    def _digest(self, latest: Alert, count: int) -> Alert:
        lines = [f"{number} × {title}" if number > 1 else title for title, number in self._held.items()]
        if self._unnamed:
            lines.append(f"and {self._unnamed} more")
        return replace(
            latest,
            title=f"{count} alerts in one",
            text="\n".join(lines),
            severity=SEVERITIES[self._worst],
            fields=(),
            url=None,
            side=None,
            event="alerts.digest",
            group="",
        )


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
