"""An alert that waits to be delivered, and which alerts say the same thing."""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kontor.notify.redaction import redact
from kontor.ports import Alert

_FIGURES = re.compile(r"\d+")
# Each of these is a moment of its own, however often it comes.
ALWAYS_NEWS = frozenset({"trading.halted"})
_LONGEST_KEPT = 2000


@dataclass(frozen=True, slots=True)
class Queued:
    """One place in a channel's queue; `repeats` is how often the alert came besides this one.

    `is_first` tells news from what has been told before, and now comes again.
    """

    alert: Alert
    repeats: int = 0
    is_first: bool = True


def sameness(alert: Alert) -> Hashable | None:
    """A key that alerts share when a person would call them the same; None for a trade, which is always news.

    Figures in the text of a warning or a critical alert do not matter: `took 20.1 s` and `took 20.3 s` are one trouble.
    What tells two troubles apart belongs into the title, or, unless it is a warning, into the fields. A group says by
    itself what belongs together: down and up again are one story.
    """
    if alert.side:
        return None
    if alert.group:
        return (alert.account, alert.group)
    if alert.event in ALWAYS_NEWS:
        return None
    text = alert.text if alert.severity == "info" else _FIGURES.sub("#", alert.text)
    fields = () if alert.severity == "warning" else alert.fields
    return (alert.severity, alert.title, text, alert.account, fields)


def dump_alert(alert: Alert) -> dict[str, Any]:
    """An alert as the store keeps it until its digest: without secrets, and not longer than a person reads."""
    return {
        "title": redact(alert.title)[:_LONGEST_KEPT],
        "text": redact(alert.text)[:_LONGEST_KEPT],
        "severity": alert.severity,
        "at": alert.at.isoformat(),
        "account": alert.account,
        "fields": [[name, redact(value)[:_LONGEST_KEPT]] for name, value in alert.fields],
        "url": alert.url,
        "side": alert.side,
        "event": alert.event,
        "group": alert.group,
        "about": list(alert.about),
    }


def load_alert(kept: Mapping[str, Any]) -> Alert:
    """The same, read again."""
    fields = tuple((name, value) for name, value in kept["fields"])
    at, about = datetime.fromisoformat(kept["at"]), tuple(kept["about"])
    rest = {name: value for name, value in kept.items() if name not in {"at", "fields", "about", "event"}}
    return Alert(**rest, at=at, fields=fields, about=about, event=kept["event"])
