"""One channel's queue and the task that empties it, in order."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import islice

import aiohttp

from kontor.config.alerts import ChannelRules
from kontor.notify.delivery import Channel, NotDelivered, Refused
from kontor.notify.policy import Policy, wants
from kontor.notify.queued import Queued
from kontor.notify.redaction import redact
from kontor.ports import Alert

logger = logging.getLogger(__name__)

# A revoked webhook or token: asked again only this often, until somebody mends the block.
REFUSAL_PAUSE = 300.0
_LOOK_AHEAD = 20
_LOG_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Outlet:
    """A channel and what it is told."""

    channel: Channel
    rules: ChannelRules = field(default_factory=ChannelRules)


class Lane:
    """Delivers to one channel; whatever the channel does, nobody else waits for it."""

    def __init__(
        self,
        outlet: Outlet,
        *,
        capacity: int,
        monotonic: Callable[[], float] = time.monotonic,
        moment: Callable[[], float] = time.time,
    ) -> None:
        self.channel = outlet.channel
        self.policy = Policy(outlet.rules, moment)
        self.lost = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._capacity = capacity
        self._monotonic = monotonic
        self._queue: deque[Queued] = deque()
        self._filled = asyncio.Event()
        # Handed to the channel; nobody knows yet whether they arrive.
        self._in_flight: list[Queued] = []
        self._closed_until = 0.0

    @property
    def waiting(self) -> int:
        """How many alerts are not delivered yet."""
        return len(self._queue) + len(self._in_flight)

    def offer(self, queued: Queued) -> None:
        """Deliver an alert if this channel is told of it; now, or in a digest when it is quiet or too much."""
        if not wants(self.policy.rules, queued.alert):
            return
        # Machines count for themselves: an automation waits for each of them.
        if not self.channel.is_for_people or self.policy.admit(queued):
            self.push(queued)

    def takes_now(self, alert: Alert) -> bool:
        """Whether nothing that was told before can hold it back here."""
        return not self.channel.is_for_people or self.policy.passes(alert) or not wants(self.policy.rules, alert)

    def release(self, *, due_only: bool) -> None:
        """Deliver the digest of what was held back."""
        for digest in self.policy.due() if due_only else self.policy.flush():
            self.push(digest)

    def push(self, queued: Queued) -> None:
        """Add an alert behind the others; a full queue loses its oldest, which is counted."""
        if len(self._queue) >= self._capacity:
            self._queue.popleft()
            self.lose_oldest(1)
        self._queue.append(queued)
        self.idle.clear()
        self._filled.set()

    def inherit(self, other: "Lane") -> None:
        """Take over what another lane of the same name has not delivered, and what it holds back."""
        self.lost += other.lost
        rules, self.policy = self.policy.rules, other.policy
        self.policy.change(rules)
        for queued in other.surrender():
            self.push(queued)

    def surrender(self) -> list[Queued]:
        """Everything that has not arrived for certain, oldest first; this lane has nothing left to do."""
        waiting = [*self._in_flight, *self._queue]
        self._queue.clear()
        self._in_flight = []
        return waiting

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Deliver for as long as the task lives."""
        while True:
            await self._filled.wait()
            while self._queue:
                await asyncio.sleep(max(0.0, self._closed_until - self._monotonic()))
                batch = self._in_flight = [self._queue.popleft() for _ in range(self._fit())]
                await self._deliver(session, batch)
                self._in_flight = []
            self._filled.clear()
            self.idle.set()

    def _fit(self) -> int:
        try:
            return self.channel.fit(list(islice(self._queue, _LOOK_AHEAD)))
        except Exception as error:  # noqa: BLE001 - an alert that cannot be measured goes alone, and fails alone
            logger.warning("alert cannot be measured channel=%s: %s", self.channel.name, redact(str(error)))
            return 1

    async def _deliver(self, session: aiohttp.ClientSession, batch: list[Queued]) -> None:
        try:
            await self._report_losses(session, batch[0].alert)
            await self.channel.send(session, batch)
        except Refused as error:
            await self._refused(session, batch, error)
        except NotDelivered as error:
            self._lose(len(batch), str(error))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in a notifier, the next alert gets its chance
            self._lose(len(batch), f"{type(error).__name__}: {error}")

    async def _refused(self, session: aiohttp.ClientSession, batch: list[Queued], error: Refused) -> None:
        if error.is_lasting:
            self._closed_until = self._monotonic() + REFUSAL_PAUSE
            self._lose(len(batch), f"{error}; enter a valid address in its block, in the UI under Blocks")
        elif len(batch) == 1:
            self._lose(1, str(error))
        else:
            # One alert that the service dislikes must not take its neighbours with it.
            for sent, queued in enumerate(batch, 1):
                await self._deliver(session, [queued])
                self._in_flight = batch[sent:]

    async def _report_losses(self, session: aiohttp.ClientSession, next_alert: Alert) -> None:
        if not self.lost:
            return
        lost = self.lost
        notice = replace(
            next_alert,
            title=f"{lost} alert{'s' if lost > 1 else ''} could not be delivered here",
            text="This channel did not take them in time; the log has the reason.",
            severity="warning",
            fields=(),
            url=None,
            side=None,
        )
        await self.channel.send(session, [Queued(notice)])
        self.lost -= lost

    def lose_oldest(self, count: int) -> None:
        """Count what a full queue dropped; a burst drops thousands, and only some of them are worth a line."""
        if count and (self.lost == 0 or (self.lost + count) // _LOG_EVERY > self.lost // _LOG_EVERY):
            logger.warning("alerts lost channel=%s lost=%d: too many at once", self.channel.name, self.lost + count)
        self.lost += count

    def _lose(self, count: int, reason: str) -> None:
        self.lost += count
        logger.warning("alerts lost channel=%s lost=%d: %s", self.channel.name, self.lost, redact(reason))


def left_over(lanes: Iterable[Lane]) -> int:
    """How many alerts wait in these lanes."""
    return sum(lane.waiting for lane in lanes)
