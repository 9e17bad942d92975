"""A stream for as long as the desk runs, whatever becomes of its key.

A rotated key (or another address) ends the stream and begins the next one with the new settings. A key that the
exchange refuses ends it too; then nobody asks the exchange again until somebody has changed the key, somebody has
resumed the account, or an updater has got an answer with it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from kontor.errors import AuthenticationFailed, StoreError
from kontor.execution.halt import halted
from kontor.ports import Clock, DeskState
from kontor.resilience.supervisor import flatten
from kontor.streams.freshness import Freshness
from kontor.streams.streamer import HEARTBEAT_SECONDS

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# Settings that cannot be read are asked for less often.
UNREADABLE_SECONDS = 10.0
# After a refusal of our own at least this long, unless the key changes: whoever blocks the account needs a moment.
PATIENCE_SECONDS = 10.0
# What they fetch, they fetch with the account's key.
ASK_WITH_THE_KEY = ("update-balance", "update-positions", "update-open-orders")

S = TypeVar("S")
Settings = Callable[[], Awaitable[S]]


@dataclass(frozen=True, slots=True)
class Stream:
    """Which stream of which account; `needs_key` where it cannot even begin without one that works."""

    account: str
    name: str
    channels: Sequence[str]
    needs_key: bool


class StreamKeeper(Generic[S]):
    """Runs one stream of an account with the settings of the moment; one object for each run of its flow."""

    def __init__(
        self,
        stream: Stream,
        state: DeskState,
        clock: Clock,
        *,
        settings: Settings[S],
        run: Callable[[S], Awaitable[None]],
        refused: Callable[[AuthenticationFailed], Awaitable[None]],
    ) -> None:
        """`run` streams until canceled or stopped; `refused` halts the account and tells somebody."""
        self._stream, self._state, self._clock = stream, state, clock
        self._settings, self._run, self._refused = settings, run, refused
        self._beaten_at = float("-inf")
        self._is_readable = True

    async def keep(self) -> None:
        """Stream until canceled or stopped; raises whatever ends a stream, except a refused key."""
        settings = await self._settings()
        if self._stream.needs_key:
            settings = await self._until_key_may_work(settings)
        while True:
            refusal: AuthenticationFailed | None = None
            is_stopped = False
            try:
                is_stopped = await self._run_until_changed(settings)
            except* AuthenticationFailed as group:
                refusal = next(each for each in flatten(group) if isinstance(each, AuthenticationFailed))
            if is_stopped:
                return
            if refusal is None:
                settings = await self._settings()
                continue
            refused_at = self._clock.monotonic()
            await self._refused(refusal)
            settings = await self._until_key_may_work(settings, refused_at=refused_at)

    async def _run_until_changed(self, settings: S) -> bool:
        """Whether the stream was stopped; False when there are other settings now."""
        running = asyncio.ensure_future(self._run(settings))
        watching = asyncio.ensure_future(self._until_changed(settings))
        try:
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running
                return True
            logger.info("stream_settings_changed name=%s account=%s", self._stream.name, self._stream.account)
            return False
        finally:
            running.cancel()
            watching.cancel()
            # Goodbyes are said, leases given back and sockets closed before the next one begins.
            await asyncio.gather(running, watching, return_exceptions=True)

    async def _until_changed(self, settings: S) -> None:
        while not await self._is_other_than(settings):
            await self._clock.sleep(LOOK_SECONDS if self._is_readable else UNREADABLE_SECONDS)

    async def _is_other_than(self, settings: S) -> bool:
        try:
            is_other = await self._settings() != settings
        except Exception as error:  # noqa: BLE001 - whatever reading them fails with, those in use are good
            logger.warning(
                "stream_settings_not_read name=%s account=%s error=%s: %s",
                self._stream.name,
                self._stream.account,
                type(error).__name__,
                error,
            )
            self._is_readable = False
            return False
        self._is_readable = True
        return is_other

    async def _until_key_may_work(self, settings: S, *, refused_at: float | None = None) -> S:
        """Wait, without asking the exchange, while the key of `settings` is known to be refused."""
        began = self._clock.now()
        while not await self._is_other_than(settings):
            is_patient = refused_at is None or self._clock.monotonic() - refused_at >= PATIENCE_SECONDS
            try:
                reason = await self._why_blocked(began if refused_at is not None else None)
                if not reason and is_patient:
                    break
                await self._say(reason or "the exchange refuses the key")
            except StoreError as error:
                logger.warning("stream_waits_for_the_store name=%s error=%s", self._stream.name, error)
            await self._clock.sleep(LOOK_SECONDS)
        return await self._settings()

    async def _why_blocked(self, refused_at: datetime | None) -> str:
        """Why the key cannot work; empty when nobody has blocked it, or it has worked since."""
        halt = await halted(self._state, self._stream.account)
        if halt is None or not halt.blocked:
            return ""
        since = halt.at if refused_at is None else max(halt.at, refused_at)
        beats = await self._state.heartbeats(self._stream.account)
        told = [beats[name].last_success_at for name in ASK_WITH_THE_KEY if name in beats]
        return "" if any(at is not None and at > since for at in told) else halt.reason

    async def _say(self, reason: str) -> None:
        """Nobody shall take the silence for a stream that is fresh, or for one that is gone."""
        now = self._clock.monotonic()
        if now - self._beaten_at < HEARTBEAT_SECONDS:
            return
        stream = self._stream
        logger.warning("stream_waits_for_a_key name=%s account=%s reason=%s", stream.name, stream.account, reason)
        freshness = Freshness(self._state, stream.account, stream.name, clock=self._clock)
        for channel in stream.channels:
            freshness.stale(channel, f"waits for a key that works: {reason}")
        await freshness.tell()
        # Named like this, it is no news beside the halt itself.
        error = f"{AuthenticationFailed.__name__}: {reason}"
        await self._state.beat(stream.account, stream.name, self._clock.now(), error=error[:500])
        self._beaten_at = now
