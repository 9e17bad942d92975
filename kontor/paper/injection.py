"""Faults carried out on HTTP: the middleware between the socket and the endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson
from aiohttp import web

from kontor.paper.faults import FaultKind, FaultPlan, FaultRule
from kontor.paper.replies import MESSAGES, Reply

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CLOCK_SHIFT_MS: web.RequestKey[int] = web.RequestKey("clock_shift_ms", int)
LONGEST_HANG_SECONDS = 600.0
NO_RESPONSE = 444
HTML = """<!DOCTYPE html>
<html><head><title>Attention required</title></head>
<body><h1>Please wait</h1><p>We are checking your connection.</p></body></html>
"""
SERVER_ERRORS = {FaultKind.HTTP_500: 500, FaultKind.HTTP_502: 502, FaultKind.HTTP_503: 503}
STAMPS = frozenset({"ts", "cTime", "uTime", "pTime", "fillTime", "triggerTime"})


class Injection:
    """Makes requests fail as planned."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._over = asyncio.Event()

    def release(self) -> None:
        """End every hang and delay for good, so that the server can stop."""
        self._over.set()

    def let_go(self) -> None:
        """End the hangs and delays that are under way."""
        over, self._over = self._over, asyncio.Event()
        over.set()

    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer the request, or do to it what the plan says."""
        text = request.query_string + (await request.read()).decode(errors="replace")
        rule = self._plan.for_request(request.method, request.path, text)
        if rule is None:
            return await handler(request)
        if rule.kind is FaultKind.DELAY:
            return await self._delay(rule, request, handler)
        if rule.kind is FaultKind.WRONG_CLOCK:
            shift_ms = int((rule.seconds or 0) * 1000)
            request[CLOCK_SHIFT_MS] = shift_ms
            return _shifted(await handler(request), shift_ms)
        response = await handler(request) if rule.processed else None
        if rule.kind is FaultKind.HANG:
            await self._wait(rule.seconds if rule.seconds is not None else LONGEST_HANG_SECONDS)
            return _drop(request)
        return _spoiled(rule, request, response)

    async def _delay(self, rule: FaultRule, request: web.Request, handler: Handler) -> web.StreamResponse:
        # A delayed request takes effect even if its sender has long given up: that is the point of it.
        if rule.processed:
            response = await handler(request)
            await self._wait(rule.seconds or 0)
            return response
        await self._wait(rule.seconds or 0)
        return await handler(request)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)


def _drop(request: web.Request) -> web.Response:
    """Close the connection without a word; the response only satisfies the framework."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=NO_RESPONSE)


def _spoiled(rule: FaultRule, request: web.Request, response: web.StreamResponse | None) -> web.StreamResponse:
    kind = rule.kind
    if kind in {FaultKind.DROP_BEFORE, FaultKind.DROP_AFTER}:
        return _drop(request)
    if kind in SERVER_ERRORS:
        return _server_error(SERVER_ERRORS[kind])
    if kind is FaultKind.HTTP_429:
        after = str(round(rule.seconds if rule.seconds is not None else 1))
        body = Reply([], "50011", MESSAGES["50011"]).encode()
        return web.Response(status=429, body=body, headers={"Retry-After": after}, content_type="application/json")
    if kind is FaultKind.HTML_200:
        return web.Response(text=HTML, content_type="text/html")
    if kind is FaultKind.TRUNCATED_JSON:
        body = _body(response)
        return web.Response(body=body[: len(body) // 2], content_type="application/json")
    return web.Response(body=b"", content_type="application/json")


def _server_error(status: int) -> web.Response:
    reason = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable"}[status]
    text = f"<html><head><title>{status} {reason}</title></head><body><h1>{status} {reason}</h1></body></html>"
    return web.Response(status=status, text=text, content_type="text/html")


def _body(response: web.StreamResponse | None) -> bytes:
    body = response.body if isinstance(response, web.Response) else None
    return bytes(body) if isinstance(body, (bytes, bytearray)) else b""


def _shifted(response: web.StreamResponse, shift_ms: int) -> web.StreamResponse:
    body = _body(response)
    if not body or response.content_type != "application/json":
        return response
    shifted = orjson.dumps(shift_stamps(orjson.loads(body), shift_ms))
    return web.Response(status=response.status, body=shifted, content_type="application/json")


def shift_stamps(value: Any, shift_ms: int) -> Any:
    """The payload with every timestamp in it moved by `shift_ms`."""
    if isinstance(value, list):
        return [shift_stamps(item, shift_ms) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: str(int(item) + shift_ms)
        if name in STAMPS and isinstance(item, str) and item.isdigit()
        else shift_stamps(item, shift_ms)
        for name, item in value.items()
    }
