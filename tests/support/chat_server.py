"""What the Discord and Telegram test servers share: a port of their own, a script of faults, a rate limit."""

import asyncio
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeTime:
    """A monotonic clock that moves when somebody sleeps on it."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


class ChatServer(ABC):
    """Accepts messages on a port of its own; `script` holds the answers to the next requests, then all goes well."""

    route = "/{path:.*}"

    def __init__(self) -> None:
        self.requests = 0
        self.refused_for_speed = 0
        self.script: deque[Answer] = deque()
        self.always: Answer | None = None
        self.limit: tuple[int, float] | None = None
        self.time = FakeTime()
        self.stalled = asyncio.Event()
        self._release = asyncio.Event()
        self._window: tuple[float, int] = (-math.inf, 0)
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post(self.route, self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close the port; what stalls is let go first."""
        self._release.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def stall(self, request: web.Request) -> web.StreamResponse:
        """Answer nothing until the server stops."""
        await request.read()
        self.stalled.set()
        await self._release.wait()
        return web.Response(status=503)

    def fails(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """An answer with this status; a dict goes out as JSON."""

        async def answer(request: web.Request) -> web.StreamResponse:
            await request.read()
            if isinstance(body, dict):
                return web.json_response(body, status=status, headers=headers)
            return web.Response(text=str(body or ""), status=status, headers=headers)

        return answer

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        if self.script:
            return await self.script.popleft()(request)
        if self.always is not None:
            return await self.always(request)
        wait = self.take_one()
        if wait is not None:
            self.refused_for_speed += 1
            return self.too_many(wait)
        return await self.accept(request)

    def take_one(self) -> float | None:
        """Count this request against the rate limit; the seconds until the window ends when it is one too many."""
        if self.limit is None:
            return None
        allowed, window = self.limit
        started, used = self._window
        now = self.time.monotonic()
        if now - started >= window:
            started, used = now, 0
        self._window = (started, used + 1)
        return None if used < allowed else started + window - now

    @property
    def left_in_window(self) -> tuple[int, float]:
        """How many more requests fit, and when the window ends."""
        allowed, window = self.limit or (5, 2.0)
        started, used = self._window
        return max(allowed - used, 0), max(started + window - self.time.monotonic(), 0.0)

    @abstractmethod
    def too_many(self, wait: float) -> web.StreamResponse:
        """This service's 429."""

    @abstractmethod
    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Check a message as this service does, and keep it or refuse it."""
