"""What every stream does: children under supervision, channels that are fresh or stale, a second's heartbeat."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from kontor.config import KontorConfig
from kontor.errors import AuthenticationFailed, StoreError, StreamBroken
from kontor.ports import Clock, Exchange, Store, Streams
from kontor.resilience.supervisor import RestartPolicy, Supervisor
from kontor.streams.freshness import Freshness
from kontor.streams.messages import MESSAGES, StreamMessages, to_json
from kontor.streams.pace import Pace

logger = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
HEARTBEAT_SECONDS = 10.0
# How soon it is noticed that something must be asked for by REST.
CATCH_UP_SECONDS = 0.25
# How long one reader waits for news before it looks around again.
LOOK_SECONDS = 1.0
# Between a connection that was lost and the next try; how long to wait beyond that is the gate's to say.
BROKEN_SECONDS = 0.1
GOODBYE_SECONDS = 2.0
# A key that is refused this many times in a row, so many seconds apart, is wrong.
MOST_REFUSALS, REFUSED_SECONDS = 3, 1.0
# A socket on which nothing was heard for so long is dead: both sides say something every 5 s.
SILENCE_SECONDS = 12.0
# A channel that fails that often within a minute needs the flow to fail, and a person to know.
# With the pauses above, one that fails at once does so some 40 times a minute, one that fails after a second 24 times.
POLICY = RestartPolicy(pause=0.2, longest_pause=2.0, most_failures=20, window=60.0)
# A channel that was in trouble must have read for so long before it is believed again.
WELL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class StreamParts:
    """One account's side of a stream; a `kontor.desk.Desk` with its streams."""

    account: str
    config: KontorConfig
    store: Store
    exchange: Exchange
    streams: Streams
    clock: Clock


class Streamer:
    """Base of both streams: runs the readers of its channels until canceled, or until one fails for good."""

    name = ""

    def __init__(self, parts: StreamParts) -> None:
        self.parts = parts
        self.freshness = Freshness(parts.store.desk, parts.account, self.name, clock=parts.clock)
        self._supervisor = Supervisor(self.name, clock=parts.clock)
        self._beaten_at = float("-inf")
        self._messages: StreamMessages | None = None
        # Why the newest read of a channel failed, while it does.
        self.troubles: dict[str, str] = {}
        self._well_since: dict[str, float] = {}
        # How often something was heard that came to nothing here, because the store was away for instance.
        self._lost = 0
        self._refusals: Counter[str] = Counter()
        self._refused: AuthenticationFailed | None = None

    @property
    def gaps(self) -> int:
        """How often something was missed, at the venue or on this side: each time, REST is asked for it."""
        return self.parts.streams.breaks + self._lost

    def channels(self) -> tuple[str, ...]:
        """The channels this stream is to deliver here."""
        raise NotImplementedError

    def readers(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """The children by name."""
        raise NotImplementedError

    async def second(self) -> None:
        """What there is to see to once a second."""

    async def run(self) -> None:
        """Stream until canceled or stopped.

        Raises AuthenticationFailed when the venue refuses the key, an ExceptionGroup when a reader failed for good.
        """
        for channel in self.channels():
            self.freshness.stale(channel, "connecting")
        for name, work in self.readers().items():
            self._supervisor.add(name, work, POLICY)
        self._supervisor.add("beat", self._beat, POLICY)
        try:
            await self._supervisor.run()
        finally:
            await self._say_goodbye()
        if self._refused is not None:
            raise self._refused

    def stop(self) -> None:
        """Let `run` return."""
        self._supervisor.stop()

    async def reading(self, channel: str, read: Callable[[], Awaitable[None]]) -> None:
        """Read for ever; a lost connection makes the channel stale and is no failure, the next read connects again.

        Any other error is one: whatever was read may have come to nothing, so it counts as a gap as well.
        """
        while True:
            began = self.parts.clock.monotonic()
            try:
                await read()
            except StreamBroken as error:
                self._is_in_trouble(channel, error)
                # A socket that is lost is seen to be: there is nothing that a good read could hide.
                self._well_since[channel] = float("-inf")
                await self.parts.clock.sleep(BROKEN_SECONDS)
            except AuthenticationFailed as error:
                await self._was_refused(channel, error)
            except Exception as error:
                self._lost += 1
                self._is_in_trouble(channel, error)
                raise
            else:
                self._refusals.pop(channel, None)
                self._is_well(channel, began)

    def _is_in_trouble(self, channel: str, error: Exception) -> None:
        self.troubles[channel] = str(error) or type(error).__name__
        self._well_since.pop(channel, None)
        self.freshness.stale(channel, self.troubles[channel])

    def _is_well(self, channel: str, began: float) -> None:
        """Forget a trouble only after a while: the next read of a watch that fails again and again is a good one."""
        if channel in self.troubles:
            since = self._well_since.setdefault(channel, began)
            if self.parts.clock.monotonic() - since >= WELL_SECONDS:
                del self.troubles[channel]

    async def catching_up(self, is_needed: Callable[[], bool], work: Callable[[], Awaitable[None]]) -> None:
        """Do a piece of work by REST whenever it is needed, beside the beat: it may take as long as the venue likes."""
        pace = Pace(clock=self.parts.clock)
        while True:
            if pace.is_time and is_needed():
                pace.began()
                try:
                    await work()
                except StoreError as error:
                    logger.warning("stream_catch_up_not_stored name=%s error=%s", self.name, error)
                finally:
                    pace.ended()
            await self.parts.clock.sleep(CATCH_UP_SECONDS)

    async def _was_refused(self, channel: str, error: AuthenticationFailed) -> None:
        """Give up on a key that is refused again and again: trying for ever does not make it valid, and may lock it.

        Once is no proof: a socket that broke between login and subscription is answered "please log in" as well.
        """
        self._is_in_trouble(channel, error)
        self._refusals[channel] += 1
        if self._refusals[channel] >= MOST_REFUSALS:
            self._refused = error
            self._supervisor.stop()
        await self.parts.clock.sleep(REFUSED_SECONDS)

    async def _say_goodbye(self) -> None:
        """Nobody shall believe for another five seconds that the channels are fresh."""
        for channel in self.channels():
            self.freshness.stale(channel, f"{self.name} has stopped")
        with anyio.CancelScope(shield=True), anyio.move_on_after(GOODBYE_SECONDS):
            try:
                await self.freshness.tell()
            except StoreError as error:
                logger.warning("stream_goodbye_not_stored name=%s error=%s", self.name, error)

    async def _tell_messages(self) -> None:
        now = StreamMessages.of(self.parts.streams)
        if now != self._messages:
            value, at = {self.name: to_json(now)}, self.parts.clock.now()
            await self.parts.store.desk.set_attribute(self.parts.account, MESSAGES, value, at, merge=True)
            self._messages = now

    async def _beat(self) -> None:
        parts = self.parts
        while True:
            parts.streams.drop_silent(SILENCE_SECONDS)
            try:
                await self.second()
                await self.freshness.tell()
                now = parts.clock.monotonic()
                if now - self._beaten_at >= HEARTBEAT_SECONDS:
                    self._beaten_at = now
                    await parts.store.desk.beat(parts.account, self.name, parts.clock.now())
                    await self._tell_messages()
            except StoreError as error:
                logger.warning("stream_beat_not_stored name=%s error=%s", self.name, error)
            is_well = all(self.freshness.is_fresh(channel) for channel in self.channels())
            await parts.clock.sleep(BEAT_SECONDS if is_well else BEAT_SECONDS / 4)
