"""Telling the world about circuit breakers: each change goes to the store and becomes a Prefect event."""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta

from prefect.events import emit_event

from kontor.errors import KontorError
from kontor.notify import news, redact
from kontor.ports import Alert, Clock, Store
from kontor.resilience.breaker_state import REPEATED, save_breaker
from kontor.resilience.circuit_breaker import BreakerState, BreakerStatus
from kontor.resilience.clock import SystemClock
from tasks.contexts import outside_of_any_run
from tasks.notifications import process_sender

logger = logging.getLogger(__name__)

EVENTS = {"open": "kontor.breaker.opened", "half-open": "kontor.breaker.half-opened", "closed": "kontor.breaker.closed"}
# More changes than this waiting to be told means that nobody can be told; the newest matter.
MOST_WAITING = 100


class BreakerReporter:
    """Takes changes without making the call that caused them wait; belongs to one event loop.

    A breaker that is not closed is said again every minute: one that nobody calls stays open, and is to be seen.
    """

    def __init__(self, store: Callable[[], Awaitable[Store]], clock: Clock | None = None) -> None:
        self._store, self._clock = store, clock or SystemClock()
        # Those that are not closed.
        self._standing: dict[tuple[str, str], BreakerStatus] = {}
        self._repeating: asyncio.Task[None] | None = None
        self._is_closed = False
        self._waiting: dict[tuple[str, str], tuple[str, BreakerStatus]] = {}
        # When each breaker opened that is not closed yet: a trial between is no end of the outage.
        self._opened: dict[tuple[str, str], datetime] = {}
        self._task: asyncio.Task[None] | None = None
        self.process = f"{socket.gethostname()}:{os.getpid()}"

    def changed(self, account: str, status: BreakerStatus) -> None:
        """Note a change; the newest one of each breaker is told, in the background. After `close` nothing is."""
        if self._is_closed:
            return
        if status.state is BreakerState.OPEN:
            self._opened.setdefault((account, status.whole or status.name), status.since or self._clock.now())
        self._waiting.pop((account, status.name), None)
        self._waiting[account, status.name] = account, status
        self.note(account, status)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.pop(next(iter(self._waiting)))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(
                self._tell_all(), name="tell breakers", context=outside_of_any_run()
            )

    def note(self, account: str, status: BreakerStatus) -> None:
        """Say from now on how it stands, without making news of it."""
        if self._is_closed:
            return
        self._standing.pop((account, status.name), None)
        if status.state is not BreakerState.CLOSED:
            self._standing[account, status.name] = status
        if self._standing and (self._repeating is None or self._repeating.done()):
            self._repeating = asyncio.get_running_loop().create_task(
                self._repeat(), name="repeat breakers", context=outside_of_any_run()
            )

    async def forget(self, account: str, names: Collection[str]) -> None:
        """Say no more of breakers that nobody uses."""
        standing = [name for name in names if (account, name) in self._standing]
        for name in standing:
            status = self._standing.pop((account, name))
            self._opened.pop((account, status.whole or name), None)
        if self._task is not None:
            # What is just being told would come after it.
            await asyncio.gather(self._task, return_exceptions=True)
        for name in standing:
            await self._save(account, BreakerStatus(name, BreakerState.CLOSED))

    async def close(self) -> None:
        """Tell what is left, and no more."""
        # The breakers end with their sessions: what is opened next begins closed.
        self._is_closed = True
        if self._repeating is not None:
            self._repeating.cancel()
            await asyncio.gather(self._repeating, return_exceptions=True)
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _repeat(self) -> None:
        while self._standing:
            await self._clock.sleep(REPEATED.total_seconds())
            for (account, _), status in list(self._standing.items()):
                await self._save(account, status)

    async def _save(self, account: str, status: BreakerStatus) -> None:
        try:
            store = await self._store()
            await save_breaker(store.desk, account, self.process, status, self._clock.now())
        except KontorError as error:
            logger.warning("breaker_not_stored account=%s name=%s error=%s", account, status.name, error)

    async def _tell_all(self) -> None:
        while self._waiting:
            key = next(iter(self._waiting))
            account, status = self._waiting.pop(key)
            await self._save(account, status)
            now = self._clock.now()
            alert = breaker_alert(account, status, now, outage=self._outage(account, status, now))
            self._emit(account, status, alert)
            if alert is not None:
                process_sender().notify(alert)

    def _outage(self, account: str, status: BreakerStatus, now: datetime) -> timedelta | None:
        """How long it had been open, when it has closed; a stream from its first address on."""
        key = account, status.whole or status.name
        if status.state is not BreakerState.CLOSED or not status.is_news or key not in self._opened:
            return None
        return (status.since or now) - self._opened.pop(key)

    def _emit(self, account: str, status: BreakerStatus, alert: Alert | None) -> None:
        # Whoever watches a stream watches one thing, however many addresses it has.
        name = status.whole or status.name
        emit_event(
            EVENTS[status.state.value],
            resource={
                "prefect.resource.id": f"kontor.breaker.{account}.{name.replace(' ', '-')}",
                "prefect.resource.name": f"{account} {name}",
                "kontor.account": account,
            },
            payload={
                "breaker": status.name,
                "state": status.state.value,
                "failures": status.failures,
                "retry_at": status.retry_at.isoformat() if status.retry_at else None,
                "reason": status.reason,
                "process": self.process,
                **({"title": alert.title, "text": redact(alert.text), "severity": alert.severity} if alert else {}),
            },
        )


def breaker_alert(
    account: str, status: BreakerStatus, at: datetime, *, outage: timedelta | None = None
) -> Alert | None:
    """What people are told of a change; nothing of a mere trial. A stream's breaker is the stream."""
    is_stream, state = "stream" in status.name, status.state.value
    name = status.whole or status.name
    if state == "half-open" or not status.is_news:
        return None
    if state == "closed":
        if is_stream:
            return news.stream_recovered(account, at, stream=name, outage=outage)
        return news.breaker_closed(account, at, breaker=name)
    if is_stream:
        return news.stream_degraded(account, at, stream=name, reason=status.reason)
    retry_in = status.retry_at - at if status.retry_at else None
    return news.breaker_opened(account, at, breaker=name, reason=status.reason, retry_in=retry_in)
