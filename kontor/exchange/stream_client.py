"""What a streaming ccxt client does besides what ccxt makes it do: pass the gate, count gaps, survive bad messages."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import aiohttp
import ccxt

from kontor.exchange.message_kinds import kind_of
from kontor.exchange.redaction import redact
from kontor.resilience.circuit_breaker import Permit, Verdict
from kontor.resilience.connection_gate import ConnectionGate, address_of

logger = logging.getLogger(__name__)

# Both ends say something this often, whether or not there is news.
KEEP_ALIVE_MS = 5_000
CONNECT_TIMEOUT_MS = 4_000
MOST_KINDS = 100
# What a venue's own name of a channel contains, where it is not ours.
TOPICS = {"candles": "candle", "fills": "orders", "balance": "account"}
# What ccxt calls a login among its subscriptions and futures.
LOGIN = "authenticated"
# What all of ccxt's balances have, and nothing else it tells.
BALANCES = frozenset({"free", "used", "total"})


class StreamEvents:
    """What happens on a client's sockets, as seen from outside; one per streaming client."""

    def __init__(self, gate: ConnectionGate, secrets: tuple[str, ...]) -> None:
        self.gate = gate
        self.breaks = 0
        # How many connections were lost; the other gaps are messages.
        self.losses = 0
        # The newest balance that was told and not taken: ccxt keeps each where its exchange likes to.
        self.balance: Mapping[str, Any] | None = None
        self.tells_balances = False
        # Messages nobody understood, by their keys; and those that could not be read.
        self.unknown: Counter[str] = Counter()
        self.unreadable = 0
        self.heard_at: dict[str, float] = {}
        # What was subscribed and is not acknowledged yet, by address.
        self.unacknowledged: dict[str, list[Mapping[str, Any]]] = {}
        # Sockets on their way to the venue, or waiting for their turn to be.
        self.opening: set[asyncio.Task[Any]] = set()
        self.secrets = secrets
        self.is_closing = False
        self._waiters: list[asyncio.Future[None]] = []

    def told(self) -> None:
        """Some message has led to something: wake who waits for that."""
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    @contextmanager
    def next_told(self) -> Iterator[asyncio.Future[None]]:
        """Done as soon as a message has led to something."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            yield waiter
        finally:
            waiter.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def broke(self, url: str, reason: str) -> None:
        """A connection is gone."""
        if self.is_closing:
            return
        self.breaks += 1
        self.losses += 1
        self.heard_at.pop(url, None)
        self.unacknowledged.pop(url, None)
        self.gate.lost(url, redact(reason, self.secrets))

    def said(self, url: str, message: Any) -> None:
        """Note what is subscribed, where the protocol names each subscription as OKX's does; others tell nobody."""
        for topic in _topics(message, "subscribe"):
            self.unacknowledged.setdefault(url, []).append(topic)
        for topic in _topics(message, "unsubscribe"):
            self._acknowledge(url, topic)

    def answered(self, url: str, message: Any) -> None:
        """Strike out what the venue acknowledges; a subscription it refuses is never struck out."""
        if isinstance(message, Mapping) and message.get("event") == "subscribe":
            topic = message.get("arg")
            if isinstance(topic, Mapping):
                self._acknowledge(url, topic)

    def waits_for(self, channel: str) -> int:
        """How many subscriptions of a channel the venue has not acknowledged."""
        waiting = (topic for topics in self.unacknowledged.values() for topic in topics)
        return sum(TOPICS.get(channel, channel) in str(topic["channel"]) for topic in waiting)

    def _acknowledge(self, url: str, acknowledged: Mapping[str, Any]) -> None:
        waiting = self.unacknowledged.get(url, [])
        waiting[:] = [topic for topic in waiting if not topic.items() <= acknowledged.items()]

    def not_understood(self, message: Any) -> None:
        """Count a message that led to nothing by its kind, and log each kind once."""
        kind = kind_of(message)
        if kind is None:
            return
        if kind not in self.unknown and len(self.unknown) >= MOST_KINDS:
            kind = "(others)"
        if kind not in self.unknown:
            logger.warning("stream_message_unknown name=%s keys=%s", self.gate.name, kind)
        self.unknown[kind] += 1

    def not_readable(self, message: Any, error: Exception) -> None:
        """Count a message that broke its reader: something was said that we have not heard."""
        length = len(getattr(message, "data", None) or "")
        self.entry_not_readable(f"message of length {length}", error, is_missed=True)

    def entry_not_readable(self, what: str, error: Exception, *, is_missed: bool) -> None:
        """Count something that could not be read, as a gap where it is missed."""
        self.unreadable += 1
        self.breaks += is_missed
        if self.unreadable & (self.unreadable - 1):
            return  # told of the 1st, 2nd, 4th, 8th and so on: a market may send such messages for days
        logger.warning(
            "stream_message_unreadable name=%s count=%d error=%s: %s what=%s",
            self.gate.name,
            self.unreadable,
            type(error).__name__,
            redact(str(error), self.secrets)[:200],
            what,
        )


class Streaming:
    """Mixed in before the exchange's own class."""

    kontor_events: StreamEvents
    kontor_now: Callable[[], float]

    def client(self, url: str) -> Any:
        """The socket client of an address, made to pass the gate before it connects."""
        base: Any = super()
        made = base.client(url)
        if not hasattr(made, "kontor_resolved"):
            _adapt(made, self.kontor_events, self.kontor_now)
        return made

    def on_error(self, client: Any, error: Any) -> None:
        """Count the gap, then let ccxt forget the socket."""
        base: Any = super()
        if client.isConnected:
            client.isConnected = False
            self.kontor_events.broke(client.url, f"{type(error).__name__}: {error}")
        base.on_error(client, error)

    def on_close(self, client: Any, code: Any) -> None:
        """The venue has closed the connection, however politely."""
        base: Any = super()
        if client.isConnected:
            client.isConnected = False
            self.kontor_events.broke(client.url, f"closed by the venue with code {code}")
        base.on_close(client, code)

    def ws_dial_delay(self, url: str) -> float:
        """None of ccxt's own: the gate decides."""
        del url
        return 0

    def handle_bid_ask(self, *_args: Any) -> None:
        """Nothing: the ticker itself carries bid and ask, and parsing each message twice costs as much again."""


def forget_login(client: Any) -> None:
    """Log in anew with the next request: ccxt takes a login that was refused, or fell through, for one under way."""
    for socket in (client.clients or {}).values():
        socket.subscriptions.pop(LOGIN, None)


def awaits_login(socket: Any) -> bool:
    """The venue has not yet said that it knows us: what is subscribed on this socket delivers nothing."""
    login = socket.futures.get(LOGIN)
    return login is not None and not login.done()


def _adapt(client: Any, events: StreamEvents, now: Callable[[], float]) -> None:
    """Wrap one socket client's connecting, reading and resolving."""
    client.kontor_resolved = 0
    client.keepAlive = min(client.keepAlive or KEEP_ALIVE_MS, KEEP_ALIVE_MS)
    client.connectionTimeout = CONNECT_TIMEOUT_MS
    opening, reading, resolving, handling, saying = (
        client.open,
        client.handle_message,
        client.resolve,
        client.on_message_callback,
        client.send,
    )

    async def open_through_gate(session: Any, backoff_delay: float = 0) -> None:
        del backoff_delay
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - ccxt opens sockets in tasks
        events.opening.add(task)
        task.add_done_callback(events.opening.discard)
        permit = await events.gate.enter(client.url)
        try:
            await opening(session, 0)
        finally:
            _tell(client, events, permit, now)

    def read(message: Any) -> None:
        events.heard_at[client.url] = now()
        try:
            reading(message)
        except Exception as error:  # noqa: BLE001 - one bad message must not end the reading of all others
            events.not_readable(message, error)

    def resolve(result: Any, message_hash: Any) -> Any:
        client.kontor_resolved += 1
        if isinstance(result, dict) and result.keys() >= BALANCES:
            events.balance, events.tells_balances = result, True
        answer = resolving(result, message_hash)
        events.told()
        return answer

    async def say(message: Any) -> Any:
        events.said(client.url, message)
        return await saying(message)

    def handle(socket: Any, message: Any) -> None:
        before = client.kontor_resolved
        if events.unacknowledged.get(client.url):
            events.answered(client.url, message)
        handling(socket, message)
        if client.kontor_resolved == before:
            events.not_understood(message)

    client.open, client.handle_message, client.resolve = open_through_gate, read, resolve
    client.on_message_callback, client.send = handle, say


def _topics(message: Any, operation: str) -> Sequence[Mapping[str, Any]]:
    """What a message of ours asks for, as the venue will name it in its answer."""
    if not isinstance(message, Mapping) or message.get("op") != operation:
        return ()
    found = message.get("args")
    topics = found if isinstance(found, list) else ()
    return [topic for topic in topics if isinstance(topic, Mapping) and "channel" in topic]


def _tell(client: Any, events: StreamEvents, permit: Permit, now: Callable[[], float]) -> None:
    """How the connecting went."""
    if client.isConnected:
        events.heard_at[client.url] = now()
        events.gate.connected(client.url, permit)
    elif client.error is None:
        permit.end(Verdict.NOTHING)
    else:
        cause = client.error.args[0] if client.error.args else None
        reached = not isinstance(cause, aiohttp.ClientConnectorError)
        reason = f"{address_of(client.url)}: {type(client.error).__name__} {redact(str(client.error), events.secrets)}"
        events.gate.failed(client.url, permit, reason, reached=reached)


def break_silent(client: Any, limit: float, events: StreamEvents, now: float) -> int:
    """Break the sockets that have not been heard for `limit` seconds; returns how many."""
    silent = [url for url, heard_at in events.heard_at.items() if now - heard_at > limit]
    for url in silent:
        events.heard_at.pop(url, None)
        socket = (client.clients or {}).get(url)
        if socket is not None:
            socket.on_error(ccxt.RequestTimeout(f"nothing heard for {limit:g} s"))
    return len(silent)


async def close_streams(client: Any, events: StreamEvents) -> None:
    """Close every socket; those that still wait at the gate do not connect any more."""
    events.is_closing = True
    opening = set(events.opening)
    for task in opening:
        task.cancel()
    await asyncio.gather(*opening, return_exceptions=True)
    await client.close()
