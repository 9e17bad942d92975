"""REST requests: authenticated, counted, answered, committed, in this order."""

from __future__ import annotations

import logging
import time
from typing import Any

import orjson
from aiohttp import web

from kontor.paper.endpoints import BY_PATH, PATHS, Endpoint
from kontor.paper.injection import CLOCK_SHIFT_MS
from kontor.paper.model import VenueError
from kontor.paper.rate_limits import PLACE, PLACE_ALGO
from kontor.paper.replies import Call, Refusal, Reply
from kontor.paper.services import Services, is_expired, micros
from kontor.paper.venue import Venue

log = logging.getLogger(__name__)


class Rest:
    """Answers everything under /api/v5."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def handle(self, request: web.Request) -> web.Response:
        """The answer to one request, refusals included."""
        endpoint = BY_PATH.get((request.method, request.path))
        if endpoint is None:
            return refused(Refusal("50115")) if request.path in PATHS else not_found()
        began = time.time()
        try:
            reply = await self._reply(request, endpoint)
        except Refusal as refusal:
            return refused(refusal)
        except VenueError as error:
            return refused(Refusal(error.code, error.message))
        except Exception:
            log.exception("a request could not be answered method=%s path=%s", request.method, request.path)
            return refused(Refusal("50026"))
        if not endpoint.takes_orders:
            return web.Response(body=reply.encode(), content_type="application/json")
        body = reply.encode(inTime=micros(began), outTime=micros(time.time()))
        return web.Response(body=body, content_type="application/json")

    async def _reply(self, request: web.Request, endpoint: Endpoint) -> Reply:
        services = self._services
        clocks = services.clocks_ms(request.get(CLOCK_SHIFT_MS, 0))
        text = (await request.read()).decode(errors="replace")
        account = ""
        if endpoint.private:
            account = services.gate.check_request(request.headers, request.method, request.raw_path, text, clocks)
            refuse_while_closed(services.venue)
        call = Call(
            venue=services.venue,
            account=account,
            params=request.query,
            body=_parsed(text) if request.method == "POST" else None,
            expired=is_expired(request.headers.get("expTime", ""), clocks),
        )
        services.limits.take(endpoint.charges(call, request.remote or ""))
        reply = endpoint.answer(call)
        if services.feed is not None and not endpoint.private:
            reply = await services.feed.complete(reply, lambda: endpoint.answer(call))
        if endpoint.private:
            await services.commits.done()
        if endpoint.limit in {PLACE, PLACE_ALGO}:
            services.stats.accepted_orders(reply.data)
        return reply


def refuse_while_closed(venue: Venue) -> None:
    """What OKX answers while it is being upgraded."""
    if venue.closed() is not None:
        raise Refusal("50001")


def not_found() -> web.Response:
    """What OKX answers on a path it does not have."""
    body = {
        "code": "404",
        "data": {},
        "detailMsg": "",
        "error_code": "404",
        "error_message": "Not Found",
        "msg": "Not Found",
    }
    return web.Response(status=404, body=orjson.dumps(body), content_type="application/json")


def refused(refusal: Refusal) -> web.Response:
    """A refusal as OKX sends it."""
    body = Reply([], refusal.code, refusal.message).encode()
    return web.Response(status=refusal.status, body=body, content_type="application/json")


def _parsed(text: str) -> Any:
    if not text.strip():
        raise Refusal("50000")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Refusal("50002") from None
