"""Channels of a streaming client: what is subscribed for whom, whether it is heard, and the wait for its next message.

ccxt keeps what a venue says in caches and wakes whoever waits at that moment. A reader here takes what is new in the
cache, however many messages that were: nothing is lost between two calls, and 2000 messages a second cost no 2000
wake-ups.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import ccxt

from kontor.errors import AuthenticationFailed, ExchangeError, NotSupported, Rejected, StreamBroken
from kontor.exchange.aside import Aside
from kontor.exchange.connection import Connection
from kontor.exchange.deaf_sockets import DeafSockets
from kontor.exchange.error_table import Asked
from kontor.exchange.stream_client import (
    StreamEvents,
    Streaming,
    awaits_login,
    break_silent,
    close_streams,
    forget_login,
)
from kontor.exchange.stream_entries import StreamEntries
from kontor.exchange.stream_methods import METHODS, UNWATCH, streamed
from kontor.ports import Clock, ExchangeSettings
from kontor.resilience.connection_gate import ConnectionGate
from kontor.resilience.rate_budget import RateBudget

logger = logging.getLogger(__name__)

T = TypeVar("T")

# What trying again does not change.
FINAL = (AuthenticationFailed, Rejected)
# What a connection may fail with besides ccxt's own errors.
LOST = (aiohttp.ClientError, OSError, TimeoutError)
# No connection is expected to be heard more seldom: both sides ping.
LIVELY_SECONDS = 12.0
# Between two tries to load the markets, without which nothing can be subscribed.
LOAD_PAUSE_SECONDS = 1.0
# A venue may serve with fewer sockets what it served with more.
FEWER_SECONDS = 60.0


@dataclass(slots=True)
class _Channel:
    """One reader's state: the watch under way, the symbols it is for, and what has been handed out."""

    symbols: tuple[str, ...] = ()
    # Wanted, and not subscribed: no markets here as far as we know, or on their way out.
    left_out: frozenset[str] = frozenset()
    dropping: set[str] = field(default_factory=set)
    pending: asyncio.Task[Any] | None = None
    seen: dict[str, Any] = field(default_factory=dict)
    breaks: int = 0
    is_begun: bool = False
    # How many connections had been lost when the newest watch began.
    losses: int = 0


class StreamChannels:
    """The channels of one account at one venue; connects on first use, and again by itself when a connection breaks."""

    def __init__(
        self, settings: ExchangeSettings, *, clock: Clock, gate: ConnectionGate, budget: RateBudget | None = None
    ) -> None:
        self.connection = Connection(settings, clock, Streaming, budget=budget)
        self._clock, self._client = clock, self.connection.client
        secrets = (settings.api_key, settings.secret, settings.password)
        self.events = self._client.kontor_events = StreamEvents(gate, secrets)
        self._client.kontor_now = clock.monotonic
        self._deaf = DeafSockets(self.events)
        self._entries = StreamEntries(self.connection, self.events, clock)
        self._client.newUpdates = True
        self._channels = {name: _Channel() for name in METHODS}
        self._aside = Aside(settings.exchange_id)
        # Wanted symbols that were no market when they were looked for, and whether that is being done.
        self._unknown, self._is_looking = frozenset[str](), False
        # The most sockets that were up at once, and when there were as many last.
        self._sockets, self._complete_at = 0, clock.monotonic()

    @property
    def channels(self) -> frozenset[str]:
        """What this venue streams."""
        return streamed(self._client)

    @property
    def breaks(self) -> int:
        """How many gaps there have been so far."""
        return self.events.breaks

    @property
    def unknown(self) -> Mapping[str, int]:
        """Messages nobody understood, by their kind."""
        return self.events.unknown

    @property
    def unreadable(self) -> int:
        """Messages that could not be read."""
        return self.events.unreadable

    def is_live(self, channel: str) -> bool:
        """The channel is subscribed, its subscriptions acknowledged, and as many sockets as ever are up and heard."""
        is_watched = self._is_watched(self._channels[channel])
        return is_watched and self._all_sockets_up() and not self.events.waits_for(channel)

    def _is_watched(self, channel: _Channel) -> bool:
        """Its newest watch waits, which it does on a connection that stands, or was begun after the newest loss of one.

        A reader that was busy meanwhile has not seen the loss; others may have connected again.
        """
        task = channel.pending
        if task is None or task.done():
            return channel.is_begun and channel.losses == self.events.losses and not _has_failed(task)
        return True

    def left_out(self, channel: str) -> frozenset[str]:
        """What the channel was asked for and does not deliver."""
        return self._channels[channel].left_out

    def _all_sockets_up(self) -> bool:
        """A socket that is lost leaves ccxt's list: how many there should be is remembered here."""
        sockets, now, heard = (self._client.clients or {}).values(), self._clock.monotonic(), self.events.heard_at
        up = sum(
            socket.isConnected
            and not awaits_login(socket)
            and now - heard.get(socket.url, float("-inf")) < LIVELY_SECONDS
            for socket in sockets
        )
        if up >= self._sockets or (up == len(sockets) and now - self._complete_at > FEWER_SECONDS):
            # Fewer are enough once those that are left have been well for a while.
            self._sockets, self._complete_at = up, now
        return 0 < up == len(sockets) and up >= self._sockets

    def drop_silent(self, limit: float) -> int:
        """Break connections on which nothing was heard for `limit` seconds, and deaf ones; returns how many."""
        now = self._clock.monotonic()
        return break_silent(self._client, limit, self.events, now) + self._deaf.drop(self._client, now)

    async def close(self) -> None:
        """Close every socket and end every watch."""
        pending = [channel.pending for channel in self._channels.values() if channel.pending is not None]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await self._aside.close()
        await close_streams(self._client, self.events)

    async def _prepare(self, name: str, symbols: Collection[str]) -> _Channel:
        """The channel, for these symbols from now on: new ones are subscribed by the next watch, others dropped now."""
        if name not in self.channels:
            raise NotSupported(f"{self.connection.settings.exchange_id} does not stream {name}")
        try:
            await self.connection.load_markets()
        except FINAL:
            raise
        except ExchangeError as error:
            await self._clock.sleep(LOAD_PAUSE_SECONDS)
            raise StreamBroken(str(error)) from None
        channel = self._channels[name]
        if channel.breaks != self.events.breaks:
            channel.breaks = self.events.breaks
            if name == "candles":
                # What was said of the unfinished ones may have been missed in part.
                self._client.ohlcvs.clear()
        wanted = self._streamable(name, tuple(dict.fromkeys(symbols)))
        if wanted != channel.symbols:
            gone = [symbol for symbol in channel.symbols if symbol not in set(wanted)]
            await _end(channel)
            channel.symbols = wanted
            for symbol in gone:
                channel.seen.pop(symbol, None)
            if gone and self._client.has.get(UNWATCH.get(name, ("", ""))[0]):
                channel.dropping.update(gone)
                self._aside.run(self._unwatch(name, gone))
        return channel

    def _streamable(self, name: str, symbols: Sequence[str]) -> tuple[str, ...]:
        """Those that are markets here; for others, listed since, the markets are loaded anew beside the stream.

        One unknown symbol makes ccxt refuse all of them. One that is just being dropped is taken up again after that.
        """
        channel, markets = self._channels[name], self.connection.markets
        unknown = frozenset(symbol for symbol in symbols if symbol not in markets)
        channel.left_out = unknown | (channel.dropping & frozenset(symbols))
        if unknown and not self._is_looking:
            self._is_looking = True
            self._aside.run(self._look_for(unknown))
        return tuple(symbol for symbol in symbols if symbol not in channel.left_out)

    async def _look_for(self, unknown: frozenset[str]) -> None:
        try:
            left = unknown - (await self.connection.look_for(unknown)).keys()
        finally:
            self._is_looking = False
        if left and left != self._unknown:
            logger.warning(
                "stream_symbols_left_out exchange=%s symbols=%s reason=no markets here; REST is to serve them",
                self.connection.settings.exchange_id,
                ",".join(sorted(left)),
            )
        self._unknown = left

    async def _unwatch(self, name: str, symbols: Sequence[str]) -> None:
        """Stop hearing of some symbols; what comes all the same is not looked at."""
        request = getattr(self._client, UNWATCH[name][1])
        wanted = [[symbol, timeframe] for symbol in symbols for timeframe in self._timeframes(symbol)]
        try:
            async with asyncio.timeout(LIVELY_SECONDS):
                await request(wanted if name == "candles" else list(symbols))
        except Exception as error:  # noqa: BLE001 - too many prices are no reason to stop hearing the others
            logger.info("stream_not_dropped channel=%s count=%d error=%s", name, len(symbols), type(error).__name__)
        finally:
            self._channels[name].dropping.difference_update(symbols)

    def _timeframes(self, symbol: str) -> Sequence[str]:
        return list(self._client.ohlcvs.get(symbol, {}))

    async def _read(
        self, name: str, fresh: Callable[[], dict[str, T]], watch: Callable[[], Awaitable[Any]], seconds: float
    ) -> Mapping[str, T]:
        """What is new in the cache; waits for the next message when nothing is.

        A watch that has failed is looked at first, however much news there is: other symbols' prices must not hide
        that some are not subscribed.
        """
        channel = self._channels[name]
        if not channel.symbols:
            await self._clock.sleep(seconds)
            return {}
        # One that has brought something is kept: with thousands of messages a second it is begun anew far less often.
        if channel.pending is not None and not self._is_watched(channel):
            await self._wait(name, watch, 0.0)
        if channel.pending is None:
            await self._wait(name, watch, 0.0)
        found = fresh()
        if not found:
            await self._wait(name, watch, seconds)
        return found or fresh()

    async def _wait(self, name: str, watch: Callable[[], Awaitable[Any]], seconds: float) -> Any:
        """The result of the channel's watch, begun if none is under way; None when it takes longer than `seconds`."""
        channel = self._channels[name]
        pending = self._begun(name, watch)
        done, _ = await asyncio.wait({pending}, timeout=seconds)
        if not done:
            return None
        if channel.pending is pending:
            channel.pending = None
        if pending.cancelled():
            raise StreamBroken(f"{self.connection.settings.exchange_id} {name}: the connection was closed")
        return pending.result()

    def _begun(self, name: str, watch: Callable[[], Awaitable[Any]]) -> asyncio.Task[Any]:
        """The channel's watch, begun if none is under way."""
        channel = self._channels[name]
        if channel.pending is None:
            channel.pending, channel.is_begun = asyncio.ensure_future(self._call(name, watch)), True
            channel.losses = self.events.losses
        return channel.pending

    async def _call(self, name: str, watch: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await watch()
        except (ccxt.BaseError, *LOST) as error:
            found = self._explain(name, error)
            if isinstance(found, AuthenticationFailed):
                forget_login(self._client)
            raise found from None

    def _explain(self, name: str, error: Exception) -> Exception:
        """A lost connection is StreamBroken; a refusal stays one."""
        found = self.connection.explain(error, Asked.READ, f"stream of {name}")
        is_final = isinstance(found, FINAL) and not isinstance(error, ccxt.NetworkError)
        return found if is_final else StreamBroken(str(found))


def _has_failed(task: asyncio.Task[Any] | None) -> bool:
    return task is not None and task.done() and (task.cancelled() or task.exception() is not None)


async def _end(channel: _Channel) -> None:
    task, channel.pending = channel.pending, None
    if task is not None:
        task.cancel()
        # Not `await task`: its cancellation and our own could not be told apart.
        await asyncio.gather(task, return_exceptions=True)
