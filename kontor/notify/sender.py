"""The background sender: takes alerts at once, and delivers them when and as the channels allow."""

import asyncio
import contextlib
import contextvars
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import replace

import aiohttp

from kontor.notify.decisions import Decisions, Taken
from kontor.notify.formatting import shorten
from kontor.notify.lane import Lane, Outlet, left_over
from kontor.notify.queued import sameness
from kontor.notify.redaction import redact
from kontor.notify.repeats import Repeats
from kontor.notify.shared import SharedPacing
from kontor.ports import Alert

logger = logging.getLogger(__name__)

OutletSource = Callable[[], Awaitable[Sequence[Outlet]]]
# Adds to an alert what only its process knows, such as whether its account is a live one.
Stamp = Callable[[Alert], Awaitable[Alert]]

CAPACITY = 1000
REFRESH_SECONDS = 60.0
# After the source itself failed (Prefect's API is away), ask again this soon.
RETRY_SOURCE_SECONDS = 5.0
# How often a process that keeps looking asks whether another one has left something to be told.
LOOK_SECONDS = 60.0
_LONGEST_TEXT = 12_000


class BackgroundSender:
    """A Notifier for one event loop.

    `source` says which channels there are and what each is told; it is asked in the background, at most every
    `refresh_seconds`, so that an edited block or kontor.yaml takes effect without a restart. Each channel has its own
    queue of at most `capacity` alerts and its own task: a stalled one delays nobody. `context` is what the background
    work runs in; a flow run's own would tie it to that run.

    With `shared` all processes of a desk decide as one: how much a channel is told a day does not grow with their
    number or their restarts, and what waits for a digest outlives them. Out of its reach each decides alone.
    """

    def __init__(
        self,
        source: OutletSource,
        *,
        capacity: int = CAPACITY,
        refresh_seconds: float = REFRESH_SECONDS,
        repeats: Repeats | None = None,
        shared: SharedPacing | None = None,
        stamp: Stamp | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        moment: Callable[[], float] = time.time,
        context: contextvars.Context | None = None,
    ) -> None:
        self._source = source
        self._capacity = capacity
        self._refresh_seconds = refresh_seconds
        self._decisions = Decisions(repeats or Repeats(), shared, moment)
        self._stamp = stamp
        self._monotonic = monotonic
        self._moment = moment
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[Taken] = deque()
        self._newest: dict[Hashable, Taken] = {}
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
        return len(self._inbox) + len(self._decisions.pending) + left_over(self._open_lanes)

    @property
    def lost(self) -> int:
        """How many alerts were dropped and not yet reported, over all channels."""
        return self._overflow + sum(lane.lost for lane in self._open_lanes)

    @property
    def _open_lanes(self) -> list[Lane]:
        return [lane for lane, _ in self._lanes.values()]

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
        """Drain, then stop the background work; a later alert starts it again.

        What is held back is told too, unless it is shared: then it is for the others, or for the next start.
        """
        ends_at = self._loop.time() + seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(ends_at):
                await self._sorted.wait()
        self._decisions.flush(self._open_lanes)
        left = await self.drain(seconds=max(0.0, ends_at - self._loop.time()))
        if left:
            self._inbox.clear()
            self._newest.clear()
            self._decisions.pending.clear()
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
        same = sameness(alert)
        key = None if same is None else (same, alert.about)
        if key is not None and key in self._newest:
            # Ten thousand of the same take one place.
            taken = self._newest[key]
            taken.last, taken.more = alert, taken.more + 1
        else:
            self._put(Taken(alert, alert, key))
        self._sorted.clear()
        self._start()
        self._wake.set()

    def _put(self, taken: Taken) -> None:
        if len(self._inbox) == self._capacity:
            oldest = self._inbox.popleft()
            self._overflow += 1 + oldest.more
            if self._newest.get(oldest.key) is oldest:
                del self._newest[oldest.key]
        self._inbox.append(taken)
        if taken.key is not None:
            self._newest[taken.key] = taken

    def keep_looking(self) -> None:
        """Tell also what processes that have ended left to be told; one process of a desk does so."""
        self._decisions.looks = True
        self._start()

    def _start(self) -> None:
        if self._runner is None or self._runner.done():
            self._runner = self._loop.create_task(self._run(), name="kontor-alerts", context=self._context)

    async def _run(self) -> None:
        async with aiohttp.ClientSession() as session:
            try:
                while True:
                    await self._wait_for_work()
                    if await self._prepare(session):
                        await self._decide()
            finally:
                await self._stop_lanes()

    async def _wait_for_work(self) -> None:
        # Not read last time: the channels.
        again = RETRY_SOURCE_SECONDS if self._inbox else None
        look = LOOK_SECONDS if self._decisions.looks else None
        waits = (self._decisions.due_in(self._open_lanes), again, look)
        pause = min((wait for wait in waits if wait is not None), default=None)
        if pause is not None and not self._lanes:
            pause = max(pause, RETRY_SOURCE_SECONDS)
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _prepare(self, session: aiohttp.ClientSession) -> bool:
        """Whether the channels are known; the alerts are stamped meanwhile."""
        refreshing = self._refresh(session, is_needed=bool(self._inbox))
        if self._stamp is None:
            return await refreshing
        # Both ask Prefect's API, and a process that ends with its run has a few seconds for it.
        is_known, _ = await asyncio.gather(refreshing, self._stamp_inbox())
        return is_known

    async def _refresh(self, session: aiohttp.ClientSession, *, is_needed: bool) -> bool:
        """Whether the channels are known; what a failed refresh knew before stays in force."""
        now = self._monotonic()
        if now < self._refresh_at or (self._lanes and not is_needed):
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
            lane = Lane(outlet, capacity=self._capacity, monotonic=self._monotonic, moment=self._moment)
            if known is not None:
                lane.inherit(known[0])
            self._lanes[channel.name] = (lane, asyncio.create_task(lane.run(session), name=f"kontor-{channel.name}"))
        await _stop(task for _, task in old.values())
        is_off = not any(outlet.channel.is_for_people for outlet in outlets)
        if is_off and not self._said_off:
            logger.info("alerts are off: there is no block of a channel named default")
        self._said_off = is_off

    async def _stamp_inbox(self) -> None:
        """Stamp what waits; a repeat that comes meanwhile takes another place, so that it is stamped as well."""
        if self._stamp is None:
            return
        while fresh := [taken for taken in self._inbox if not taken.is_stamped]:
            self._newest.clear()
            for taken in fresh:
                taken.first, taken.last = await self._stamp(taken.first), await self._stamp(taken.last)
                taken.is_stamped = True

    async def _decide(self) -> None:
        await self._stamp_inbox()  # what has come since
        self._decisions.pending += self._inbox
        self._inbox.clear()
        self._newest.clear()
        overflow, self._overflow = self._overflow, 0
        for lane in self._open_lanes:
            lane.lose_oldest(overflow)
        await self._decisions.decide(self._open_lanes)
        if not self._inbox:
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
