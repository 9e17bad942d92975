"""The server of the desk's page: it signs people in, serves files that ship with us, and pushes what changes."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
from dataclasses import replace
from typing import Self

from aiohttp import WSCloseCode, web

from kontor.errors import KontorError
from kontor.ports import Store
from kontor.web import files, views
from kontor.web.hub import Desk, Hub, Viewer, selected
from kontor.web.protection import Protection
from kontor.web.sessions import COOKIE, Sessions, TooManyGuesses
from kontor.web.settings import WebSettings

log = logging.getLogger(__name__)

GRACE_SECONDS = 2.0
HEARTBEAT_SECONDS = 20.0
#: Browsers show this reason nowhere; our script does.
SIGNED_OUT = 4401
FORM_BYTES = 4096


class CannotStart(KontorError):
    """The page cannot be served: why, and what to do about it."""


class WebServer:
    """A running page: `async with WebServer(settings, store, desk) as page:` then `page.url`. Never writes anything."""

    def __init__(self, settings: WebSettings, store: Store, desk: Desk) -> None:
        self.settings, self._store, self._desk = settings, store, desk
        self.port = settings.port
        self._sessions = Sessions(settings.password, settings.session)
        self._protection = Protection(settings, self._sessions)
        self._hub = Hub(store, desk)
        self._sockets: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None
        self._looking: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; raises CannotStart when that is impossible."""
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=GRACE_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.host, self.settings.port)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            taken = error.errno == errno.EADDRINUSE
            reason = "is taken: stop the program that uses it, or" if taken else f"cannot be used ({error.strerror}):"
            raise CannotStart(
                f"port {self.settings.port} on {self.settings.host} {reason} give the page another with --port or "
                "KONTOR_WEB_PORT"
            ) from None
        self.port = self._protection.port = self._runner.addresses[0][1]
        self._looking = asyncio.create_task(self._hub.run(self.settings.look_every.total_seconds()))

    async def stop(self) -> None:
        """Let everybody go; calling it again does nothing."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None
        if self._runner is not None:
            runner, self._runner = self._runner, None
            closing = [each.close(code=WSCloseCode.GOING_AWAY) for each in tuple(self._sockets)]
            await asyncio.gather(*closing, return_exceptions=True)
            await runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._protection.middleware()], client_max_size=FORM_BYTES)
        app.router.add_get("/", self._page)
        app.router.add_get("/login", self._login_page)
        app.router.add_post("/login", self._sign_in)
        app.router.add_post("/logout", self._sign_out)
        app.router.add_get("/health", self._health)
        app.router.add_get("/live", self._live)
        app.router.add_get("/static/{name}", self._file)
        return app

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _page(self, _request: web.Request) -> web.StreamResponse:
        return files.answer("desk.html")

    async def _login_page(self, request: web.Request) -> web.StreamResponse:
        return files.login_page(was_wrong="wrong" in request.query)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return files.answer(request.match_info["name"])

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        if not self._protection.is_own_origin(request):
            return web.Response(status=403, text="sign in on the page itself\n")
        given = (await request.post()).get("password", "")
        try:
            if not isinstance(given, str) or not await self._sessions.is_password(given):
                return web.Response(status=303, headers={"Location": "/login?wrong"})
        except TooManyGuesses:
            return web.Response(status=429, text="too many tries at once; wait a moment\n")
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            COOKIE,
            self._sessions.issue(),
            max_age=self._sessions.life,
            httponly=True,
            samesite="Strict",
            # Behind TLS it travels by TLS alone; on loopback there is none.
            secure=request.headers.get("Origin", "") == self.settings.public_url,
        )
        return response

    async def _sign_out(self, request: web.Request) -> web.StreamResponse:
        if not self._protection.is_own_origin(request):
            return web.Response(status=403, text="sign out on the page itself\n")
        response = web.Response(status=303, headers={"Location": "/login"})
        response.del_cookie(COOKIE)
        return response

    async def _live(self, request: web.Request) -> web.StreamResponse:
        """What is selected, whole, and from then on what changes."""
        if not self._protection.is_own_origin(request):
            # No rule of the browser's keeps pages of other origins from opening this.
            return web.Response(status=403, text="only the page itself may listen\n")
        if len(self._sockets) >= self.settings.max_clients:
            return web.Response(status=503, text=f"{self.settings.max_clients} browsers look already\n")
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=FORM_BYTES, compress=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            async with asyncio.timeout(self._protection.seconds_left(request)):
                await self._show(socket, request)
        except TimeoutError:
            await socket.close(code=SIGNED_OUT)
        finally:
            self._sockets.discard(socket)
        return socket

    async def _show(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        viewer = Viewer(selected(self._desk, request.query))
        sending = asyncio.create_task(_send(socket, viewer))
        try:
            if not viewer.selection.symbol:
                first = (await views.symbols(self._store, viewer.selection.account) or [""])[0]
                viewer.selection = replace(viewer.selection, symbol=first)
            await self._hub.welcome(viewer)
            # Nothing that a browser says matters; reading is how its going is noticed.
            async for _ in socket:
                pass
        except KontorError as error:
            viewer.send("trouble", {"text": str(error)})
            await asyncio.sleep(self.settings.look_every.total_seconds())
        finally:
            self._hub.leave(viewer)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _send(socket: web.WebSocketResponse, viewer: Viewer) -> None:
    while (message := await viewer.outbox.get()) is not None:
        try:
            await socket.send_str(message.decode())
        except ConnectionError:
            return
    await socket.close(code=WSCloseCode.TRY_AGAIN_LATER)


async def run_web(settings: WebSettings, store: Store, desk: Desk) -> None:
    """Serve the page until SIGTERM or SIGINT; raises CannotStart."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with WebServer(settings, store, desk) as page:
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, stopping.set)
        print(f"the desk's page on {page.url}", flush=True)  # noqa: T201 - the one line its starter waits for
        try:
            await stopping.wait()
        finally:
            for signum in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(signum)
