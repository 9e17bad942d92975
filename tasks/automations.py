"""The automations of a desk: what Prefect's own server tells people, even when no flow of ours runs any more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.events.actions import DoNothing, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from blocks.notifiers import CHANNELS
from kontor.config.alerts import AlertSettings
from kontor.notify.policy import wants
from kontor.ports import Alert
from tasks.prefect_events import PREFIX

RESOURCE, ROLE, NAME = "prefect.resource.id", "prefect.resource.role", "prefect.resource.name"
MISSING_SECONDS = 60
# One message in this time, however often it happens, and of whichever account: our own alerts tell every case, this is
# the second way, and a day of flapping must stay within what people read.
SELDOM = timedelta(hours=24)
_OVER = {f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut", "Cancelled", "Completed")}
_OF_EVENT = "{{ event.payload.text or event.payload.reason }}\n"
_OF_EVENT += "{% for name, value in (event.payload.facts or {}).items() %}{{ name }}: {{ value }}\n{% endfor %}"
_OF_EVENT += "About: {{ event.resource.name }}"


@dataclass(frozen=True, slots=True)
class Watchword:
    """One automation: its name, what fires it, and what it says; `severity` decides which channels get it."""

    name: str
    description: str
    trigger: EventTrigger
    subject: str
    body: str
    event: str
    severity: str = "critical"


def watchwords(pool: str) -> Sequence[Watchword]:
    """The automations of a desk whose workers serve the work pool `pool`."""
    runs, served = {RESOURCE: "prefect.flow-run.*"}, {ROLE: "work-pool", NAME: pool}
    return (
        Watchword(
            "Kontor: executor not running",
            "A run of execute-orders ended and none has started within a minute: orders wait.",
            _missing(
                "prefect.flow-run.Running",
                after=_OVER,
                match=runs,
                related={ROLE: "flow", NAME: "execute-orders"},
                for_each="related:deployment:prefect.resource.name",
            ),
            "The executor is not running",
            f"execute-orders ended and has not started again for {MISSING_SECONDS} s: orders wait in the queue.",
            "executor.missing",
        ),
        Watchword(
            "Kontor: worker offline",
            "A work queue has not been asked for runs for two minutes: its worker is gone.",
            _missing(
                "prefect.work-queue.ready",
                after={"prefect.work-queue.not-ready"},
                match={RESOURCE: "prefect.work-queue.*"},
                related=served,
                for_each=RESOURCE,
            ),
            "A worker is offline",
            f"A work queue of pool {pool} has had no worker for two minutes: its runs do not start.",
            "worker.offline",
        ),
        Watchword(
            "Kontor: flow late",
            "A scheduled run did not start in time; told of the first in a day.",
            _first("prefect.flow-run.Late", match=runs, related=served),
            "{{ flow.name }} is late",
            "Run {{ flow_run.name }} should have started at {{ flow_run.expected_start_time }}. {{ flow_run|ui_url }}",
            "flow.late",
            "warning",
        ),
        _on_event("breaker open", "breaker.opened", "A circuit breaker opened: calls to the venue are stopped."),
        _on_event("order rejected", "order.rejected", "The venue rejected an order."),
        _on_event(
            "outcome unknown",
            "order.unknown",
            "Nobody knows what became of an order, for too long.",
            severity="critical",
            for_each=RESOURCE,
        ),
    )


def _on_event(name: str, event: str, description: str, *, severity: str = "warning", for_each: str = "") -> Watchword:
    resources = {RESOURCE: ["kontor.account.*", "kontor.breaker.*"]}
    trigger = _first(f"{PREFIX}{event}", match=resources, for_each=for_each)
    subject = f"{{{{ event.payload.title or '{description}' }}}}"
    return Watchword(f"Kontor: {name}", description, trigger, subject, _OF_EVENT, event, severity)


def _missing(
    event: str, *, after: set[str], match: Mapping[str, str], related: Mapping[str, str], for_each: str
) -> EventTrigger:
    """Fires when an event has not followed another within a minute, for each thing by itself."""
    return EventTrigger(
        posture=Posture.Proactive,
        match=_specification(match),
        match_related=_specification(related),
        after=after,
        expect={event},
        for_each={for_each},
        within=timedelta(seconds=MISSING_SECONDS),
    )


def _first(
    event: str,
    *,
    match: Mapping[str, str | list[str]],
    related: Mapping[str, str] | None = None,
    for_each: str = "",
) -> EventTrigger:
    """Fires on the first of these events, where it says so for each thing by itself, and then not for a day."""
    return EventTrigger(
        posture=Posture.Reactive,
        match=_specification(match),
        match_related=_specification(related or {}),
        expect={event},
        for_each={for_each} if for_each else set(),
        threshold=1,
        within=SELDOM,
    )


def _specification(labels: Mapping[str, str] | Mapping[str, str | list[str]]) -> ResourceSpecification:
    return ResourceSpecification(dict(labels))


async def ensure_automations(client: PrefectClient, settings: AlertSettings, pool: str) -> list[str]:
    """Make the automations that are missing; a sentence for each thing done.

    One that is there stays as a person has edited it. Only when none of the blocks it sends to exists any more, it gets
    those that do. Without any channel nothing is made: there would be nobody to tell.
    """
    blocks = await _channel_blocks(client)
    if not blocks:
        return []
    done: list[str] = []
    for word in watchwords(pool):
        actions = [
            SendNotification(block_document_id=found, subject=f"[{word.severity}] {word.subject}", body=word.body)
            for found in _told(word, blocks, settings)
        ] or [DoNothing()]
        known = await client.read_automations_by_name(word.name)
        if not known:
            await client.create_automation(
                AutomationCore(name=word.name, description=word.description, trigger=word.trigger, actions=actions)  # pyright: ignore[reportArgumentType]
            )
            done.append(f"automation {word.name!r} made")
        elif _leads_nowhere(known[0], await _existing(client, known[0])):
            changed = known[0].model_copy(update={"actions": actions}).model_dump(exclude={"id", "owner_resource"})
            await client.update_automation(known[0].id, AutomationCore.model_validate(changed))
            done.append(f"automation {word.name!r} sends to the channels that exist now")
    return done


async def _channel_blocks(client: PrefectClient) -> dict[str, UUID]:
    """The document ids of the blocks named `default`, by channel."""
    found: dict[str, UUID] = {}
    for channel, block_class in CHANNELS.items():
        try:
            block = await client.read_block_document_by_name("default", block_class.get_block_type_slug())
        except ObjectNotFound:
            continue
        found[channel] = block.id
    return found


def _told(word: Watchword, blocks: dict[str, UUID], settings: AlertSettings) -> list[UUID]:
    alert = Alert(word.name, "", word.severity, datetime.now(UTC), event=word.event)
    return [block for channel, block in blocks.items() if wants(settings.rules(channel), alert)]


async def _existing(client: PrefectClient, automation: Automation) -> set[UUID]:
    ids = {each.block_document_id for each in automation.actions if isinstance(each, SendNotification)}
    documents = await client.read_block_documents(limit=200)
    return ids & {document.id for document in documents}


def _leads_nowhere(automation: Automation, existing: set[UUID]) -> bool:
    sends = [each for each in automation.actions if isinstance(each, SendNotification)]
    return bool(sends) and not existing
