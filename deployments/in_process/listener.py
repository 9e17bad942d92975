"""One subscription to Prefect's events for all runs of the worker: cancellations, suspensions, new runs, changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from prefect.events import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.logging import get_logger

logger = get_logger("worker.in_process.listener")

CANCELING = "prefect.flow-run.Cancelling"
SUSPENDED = "prefect.flow-run.Suspended"
#: States in which a run asks for a worker. The scheduler's own runs come without such events, by polling.
WANTS_WORKER = ("prefect.flow-run.Scheduled", "prefect.flow-run.AwaitingRetry", "prefect.flow-run.Resuming")
DEPLOYMENT_CHANGED = ("prefect.deployment.updated", "prefect.deployment.deleted")
#: Seconds before a lost subscription is tried again.
RECONNECT_AFTER = 2.0


@dataclass
class Listener:
    """Calls back for each event; what was missed while the server was away is made up for by `on_connect`."""

    on_canceling: Callable[[UUID], Awaitable[None]]
    on_suspended: Callable[[UUID], Awaitable[None]]
    on_wanted: Callable[[], None]
    on_deployment_changed: Callable[[UUID], None]
    on_connect: Callable[[], Awaitable[None]]

    async def listen(self) -> None:
        """Listen until canceled."""
        names = [CANCELING, SUSPENDED, *WANTS_WORKER, *DEPLOYMENT_CHANGED]
        while True:
            try:
                wanted = EventFilter(event=EventNameFilter(name=names))
                async with get_events_subscriber(filter=wanted, reconnection_attempts=0) as events:
                    logger.debug("event=listening")
                    await self.on_connect()
                    async for event in events:
                        await self._dispatch(event)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever broke the subscription, the next one may work
                logger.debug("event=subscription-lost error=%r", error)
            await asyncio.sleep(RECONNECT_AFTER)

    async def _dispatch(self, event: Event) -> None:
        try:
            subject = UUID(event.resource.id.rsplit(".", 1)[1])
            if event.event == CANCELING:
                await self.on_canceling(subject)
            elif event.event == SUSPENDED:
                await self.on_suspended(subject)
            elif event.event in DEPLOYMENT_CHANGED:
                self.on_deployment_changed(subject)
            else:
                self.on_wanted()
        except Exception:
            logger.exception("event=event-not-handled name=%s resource=%s", event.event, event.resource.id)
