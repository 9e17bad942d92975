"""What one channel is told, and when: filters, quiet hours, and one digest for what is too much."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from kontor.config.alerts import ChannelRules, QuietHours
from kontor.notify.digest import Held, rank
from kontor.notify.queued import Queued, dump_alert, load_alert
from kontor.notify.windows import DAY, LONGEST, Count, Pacing
from kontor.ports import Alert

# Whatever else a channel has been told today: each of these at once.
AT_ONCE = frozenset({"trading.halted", "order.unknown", "order.held", "drift"})
# Other critical alerts that go out one by one within 24 hours: news, and what was told before and comes again.
FIRSTS, AGAIN = 6, 3
# With the five of a burst eleven, with the critical ones 17: three are left for Prefect's own automations.
DIGESTS = 6


def wants(rules: ChannelRules, alert: Alert) -> bool:
    """Whether a channel with these rules is told of an alert.

    A list of wanted events cannot silence a critical alert by accident; naming its event under `without` can.
    """
    if not rules.enabled or rank(alert.severity) < rank(rules.severity):
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
    """Decides for one channel; what it holds back comes as one digest. `moment` is seconds since the epoch."""

    rules: ChannelRules
    moment: Callable[[], float]
    _pacing: Pacing = field(init=False)
    # What went out one by one or as a digest, and which critical alerts did.
    _routine: Count = field(init=False, default_factory=Count.none)
    _urgent: Count = field(init=False, default_factory=Count.none)
    _held: Held = field(init=False, default_factory=Held)
    _held_urgent: Held = field(init=False, default_factory=Held)
    # The newest report of each kind and account: its figures are what it is for, so it comes whole.
    _reports: dict[str, Queued] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._pacing = self._new_pacing()

    def change(self, rules: ChannelRules) -> None:
        """Other rules from now on; what is held stays held until they let it go."""
        is_regrouped = rules.grouping != self.rules.grouping
        self.rules = rules
        if is_regrouped:
            self._pacing = self._new_pacing()

    def passes(self, alert: Alert) -> bool:
        """Whether an alert goes out now whatever has been told before."""
        if alert.severity == "critical":
            return alert.event in AT_ONCE
        return not _is_counted(alert) and not self._is_quiet()

    def admit(self, queued: Queued) -> bool:
        """Whether an alert that the channel wants goes out now; otherwise it is held for the digest."""
        alert, now = queued.alert, self.moment()
        if self.passes(alert):
            return True
        if alert.severity == "critical":
            return self._admit_urgent(queued, now)
        if not _is_counted(alert):
            self._hold(queued)
            return False
        self._pacing.sees(now)
        if self._is_quiet() or not self._may_send_one(now):
            self._hold(queued)
            return False
        self._sends(now)
        return True

    def due(self) -> list[Queued]:
        """The digest, when its time has come; in quiet hours only what is critical, after them the reports too."""
        now, is_quiet = self.moment(), self._is_quiet()
        found: list[Queued] = []
        if (self._held_urgent or (self._held and not is_quiet)) and self._digest_in(now) <= 0:
            self._sends(now)
            found.append(self._digest(urgent_only=is_quiet))
        return found if is_quiet else [*found, *self._take_reports()]

    def flush(self) -> list[Queued]:
        """The digest, due or not: the process ends."""
        digest = [self._digest(urgent_only=False)] if self._held or self._held_urgent else []
        return [*digest, *self._take_reports()]

    def next_due_in(self) -> float | None:
        """Seconds until `due` has something; None while nothing is held."""
        now = self.moment()
        quiet = self._quiet_for()
        waits = [self._digest_in(now)] if self._held_urgent else []
        waits += [max(quiet, self._digest_in(now))] if self._held else []
        waits += [quiet] if self._reports else []
        return max(0.0, min(waits)) if waits else None

    def dump(self) -> dict[str, Any]:
        """As the store keeps it, for the other processes and the next start."""
        return {
            "pacing": self._pacing.dump(),
            "routine": self._routine.moments,
            "urgent": self._urgent.moments,
            "held": self._held.dump(),
            "held_urgent": self._held_urgent.dump(),
            "reports": {key: dump_alert(queued.alert) for key, queued in self._reports.items()},
        }

    def load(self, kept: Mapping[str, Any]) -> None:
        """Go on from what was kept."""
        self._pacing.load(kept["pacing"])
        self._routine, self._urgent = Count(kept["routine"]), Count(kept["urgent"])
        self._held, self._held_urgent = Held.load(kept["held"]), Held.load(kept["held_urgent"])
        self._reports = {key: Queued(load_alert(alert)) for key, alert in kept["reports"].items()}

    def forget_held(self) -> None:
        """What is held is in the store; from here on hold what comes while that cannot be reached."""
        self._held, self._held_urgent, self._reports = Held(), Held(), {}

    def join(self, kept: Mapping[str, Any]) -> None:
        """Add what was kept to what was decided here meanwhile."""
        self._pacing.join(kept["pacing"])
        self._routine.join(kept["routine"])
        self._urgent.join(kept["urgent"])
        self._held.take(Held.load(kept["held"]))
        self._held_urgent.take(Held.load(kept["held_urgent"]))
        self._reports = {key: Queued(load_alert(alert)) for key, alert in kept["reports"].items()} | self._reports

    def _admit_urgent(self, queued: Queued, now: float) -> bool:
        if self._urgent.within_a_day(now) < (FIRSTS if queued.is_first else AGAIN):
            self._urgent.add(now)
            return True
        self._pacing.sees(now)
        self._held_urgent.add(queued)
        return False

    def _hold(self, queued: Queued) -> None:
        alert = queued.alert
        if alert.event.startswith("report."):
            self._reports[f"{alert.event} {alert.account}"] = queued
        else:
            self._held.add(queued)

    def _digest(self, *, urgent_only: bool) -> Queued:
        if not urgent_only:
            self._held_urgent.take(self._held)
        return self._held_urgent.message()

    def _take_reports(self) -> list[Queued]:
        reports = list(self._reports.values())
        self._reports = {}
        return reports

    def _sends(self, now: float) -> None:
        self._pacing.sends(now)
        self._routine.add(now)

    @property
    def _most(self) -> int:
        return self.rules.grouping.burst + DIGESTS

    def _may_send_one(self, now: float) -> bool:
        # Some of the day are left for digests: trouble that comes back after six quiet hours starts its pauses afresh.
        is_early = self._routine.within_a_day(now) < self._most - DIGESTS // 2
        return is_early and not self._held and self._pacing.may_send(now)

    def _digest_in(self, now: float) -> float:
        """Seconds until the next digest: by the pauses, and not more of them than fit into a day."""
        wait = 0.0 if self._pacing.may_send(now) else self._pacing.next_at - now
        if self._routine.within_a_day(now) < self._most:
            return wait
        moments = self._routine.moments
        room_at = moments[-1] + LONGEST if self._held_urgent else moments[-self._most] + DAY
        return max(wait, room_at - now)

    def _new_pacing(self) -> Pacing:
        grouping = self.rules.grouping
        return Pacing(float(grouping.first_digest_seconds), free=grouping.burst, next_at=self.moment())

    def _is_quiet(self) -> bool:
        return self._quiet_for() > 0

    def _quiet_for(self) -> float:
        hours, now = self.rules.quiet_hours, datetime.fromtimestamp(self.moment(), UTC)
        end = None if hours is None else quiet_until(hours, now)
        return 0.0 if end is None else (end - now).total_seconds()


def _is_counted(alert: Alert) -> bool:
    return not alert.side and not alert.event.startswith("report.")
