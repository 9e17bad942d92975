"""The port to people: alerts, and who takes them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Alert:
    """Something a person should know. `severity` is info, warning or critical; `fields` become an embed's fields."""

    title: str
    text: str
    severity: str
    at: datetime
    account: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    url: str | None = None
    # buy or sell for trade alerts: it decides the colour.
    side: str | None = None
    # What happened, in dotted words, for filters and automations: order.filled, flow.failed, updater.down.
    event: str = ""
    # Alerts of one group are news of one thing: while it flaps, the latest of them speaks for all.
    group: str = ""
    # What of the group is in trouble: a name that was not told lately does not wait for others that flap.
    about: tuple[str, ...] = ()


class Notifier(Protocol):
    """Takes alerts without ever making its caller wait or fail."""

    def notify(self, alert: Alert) -> None: ...

    async def drain(self, *, seconds: float) -> int:
        """Deliver what is queued, for at most `seconds`; returns how many alerts were left."""
        ...
