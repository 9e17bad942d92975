"""An alert that waits to be delivered, and which alerts say the same thing."""

import re
from collections.abc import Hashable
from dataclasses import dataclass

from kontor.ports import Alert

_FIGURES = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Queued:
    """One place in a channel's queue; `repeats` is how often the alert came besides this one."""

    alert: Alert
    repeats: int = 0


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
    text = alert.text if alert.severity == "info" else _FIGURES.sub("#", alert.text)
    fields = () if alert.severity == "warning" else alert.fields
    return (alert.severity, alert.title, text, alert.account, fields)
