"""One WebSocket client: login, subscriptions, ping and pong, orders; cut off when it does not read."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from kontor.paper.channels import Subscription, subscription
from kontor.paper.faults import FaultKind, FaultRule
from kontor.paper.hub import Hub
from kontor.paper.model import VenueError
from kontor.paper.rate_limits import SUBSCRIBE, Charge
from kontor.paper.replies import Refusal
from kontor.paper.services import Services
from kontor.paper.ws_orders import OPERATIONS, OrderDesk

log = logging.getLogger(__name__)

MAX_FRAME_BYTES = 64 * 1024
MAX_BACKLOG = 2000
IDLE_SECONDS = 30.0
GARBAGE = '{"arg":{"channel":"tick\ufffd\ufffd'


class Connection:
    """A client's socket. Messages to it wait in a bounded line; one that does not read is cut off."""

    def __init__(self, services: Services, hub: Hub, desk: OrderDesk, address: str, path: str) -> None:
        self._services = services
        self._hub = hub
        self._desk = desk
        self._address = address
        self.path = path
        self.id = secrets.token_hex(4)
        self._socket = web.WebSocketResponse(autoping=False, max_msg_size=MAX_FRAME_BYTES, compress=False)
        self._request: web.Request | None = None
        self._inbox: asyncio.Queue[tuple[float, str]] = asyncio.Queue(MAX_BACKLOG)
        self._outbox: asyncio.Queue[tuple[float, str]] = asyncio.Queue(MAX_BACKLOG)
        self._account: str | None = None
        self._subscriptions: set[Subscription] = set()
        self._cut_off = False
        self._silent_until = 0.0
        self._active_at = self._now()

    async def run(self, request: web.Request) -> web.WebSocketResponse:
        """Serve the client until either side goes."""
        await self._socket.prepare(request)
        self._request = request
        self._hub.connections.add(self)
        self._services.stats.connected_to(self.path)
        workers = [asyncio.create_task(self._write()), asyncio.create_task(self._work())]
        try:
            self.befall()
            await self._read()
        finally:
            self._hub.connections.discard(self)
            self._services.stats.open_sockets -= 1
            for wanted in self._subscriptions:
                self._hub.remove(self, wanted)
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return self._socket

    def send(self, text: str) -> None:
        """Put a message in line; a client that lets the line grow full is cut off."""
        if self._cut_off:
            return
        try:
            self._outbox.put_nowait((self._now() + self._services.one_way_seconds, text))
        except asyncio.QueueFull:
            log.warning("cut off a slow client path=%s backlog=%d", self.path, MAX_BACKLOG)
            self._services.stats.dropped_slow += 1
            self._cut_off = True
            self.drop()

    def drop(self) -> None:
        """Break the connection without a closing handshake."""
        if self._request is not None and self._request.transport is not None:
            self._request.transport.abort()

    async def close(self, code: int = 1001, reason: str = "") -> None:
        """Close with a proper handshake."""
        await self._socket.close(code=code, message=reason.encode())

    def befall(self) -> FaultRule | None:
        """Let a planned fault happen to this socket now, if one is due."""
        plan = self._services.plan
        rule = plan.for_socket(self.path) if plan.any_on_sockets else None
        if rule is None:
            return None
        if rule.kind is FaultKind.WS_DROP:
            self.drop()
        elif rule.kind is FaultKind.WS_SILENCE:
            self._silent_until = self._now() + (rule.seconds if rule.seconds is not None else math.inf)
        elif rule.kind is FaultKind.WS_GARBAGE:
            self.send(GARBAGE)
        else:
            self._hub.let_go(self.close(1001, "going away"))
        return rule

    @property
    def idle(self) -> bool:
        """Whether nothing has gone either way for as long as OKX waits; a planned silence is not ended that way."""
        return self._now() - self._active_at > IDLE_SECONDS and not self._silent

    def stay(self) -> None:
        """Count as active from now on."""
        self._active_at = self._now()

    async def _read(self) -> None:
        async for message in self._socket:
            if self._silent:
                continue
            self.stay()
            if message.type is WSMsgType.TEXT:
                await self._inbox.put((self._now() + self._services.one_way_seconds, message.data))
            elif message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is WSMsgType.BINARY:
                self._refuse(Refusal("60012", "Illegal request: binary message"))

    async def _write(self) -> None:
        while True:
            due, text = await self._outbox.get()
            await self._until(due)
            if text != GARBAGE:
                self.befall()
            if self._silent:
                continue
            try:
                await self._socket.send_str(text)
            except ConnectionError:
                return
            self.stay()

    async def _work(self) -> None:
        while True:
            due, text = await self._inbox.get()
            await self._until(due)
            if text == "ping":
                self.send("pong")
                continue
            try:
                await self._handle(text)
            except (Refusal, VenueError) as refusal:
                self._refuse(refusal)
            except Exception:
                log.exception("a message could not be worked off path=%s", self.path)
                self._refuse(Refusal("63999"))

    async def _handle(self, text: str) -> None:
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise Refusal("60012", f"Illegal request: {text[:200]}") from None
        operation = message.get("op") if isinstance(message, dict) else None
        if operation in OPERATIONS:
            answer = await self._desk.answer(message, self._account)
            self.send(orjson.dumps(answer).decode())
            return
        args = message.get("args") if isinstance(message, dict) else None
        if operation not in {"login", "subscribe", "unsubscribe"} or not isinstance(args, list) or not args:
            raise Refusal("60012", f"Illegal request: {text[:200]}")
        self._services.limits.take([Charge(SUBSCRIBE, self.id)])
        if operation == "login":
            self._log_in(args[0])
            return
        for arg in args:
            await self._change(operation, arg)

    def _log_in(self, given: Any) -> None:
        if not isinstance(given, dict):
            raise Refusal("60009")
        self._account = self._services.gate.check_login(given, self._services.clocks_ms())
        self._tell({"event": "login", "code": "0", "msg": ""})

    async def _change(self, operation: str, arg: Any) -> None:
        try:
            wanted = subscription(arg, self._address, self._account, self._services.venue)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        self._tell({"event": operation, "arg": arg})
        if operation == "subscribe":
            self._subscriptions.add(wanted)
            self._hub.add(self, wanted)
            if wanted.account:
                await self._services.commits.done()
        else:
            self._subscriptions.discard(wanted)
            self._hub.remove(self, wanted)

    def _tell(self, event: dict[str, Any]) -> None:
        self.send(orjson.dumps({**event, "connId": self.id}).decode())

    def _refuse(self, refusal: Refusal | VenueError) -> None:
        self._tell({"event": "error", "code": refusal.code, "msg": refusal.message})

    async def _until(self, due: float) -> None:
        wait = due - self._now()
        if wait > 0:
            await asyncio.sleep(wait)

    @property
    def _silent(self) -> bool:
        return self._now() < self._silent_until

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
