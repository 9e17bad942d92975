"""The automations of a desk: what Prefect's own server tells people, even when no flow of ours runs any more."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.events.actions import DoNothing, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from blocks.notifiers import CHANNELS
from kontor.config.alerts import AlertSettings
from kontor.notify.policy import wants
from kontor.ports import Alert
from tasks.prefect_events import PREFIX

MISSING_SECONDS = 60
# One message in this time, however often it happens: our own alerts tell every case, this is the second way.
SELDOM = timedelta(hours=6)
_OVER = {f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut", "Cancelled", "Completed")}
_OF_EVENT = "{{ event.payload.text or event.payload.reason }}\n"
_OF_EVENT += "{% for name, value in (event.payload.facts or {}).items() %}{{ name }}: {{ value }}\n{% endfor %}"
_OF_EVENT += "Account: {{ event.resource.name }}"


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
    return (
        Watchword(
            "Kontor: executor not running",
            "A run of execute-orders ended and none has started within a minute: orders wait.",
            EventTrigger(
                posture=Posture.Proactive,
                match={"prefect.resource.id": "prefect.flow-run.*"},  # pyright: ignore[reportArgumentType]
                match_related={"prefect.resource.role": "flow", "prefect.resource.name": "execute-orders"},  # pyright: ignore[reportArgumentType]
                after=_OVER,
                expect={"prefect.flow-run.Running"},
                for_each={"related:deployment:prefect.resource.name"},
                within=timedelta(seconds=MISSING_SECONDS),
            ),
            "The executor is not running",
            f"execute-orders ended and has not started again for {MISSING_SECONDS} s: orders wait in the queue.",
            "executor.missing",
        ),
        Watchword(
            "Kontor: worker offline",
            "A work queue has not been asked for runs for two minutes: its worker is gone.",
            EventTrigger(
                posture=Posture.Proactive,
                match={"prefect.resource.id": "prefect.work-queue.*"},  # pyright: ignore[reportArgumentType]
                match_related={"prefect.resource.role": "work-pool", "prefect.resource.name": pool},  # pyright: ignore[reportArgumentType]
                after={"prefect.work-queue.not-ready"},
                expect={"prefect.work-queue.ready"},
                for_each={"prefect.resource.id"},
                within=timedelta(seconds=MISSING_SECONDS),
            ),
            "A worker is offline",
            f"A work queue of pool {pool} has had no worker for two minutes: its runs do not start.",
            "worker.offline",
        ),
        Watchword(
            "Kontor: flow late",
            "A scheduled run did not start in time; told of the first in six hours.",
            EventTrigger(
                posture=Posture.Reactive,
                match={"prefect.resource.id": "prefect.flow-run.*"},  # pyright: ignore[reportArgumentType]
                match_related={"prefect.resource.role": "work-pool", "prefect.resource.name": pool},  # pyright: ignore[reportArgumentType]
                expect={"prefect.flow-run.Late"},
                threshold=1,
                within=SELDOM,
            ),
            "{{ flow.name }} is late",
            "Run {{ flow_run.name }} should have started at {{ flow_run.expected_start_time }}. {{ flow_run|ui_url }}",
            "flow.late",
            "warning",
        ),
        _on_event("breaker open", "breaker.opened", "A circuit breaker opened: calls to the venue are stopped."),
        _on_event("order rejected", "order.rejected", "The venue rejected an order."),
        _on_event(
            "outcome unknown", "order.unknown", "Nobody knows what became of an order, for too long.", "critical"
        ),
    )


def _on_event(name: str, event: str, description: str, severity: str = "warning") -> Watchword:
    trigger = EventTrigger(
        posture=Posture.Reactive,
        match={"prefect.resource.id": ["kontor.account.*", "kontor.breaker.*"]},  # pyright: ignore[reportArgumentType]
        expect={f"{PREFIX}{event}"},
        threshold=1,
        within=SELDOM,
    )
    subject = f"{{{{ event.payload.title or '{description}' }}}}"
    return Watchword(f"Kontor: {name}", description, trigger, subject, _OF_EVENT, event, severity)


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
