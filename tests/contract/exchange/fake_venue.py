"""A venue that answers as it is told, byte by byte, and remembers what it was asked."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BATCH, LOOKUP, CANCEL = "trade/batch-orders", "trade/order", "trade/cancel-order"
HTML = "<html><body>checking your browser</body></html>"

INSTRUMENTS = [
    {
        "instType": "SPOT",
        "instId": "BTC-USD",
        "baseCcy": "BTC",
        "quoteCcy": "USD",
        "lotSz": "0.00000001",
        "minSz": "0.00001",
        "tickSz": "0.1",
        "state": "live",
    },
    {
        "instType": "SWAP",
        "instId": "BTC-USD-SWAP",
        "uly": "BTC-USD",
        "settleCcy": "USD",
        "ctVal": "0.01",
        "lotSz": "1",
        "minSz": "1",
        "tickSz": "0.1",
        "lever": "100",
        "state": "live",
    },
]


def fine(*data: Any) -> Handler:
    """OKX's envelope around some data."""
    return body(json.dumps({"code": "0", "msg": "", "data": list(data)}))


def body(
    text: str, *, status: int = 200, kind: str = "application/json", headers: Mapping[str, str] | None = None
) -> Handler:
    """Any answer at all."""

    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, content_type=kind, headers=headers)

    return handler


def refusal(code: str, text: str = "says the venue", headers: Mapping[str, str] | None = None) -> Handler:
    """One order refused with its own code."""
    item = {"clOrdId": "", "ordId": "", "sCode": code, "sMsg": text, "tag": ""}
    return body(json.dumps({"code": "1", "data": [item], "msg": "All operations failed"}), headers=headers)


class FakeVenue:
    """An HTTP server whose answers a test sets by path; it remembers every request."""

    def __init__(self) -> None:
        self.answers: dict[str, Handler] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.release = asyncio.Event()
        self.seen: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self.release.set()
        if self._runner is not None:
            await self._runner.cleanup()

    def asked(self, path: str) -> int:
        """How often a path was requested."""
        return sum(path in requested for _, requested, _ in self.requests)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, await request.text()))
        self.headers.append(dict(request.headers))
        for path, event in self.seen.items():
            if request.path.endswith(path):
                event.set()
        handler = next((found for path, found in self.answers.items() if request.path.endswith(path)), None)
        if handler is not None:
            return await handler(request)
        if request.path.endswith("public/instruments"):
            kind = request.query["instType"]
            return await fine(*(entry for entry in INSTRUMENTS if entry["instType"] == kind))(request)
        if request.path.endswith("public/time"):
            return await fine({"ts": str(int(datetime.now(UTC).timestamp() * 1000))})(request)
        return await fine()(request)
