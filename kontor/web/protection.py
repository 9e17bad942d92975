"""Who gets in, and what a browser may do with what it got: the checks and headers of every answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from kontor.web.sessions import COOKIE, Sessions
from kontor.web.settings import WebSettings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Everything comes from this server; nothing inline runs, nothing may frame the page, and forms go nowhere else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
}
#: Tells whether the server lives, and what the page of the sign-in looks like: nothing of the account.
OPEN_TO_ALL = frozenset({"/health", "/login", "/static/page.css"})


class Protection:
    """One server's checks; `port` is known once it listens."""

    def __init__(self, settings: WebSettings, sessions: Sessions) -> None:
        self._settings, self._sessions = settings, sessions
        self.port = settings.port

    def middleware(self):  # noqa: ANN201 - the framework's own type has no public name
        """Turns away who may not, and puts the headers on every answer."""

        @web.middleware
        async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                refusal = self._turned_away(request)
                response = await handler(request) if refusal is None else refusal
            except web.HTTPException as error:
                # A page that is not there is an answer like any other.
                error.headers.update(HEADERS)
                raise
            if not response.prepared:
                response.headers.update(HEADERS)
                response.headers.setdefault("Cache-Control", "no-store")
            return response

        return handle

    def is_own_origin(self, request: web.Request) -> bool:
        """Whether a page of ours sent this; a browser says so with every form and every live connection."""
        return request.headers.get("Origin", "") in self._settings.origins(self.port)

    def seconds_left(self, request: web.Request) -> float:
        """How long whoever asks is still signed in; 0 when they are not."""
        return self._sessions.seconds_left(request.cookies.get(COOKIE))

    def _turned_away(self, request: web.Request) -> web.Response | None:
        if request.host.lower() not in self._settings.hosts(self.port):
            # A name of somebody else's that leads here: their page would count as being of this origin.
            return web.Response(status=421, text="this server is not called that\n")
        if request.path in OPEN_TO_ALL or self.seconds_left(request):
            return None
        if request.method == "GET" and request.path == "/":
            return web.Response(status=303, headers={"Location": "/login"})
        return web.Response(status=401, text="sign in first\n")
