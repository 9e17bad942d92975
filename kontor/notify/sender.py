"""The background sender: takes alerts at once, and delivers them when and as the channels allow."""

import asyncio
import contextlib
import contextvars
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

import aiohttp

from kontor.notify.formatting import shorten
from kontor.notify.lane import Lane, Outlet, left_over
from kontor.notify.queued import Queued
from kontor.notify.redaction import redact
from kontor.notify.repeats import Repeats
from kontor.ports import Alert

logger = logging.getLogger(__name__)

OutletSource = Callable[[], Awaitable[Sequence[Outlet]]]

CAPACITY = 1000
REFRESH_SECONDS = 60.0
# After the source itself failed (Prefect's API is away), ask again this soon.
RETRY_SOURCE_SECONDS = 5.0
_LONGEST_TEXT = 12_000


class BackgroundSender:
    """A Notifier for one event loop.

    `source` says which channels there are and what each is told; it is asked in the background, at most every
    `refresh_seconds`, so that an edited block or kontor.yaml takes effect without a restart. Each channel has its own
    queue of at most `capacity` alerts and its own task: a stalled one delays nobody. `context` is what the background
    work runs in; a flow run's own would tie it to that run.
    """

    def __init__(
        self,
        source: OutletSource,
        *,
        capacity: int = CAPACITY,
        refresh_seconds: float = REFRESH_SECONDS,
        repeats: Repeats | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        context: contextvars.Context | None = None,
    ) -> None:
        self._source = source
        self._capacity = capacity
        self._refresh_seconds = refresh_seconds
        self._repeats = repeats or Repeats()
        self._monotonic = monotonic
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[Queued] = deque(maxlen=capacity)
        self._overflow = 0
        self._wake = asyncio.Event()
        self._sorted = asyncio.Event()
        self._sorted.set()
        self._lanes: dict[str, tuple[Lane, asyncio.Task[None]]] = {}
        self._runner: asyncio.Task[None] | None = None
        self._refresh_at = 0.0
        self._said_off = False

    @property
    def waiting(self) -> int:
        """How many alerts are not delivered yet, counted once for each channel."""
        return len(self._inbox) + left_over(lane for lane, _ in self._lanes.values())

    @property
    def lost(self) -> int:
        """How many alerts were dropped and not yet reported, over all channels."""
        return self._overflow + sum(lane.lost for lane, _ in self._lanes.values())

    def notify(self, alert: Alert) -> None:
        """Take an alert; returns at once and never raises, from any thread."""
        try:
            if _running_loop() is self._loop:
                self._take(alert)
            else:
                self._loop.call_soon_threadsafe(self._take, alert)
        except Exception as error:  # noqa: BLE001 - an alert must never be what breaks its caller
            logger.warning("alert not taken title=%r: %s", redact(alert.title), redact(str(error)))

    async def drain(self, *, seconds: float) -> int:
        """Deliver what is queued, for at most `seconds`; returns how many alerts were left."""
        try:
            async with asyncio.timeout(seconds):
                await self._sorted.wait()
                for lane, _ in list(self._lanes.values()):
                    await lane.idle.wait()
        except TimeoutError:
            logger.warning("alerts not delivered within %g s left=%d", seconds, self.waiting)
        return self.waiting

    async def close(self, *, seconds: float) -> int:
        """Drain, held repeats included, then stop the background work; a later alert starts it again."""
        for digest in self._repeats.flush(self._monotonic()):
            self._put(digest)
        ends_at = self._loop.time() + seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(ends_at):
                await self._sorted.wait()
        for lane, _ in self._lanes.values():
            lane.release(due_only=False)
        left = await self.drain(seconds=max(0.0, ends_at - self._loop.time()))
        if left:
            self._inbox.clear()
            self._sorted.set()
        runner = self._runner
        if runner is not None:
            runner.cancel()
            await asyncio.wait({runner})
            if self._runner is runner:
                self._runner = None
        if self._inbox:
            self._start()  # an alert that came while the work was being stopped
        return left

    def _take(self, alert: Alert) -> None:
        if len(alert.text) > _LONGEST_TEXT:
            alert = replace(alert, text=shorten(alert.text, _LONGEST_TEXT))
        if self._repeats.admit(alert, self._monotonic()):
            self._put(Queued(alert))
        else:
            self._start()  # the digest needs somebody to send it
            self._wake.set()

    def _put(self, queued: Queued) -> None:
        if len(self._inbox) == self._capacity:
            self._overflow += 1
        self._inbox.append(queued)
        self._sorted.clear()
        self._start()
        self._wake.set()

    def _start(self) -> None:
        if self._runner is None or self._runner.done():
            self._runner = self._loop.create_task(self._run(), name="kontor-alerts", context=self._context)

    async def _run(self) -> None:
        async with aiohttp.ClientSession() as session:
            try:
                while True:
                    await self._wait_for_work()
                    for digest in self._repeats.due(self._monotonic()):
                        self._put(digest)
                    if self._inbox and await self._refresh(session):
                        self._distribute()
                    for lane, _ in self._lanes.values():
                        lane.release(due_only=True)
            finally:
                await self._stop_lanes()

    async def _wait_for_work(self) -> None:
        due_at = self._repeats.next_due_at()
        waits = [lane.policy.next_due_in() for lane, _ in self._lanes.values()]
        waits.append(None if due_at is None else max(0.0, due_at - self._monotonic()))
        pause = min((wait for wait in waits if wait is not None), default=None)
        if self._inbox:
            # The channels could not be read last time.
            pause = RETRY_SOURCE_SECONDS if pause is None else min(pause, RETRY_SOURCE_SECONDS)
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _refresh(self, session: aiohttp.ClientSession) -> bool:
        """Whether the channels are known; what a failed refresh knew before stays in force."""
        now = self._monotonic()
        if now < self._refresh_at:
            return bool(self._lanes) or self._said_off
        try:
            outlets = await self._source()
        except Exception as error:  # noqa: BLE001 - Prefect's API may be away, or a block wrong: say so and go on
            logger.warning("the alert channels could not be read: %s: %s", type(error).__name__, redact(str(error)))
            self._refresh_at = now + RETRY_SOURCE_SECONDS
            return bool(self._lanes)
        self._refresh_at = now + self._refresh_seconds
        await self._use(outlets, session)
        return True

    async def _use(self, outlets: Sequence[Outlet], session: aiohttp.ClientSession) -> None:
        old, self._lanes = self._lanes, {}
        for outlet in outlets:
            channel = outlet.channel
            known = old.get(channel.name)
            if known is not None and known[0].channel == channel and not known[1].done():
                known[0].policy.change(outlet.rules)
                self._lanes[channel.name] = old.pop(channel.name)
                continue
            lane = Lane(outlet, capacity=self._capacity, monotonic=self._monotonic)
            if known is not None:
                lane.inherit(known[0])
            self._lanes[channel.name] = (lane, asyncio.create_task(lane.run(session), name=f"kontor-{channel.name}"))
        await _stop(task for _, task in old.values())
        is_off = not any(outlet.channel.is_for_people for outlet in outlets)
        if is_off and not self._said_off:
            logger.info("alerts are off: there is no block of a channel named default")
        self._said_off = is_off

    def _distribute(self) -> None:
        overflow, self._overflow = self._overflow, 0
        for lane, _ in self._lanes.values():
            lane.lose_oldest(overflow)
        while self._inbox:
            queued = self._inbox.popleft()
            for lane, _ in self._lanes.values():
                lane.offer(queued)
        self._sorted.set()

    async def _stop_lanes(self) -> None:
        lanes, self._lanes = self._lanes, {}
        self._refresh_at = 0.0
        if left := left_over(lane for lane, _ in lanes.values()):
            logger.warning("alerts given up at the end left=%d", left)
        await _stop(task for _, task in lanes.values())


async def _stop(tasks: Iterable[asyncio.Task[None]]) -> None:
    stopping = set(tasks)
    for task in stopping:
        task.cancel()
    if stopping:
        await asyncio.wait(stopping)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
