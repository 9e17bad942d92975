"""The background sender: takes alerts at once, and delivers them when and as the channels allow."""

import asyncio
import contextlib
import contextvars
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

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


@dataclass(slots=True)
class _Taken:
    """An alert that nothing was decided of, and the same ones that came right behind it."""

    first: Alert
    last: Alert
    more: int = 0


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
        self._repeats = repeats or Repeats()
        self._shared = shared
        self._stamp = stamp
        self._monotonic = monotonic
        self._moment = moment
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[_Taken] = deque()
        self._newest: dict[Hashable, _Taken] = {}
        self._deciding: list[_Taken] = []
        self._overflow = 0
        self._wake = asyncio.Event()
        self._sorted = asyncio.Event()
        self._sorted.set()
        self._lanes: dict[str, tuple[Lane, asyncio.Task[None]]] = {}
        self._runner: asyncio.Task[None] | None = None
        self._refresh_at = 0.0
        self._said_off = False
        # Decided without the others, because what is shared could not be reached.
        self._is_alone = False
        self._look_every: float | None = None

    @property
    def waiting(self) -> int:
        """How many alerts are not delivered yet, counted once for each channel."""
        return len(self._inbox) + len(self._deciding) + left_over(lane for lane, _ in self._lanes.values())

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
        """Drain, then stop the background work; a later alert starts it again.

        What is held back is told too, unless it is shared: then it is for the others, or for the next start.
        """
        ends_at = self._loop.time() + seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(ends_at):
                await self._sorted.wait()
        if self._shared is None or self._is_alone:
            self._flush()
        left = await self.drain(seconds=max(0.0, ends_at - self._loop.time()))
        if left:
            self._inbox.clear()
            self._newest.clear()
            self._deciding = []
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
            self._put(key, _Taken(alert, alert))
        self._sorted.clear()
        self._start()
        self._wake.set()

    def _put(self, key: Hashable | None, taken: _Taken) -> None:
        if len(self._inbox) == self._capacity:
            oldest = self._inbox.popleft()
            self._overflow += 1 + oldest.more
            self._newest = {known: each for known, each in self._newest.items() if each is not oldest}
        self._inbox.append(taken)
        if key is not None:
            self._newest[key] = taken

    def keep_looking(self) -> None:
        """Tell also what processes that have ended left to be told; one process of a desk does so."""
        self._look_every = LOOK_SECONDS
        self._start()

    def _start(self) -> None:
        if self._runner is None or self._runner.done():
            self._runner = self._loop.create_task(self._run(), name="kontor-alerts", context=self._context)

    async def _run(self) -> None:
        async with aiohttp.ClientSession() as session:
            try:
                while True:
                    await self._wait_for_work()
                    if await self._refresh(session, is_needed=bool(self._inbox)):
                        await self._decide()
            finally:
                await self._stop_lanes()

    async def _wait_for_work(self) -> None:
        # Not read last time: the channels.
        again = RETRY_SOURCE_SECONDS if self._inbox else None
        waits = (self._due_in(), again, self._look_every)
        pause = min((wait for wait in waits if wait is not None), default=None)
        if pause is not None and not self._lanes:
            pause = max(pause, RETRY_SOURCE_SECONDS)
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    def _due_in(self) -> float | None:
        due_at = self._repeats.next_due_at()
        waits = [lane.policy.next_due_in() for lane, _ in self._lanes.values()]
        waits.append(None if due_at is None else max(0.0, due_at - self._moment()))
        return min((wait for wait in waits if wait is not None), default=None)

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

    async def _decide(self) -> None:
        """Say of everything that waits whether it goes out now, together with the other processes of the desk."""
        self._deciding = [*self._deciding, *self._inbox]
        self._inbox.clear()
        self._newest.clear()
        if self._stamp is not None:
            for taken in self._deciding:
                taken.first, taken.last = await self._stamp(taken.first), await self._stamp(taken.last)
        if self._shared is None:
            self._distribute()
        elif self._none_can_be_held():
            self._distribute(with_digests=False)
        elif self._deciding or await self._is_something_due():
            await self._decide_together(self._shared)

    async def _decide_together(self, shared: SharedPacing) -> None:
        is_decided = False
        try:
            async with shared.turn() as decided:
                self._adopt_or_begin(decided)
                self._distribute()
                is_decided = True
                decided.update(self._dump(decided))
            self._is_alone = False
        except Exception as error:  # noqa: BLE001 - whatever keeps the store or Prefect's API away keeps no alert away
            self._go_alone(error, keep_held=is_decided)
            if not is_decided:
                self._distribute()

    def _none_can_be_held(self) -> bool:
        """Trades by day and halts: no pause that others know of concerns them, so they wait for no store."""
        return bool(self._deciding) and all(
            sameness(taken.first) is None and lane.takes_now(taken.first)
            for taken in self._deciding
            for lane, _ in self._lanes.values()
        )

    async def _is_something_due(self) -> bool:
        if self._shared is not None and not self._is_alone and self._look_every is not None:
            try:
                self._adopt(await self._shared.look())
            except Exception as error:  # noqa: BLE001 - likewise
                logger.debug("nothing shared to look at: %s", redact(str(error)))
        due_in = self._due_in()
        return due_in is not None and due_in <= 0

    def _adopt_or_begin(self, decided: dict[str, Any]) -> None:
        """What another version kept may mean nothing to this one: pauses that are lost are no reason to be silent."""
        try:
            self._adopt(decided)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            logger.warning("what was told cannot be read, begun afresh: %s: %s", type(error).__name__, error)
            decided.clear()

    def _adopt(self, decided: dict[str, Any]) -> None:
        """Go on from what all processes have decided, with what this one has decided alone meanwhile."""
        channels = decided.get("channels", {})
        lanes = {name: lane for name, (lane, _) in self._lanes.items() if name in channels}
        if self._is_alone:
            self._repeats.join(decided.get("repeats", {}))
            for name, lane in lanes.items():
                lane.policy.join(channels[name])
        elif decided:
            self._repeats.load(decided.get("repeats", {}))
            for name, lane in lanes.items():
                lane.policy.load(channels[name])

    def _dump(self, decided: dict[str, Any]) -> dict[str, Any]:
        """What all processes go on from; a channel that this one does not have keeps what it had."""
        mine = {name: lane.policy.dump() for name, (lane, _) in self._lanes.items() if lane.channel.is_for_people}
        return {"repeats": self._repeats.dump(), "channels": {**decided.get("channels", {}), **mine}}

    def _go_alone(self, error: Exception, *, keep_held: bool) -> None:
        if self._is_alone:
            return
        self._is_alone = True
        logger.warning("alerts are paced by this process alone: %s: %s", type(error).__name__, redact(str(error)))
        if keep_held:
            return
        self._repeats.forget_held()
        for lane, _ in self._lanes.values():
            lane.policy.forget_held()

    def _distribute(self, *, with_digests: bool = True) -> None:
        overflow, self._overflow = self._overflow, 0
        now, lanes = self._moment(), [lane for lane, _ in self._lanes.values()]
        for lane in lanes:
            lane.lose_oldest(overflow)
        found = self._repeats.due(now) if with_digests else []
        for taken in self._deciding:
            found += [admitted] if (admitted := self._repeats.admit(taken.first, now)) else []
            self._repeats.count(taken.last, taken.more, now)
        self._deciding = []
        for lane in lanes:
            for queued in found:
                lane.offer(queued)
            if with_digests:
                lane.release(due_only=True)
        if not self._inbox:
            self._sorted.set()

    def _flush(self) -> None:
        """Tell all that is held back."""
        digests = self._repeats.flush(self._moment())
        for lane, _ in self._lanes.values():
            for digest in digests:
                lane.offer(digest)
            lane.release(due_only=False)

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
