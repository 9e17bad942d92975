"""The paper exchange as a server: OKX's REST and WebSocket interface on one port."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Self

from aiohttp import web

from kontor.errors import KontorError
from kontor.paper.admin import Admin
from kontor.paper.channels import ADDRESSES
from kontor.paper.clock import PaperClock
from kontor.paper.feed import LiveFeed, NoLivePrices
from kontor.paper.hub import Hub
from kontor.paper.injection import Handler, Injection
from kontor.paper.rate_limits import CONNECT, Charge
from kontor.paper.replies import Refusal
from kontor.paper.rest import Rest, not_found, refused
from kontor.paper.services import Services
from kontor.paper.settings import PaperSettings
from kontor.paper.stored import read_stored
from kontor.paper.venue import Venue
from kontor.paper.websocket import Connection
from kontor.paper.ws_orders import OrderDesk
from kontor.resilience.garbage import set_aside_what_stays

log = logging.getLogger(__name__)

GRACE_SECONDS = 2.0


class CannotStart(KontorError):
    """The paper exchange cannot be opened: why, and what to do about it."""


class PortTaken(CannotStart):
    """The port is in use by another program."""


class PaperServer:
    """A running paper exchange: `async with PaperServer(settings) as paper:` then `paper.url` and `paper.ws_url`."""

    def __init__(
        self, settings: PaperSettings | None = None, *, venue: Venue | None = None, feed: LiveFeed | None = None
    ) -> None:
        """`venue` replaces the one the settings describe; it is closed with the server all the same. `feed`, opened,
        brings live prices; whoever made it closes it.

        Raises CannotStart when the state or the price source cannot be used.
        """
        self.settings = settings or PaperSettings()
        self.port = self.settings.port
        self._feed = feed
        self.venue = venue or self._open_venue()
        self.services = Services(self.venue, self.settings, feed)
        self._runner: web.AppRunner | None = None
        self._chores: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """Where REST clients connect."""
        return f"http://{self.settings.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Where WebSocket clients connect."""
        return f"ws://{self.settings.host}:{self.port}/ws/v5"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; raises PortTaken when that is impossible."""
        self._hub = Hub(self.services)
        self._rest = Rest(self.services)
        self._desk = OrderDesk(self.services)
        self._injection = Injection(self.services.plan)
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=GRACE_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.host, self.settings.port)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortTaken(
                f"port {self.settings.port} on {self.settings.host} is taken: stop the program that uses it, "
                "or give the paper exchange another with --port or KONTOR_PAPER_PORT"
            ) from None
        self.port = self._runner.addresses[0][1]
        self._chores.append(asyncio.create_task(self._tick()))
        if self._feed is not None:
            self._chores.append(asyncio.create_task(self._feed.run()))

    async def stop(self) -> None:
        """Close every connection and the venue; calling it again does nothing."""
        chores, self._chores = self._chores, []
        for chore in chores:
            chore.cancel()
        for ended in await asyncio.gather(*chores, return_exceptions=True):
            if isinstance(ended, Exception):
                log.error("a chore of the paper exchange had ended: %r", ended)
        if self._runner is not None:
            runner, self._runner = self._runner, None
            self._injection.release()
            await self._hub.close()
            await runner.cleanup()
        self.venue.close()

    def _open_venue(self) -> Venue:
        state = self.settings.state_file
        try:
            venue = Venue(
                self.settings.venue_config(), clock=PaperClock(self.settings.speed), path=state, live=self._feed
            )
        except OSError as error:
            raise CannotStart(f"{error.filename or state}: {error.strerror}; choose another with --home") from error
        except (RuntimeError, ValueError) as error:
            raise CannotStart(str(error)) from error
        for notice in venue.notices:
            log.warning("%s", notice)
        return venue

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._middleware()])
        app.add_routes(Admin(self.services, self._hub, self._injection).routes())
        app.router.add_get("/ws/v5/{address}", self._websocket)
        app.router.add_route("*", "/{path:.*}", self._rest.handle)
        return app

    def _middleware(self):  # noqa: ANN202 - the framework's own type has no public name
        @web.middleware
        async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith("/admin/"):
                return await handler(request)
            stats = self.services.stats
            stats.requested(request.method, request.path)
            response = await self._injection.handle(request, self._delayed(handler))
            stats.statuses[str(response.status)] += 1
            return response

        return handle

    def _delayed(self, handler: Handler) -> Handler:
        """The handler behind the simulated network."""
        one_way = self.services.one_way_seconds

        async def handle(request: web.Request) -> web.StreamResponse:
            # A socket delays each of its messages itself.
            if one_way == 0 or request.path.startswith("/ws/"):
                return await handler(request)
            await asyncio.sleep(one_way)
            response = await handler(request)
            await asyncio.sleep(one_way)
            return response

        return handle

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        address = request.match_info["address"]
        if address not in ADDRESSES:
            return not_found()
        try:
            self.services.limits.take([Charge(CONNECT, request.remote or "")])
        except Refusal as refusal:
            return refused(refusal)
        return await Connection(self.services, self._hub, self._desk, address, request.path).run(request)

    async def _tick(self) -> None:
        trouble = ""
        while True:
            await asyncio.sleep(self.settings.tick_ms / 1000)
            try:
                self.venue.advance()
                self.venue.flush()
                self._hub.poll()
            except Exception as error:
                # An exchange that stops moving is worse than one that skips a beat; the same trouble is told once.
                if str(error) != trouble:
                    log.exception("a tick of the paper exchange failed")
                trouble = str(error)
            else:
                trouble = ""


async def run_paper(settings: PaperSettings, make_feed: Callable[[PaperSettings], LiveFeed] | None = None) -> None:
    """Run a paper exchange until SIGTERM or SIGINT; raises CannotStart, PortTaken when it is its port.

    `make_feed` makes the feed of live prices, where the settings ask for them.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        feed = None
        if settings.live_exchange:
            if make_feed is None:
                raise CannotStart("live prices need an exchange to take them from: start it with `kontor paper`")
            feed = make_feed(settings)
            stack.push_async_callback(feed.close)
            try:
                await feed.open(settings.markets, read_stored(settings.state_file))
            except NoLivePrices as error:
                raise CannotStart(str(error)) from error
        paper = await stack.enter_async_context(PaperServer(settings, feed=feed))
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, stopping.set)
        log.info("paper exchange listening url=%s markets=%d", paper.url, len(paper.venue.instruments()))
        set_aside_what_stays()
        print(f"paper exchange on {paper.url}", flush=True)  # noqa: T201 - the one line its starter waits for
        try:
            await stopping.wait()
        finally:
            for signum in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(signum)
