"""What a channel is not told one by one: titles and how often each came, as one message later."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kontor.notify.queued import Queued, dump_alert, load_alert
from kontor.ports import Alert

SEVERITIES = ("info", "warning", "critical")
# Different titles that a digest names; the rest is a number.
TITLES = 15


@dataclass(slots=True)
class Held:
    """Alerts that wait for their digest; bounded, however many they are."""

    titles: "OrderedDict[str, int]" = field(default_factory=OrderedDict)
    unnamed: int = 0
    worst: int = 0
    latest: Queued | None = None

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return self.latest is not None

    @property
    def count(self) -> int:
        """How many alerts, each as often as it came."""
        return sum(self.titles.values()) + self.unnamed

    def add(self, queued: Queued) -> None:
        """One more."""
        self._add(queued.alert.title, 1 + queued.repeats)
        self.worst = max(self.worst, rank(queued.alert.severity))
        self.latest = queued

    def take(self, other: "Held") -> None:
        """All that another one holds, in front."""
        if not other:
            return
        mine, self.titles = self.titles, OrderedDict()
        for title, number in (*other.titles.items(), *mine.items()):
            self._add(title, number)
        self.unnamed += other.unnamed
        self.worst = max(self.worst, other.worst)
        self.latest = self.latest or other.latest
        other.clear()

    def clear(self) -> None:
        """Hold nothing."""
        self.titles.clear()
        self.unnamed, self.worst, self.latest = 0, 0, None

    def message(self) -> Queued:
        """The digest; an alert that came alone comes as it was."""
        if self.latest is None:
            raise ValueError("nothing is held, so there is no digest")
        latest, count = self.latest, self.count
        message = latest if count == 1 + latest.repeats else Queued(self._digest(latest.alert, count))
        self.clear()
        return message

    def dump(self) -> dict[str, Any] | None:
        """As the store keeps it."""
        if self.latest is None:
            return None
        latest = dump_alert(self.latest.alert)
        titles = [[title, number] for title, number in self.titles.items()]
        return {
            "titles": titles,
            "unnamed": self.unnamed,
            "worst": self.worst,
            "latest": latest,
            "repeats": self.latest.repeats,
        }

    @classmethod
    def load(cls, kept: Mapping[str, Any] | None) -> "Held":
        """The same, read again."""
        if kept is None:
            return cls()
        latest = Queued(load_alert(kept["latest"]), kept["repeats"])
        titles = OrderedDict((title, number) for title, number in kept["titles"])
        return cls(titles, kept["unnamed"], kept["worst"], latest)

    def _add(self, title: str, count: int) -> None:
        if title in self.titles or len(self.titles) < TITLES:
            self.titles[title] = self.titles.get(title, 0) + count
        else:
            self.unnamed += count

    def _digest(self, latest: Alert, count: int) -> Alert:
        lines = [f"{number} × {title}" if number > 1 else title for title, number in self.titles.items()]
        if self.unnamed:
            lines.append(f"and {self.unnamed} more")
        return replace(
            latest,
            title=f"{count} alerts in one",
            text="\n".join(lines),
            severity=SEVERITIES[self.worst],
            fields=(),
            url=None,
            side=None,
            event="alerts.digest",
            group="",
            about=(),
        )


def rank(severity: str) -> int:
    """How bad it is; what is no severity of ours counts as worse than all."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
