"""Our news as Prefect events, for automations: kontor.order.rejected, kontor.breaker.opened, and so on."""

from dataclasses import dataclass

from prefect.events import emit_event

from kontor.config.alerts import ChannelRules, Grouping
from kontor.notify.queued import Queued
from kontor.notify.redaction import redact

PREFIX = "kontor."
# Prefect tells of its own runs itself, tasks.breakers of breakers; reports and digests are for people.
RULES = ChannelRules(without=("flow.*", "report.*", "alerts.*", "breaker.*", "other"), grouping=Grouping(burst=1000))
_MOST_TOGETHER = 20


@dataclass(slots=True)
class PrefectEvents:
    """A channel that nobody reads: each alert becomes an event of the account it is about."""

    @property
    def name(self) -> str:
        """For logs."""
        return "prefect"

    @property
    def is_for_people(self) -> bool:
        """Read by automations."""
        return False

    def fit(self, waiting: list[Queued]) -> int:
        """As many as there are, within reason."""
        return min(len(waiting), _MOST_TOGETHER)

    async def send(self, session: object, batch: list[Queued]) -> None:
        """Hand the events to Prefect's own background thread, which delivers them."""
        del session
        for queued in batch:
            alert = queued.alert
            account = alert.account or "desk"
            emit_event(
                event=f"{PREFIX}{alert.event}",
                resource={
                    "prefect.resource.id": f"kontor.account.{account}",
                    "prefect.resource.name": account,
                    "prefect.resource.role": "account",
                    "kontor.severity": alert.severity,
                },
                occurred=alert.at,
                payload={
                    "title": redact(alert.title),
                    "text": redact(alert.text),
                    "severity": alert.severity,
                    "side": alert.side,
                    "repeats": queued.repeats,
                    "facts": {name: redact(value) for name, value in alert.fields},
                },
            )
