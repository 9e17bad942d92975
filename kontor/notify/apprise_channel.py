"""Any other channel through Apprise: Slack, Matrix, ntfy, e-mail and a hundred more, each by its URL."""

import asyncio
import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import aiohttp

from kontor.errors import ConfigError
from kontor.notify.delivery import Courier, ForPeople, Unreachable
from kontor.notify.formatting import repeats, valid
from kontor.notify.queued import Queued
from kontor.notify.redaction import remember_if_secret, remember_secret
from kontor.ports import Alert

if TYPE_CHECKING:
    from apprise import NotifyBase

# Apprise's own plugins log addresses and answers.
logging.getLogger("apprise").setLevel(logging.CRITICAL)

logger = logging.getLogger(__name__)

_KINDS = {"info": "info", "warning": "warning", "critical": "failure"}


@dataclass(slots=True)
class Apprise(ForPeople):
    """Sends one alert a message, from a thread of its own: a service that stalls holds up neither loop nor exit."""

    url: str = field(repr=False)
    courier: Courier = field(default_factory=lambda: Courier("apprise", spacing_seconds=1.0), compare=False, repr=False)
    _plugin: "NotifyBase | None" = field(default=None, init=False, compare=False, repr=False)
    _is_idle: threading.Event = field(default_factory=threading.Event, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._plugin = instantiate(self.url)
        self._is_idle.set()

    def fit(self, waiting: list[Queued]) -> int:
        """One: what a service does with long texts is its own affair."""
        del waiting
        return 1

    async def send(self, session: aiohttp.ClientSession, batch: list[Queued]) -> None:
        """Deliver the alerts; raises NotDelivered when that is given up."""
        del session
        for queued in batch:
            await self.courier.insist(lambda queued=queued: self._attempt(queued))

    async def _attempt(self, queued: Queued) -> None:
        seconds = self.courier.patience.request_seconds
        if not self._is_idle.is_set():
            # A thread cannot be ended: one at a time, however long the service stalls.
            raise Unreachable(f"{self.name}: still no answer to the message before")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()
        self._is_idle.clear()
        threading.Thread(target=self._notify, args=(queued, loop, answer), name="apprise", daemon=True).start()
        try:
            async with asyncio.timeout(seconds):
                is_delivered = await answer
        except TimeoutError:
            raise Unreachable(f"{self.name}: no answer within {seconds:g} s") from None
        if not is_delivered:
            raise Unreachable(f"{self.name}: the service did not take the message")

    def _notify(self, queued: Queued, loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[bool]") -> None:
        """Runs in the thread; whatever a plugin raises is a message that was not delivered."""
        import apprise

        try:
            is_delivered = self._plugin is not None and bool(
                self._plugin.notify(
                    body=text_of(queued),
                    title=valid(queued.alert.title),
                    notify_type=apprise.NotifyType(_KINDS.get(queued.alert.severity, "info")),
                    body_format=apprise.NotifyFormat.TEXT,
                )
            )
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything, with its address in it
            logger.warning("alert not sent channel=%s: the plugin raised %s", self.name, type(error).__name__)
            is_delivered = False
        finally:
            self._is_idle.set()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, answer, is_delivered)


def instantiate(url: str) -> "NotifyBase":
    """The plugin for an Apprise URL; raises ConfigError, without quoting it, when there is none."""
    import apprise

    _remember(url)
    plugin = apprise.Apprise.instantiate(url.strip(), suppress_exceptions=True) if "://" in url else None
    if plugin is None:
        raise ConfigError(
            "the URL must be one that Apprise knows, such as ntfys://topic or mailto://user:password@example.com"
        )
    return plugin


def text_of(queued: Queued) -> str:
    """One alert as plain text."""
    alert: Alert = queued.alert
    where = " · ".join(part for part in (alert.account, f"{alert.at:%Y-%m-%d %H:%M:%S} UTC") if part)
    facts = [f"{name}: {value}" for name, value in (*alert.fields, ("Again", repeats(queued))) if value.strip()]
    lines = [alert.text, *facts, where, alert.url or ""]
    return valid("\n".join(line for line in lines if line.strip()))


def _remember(url: str) -> None:
    """Hide the whole URL, its password, and each part of it that may be a token."""
    parts = urlsplit(url.strip())
    for secret in (url.strip(), parts.password or ""):
        remember_secret(secret)
        remember_secret(unquote(secret))
    # A topic or a host alone is no secret, yet many services carry their token there.
    alone = [parts.hostname or ""] if not parts.path.strip("/") and not parts.username else []
    for piece in (parts.username or "", *parts.path.split("/"), *alone):
        remember_if_secret(piece)
        remember_if_secret(unquote(piece))


def _settle(answer: "asyncio.Future[bool]", is_delivered: bool) -> None:
    if not answer.done():
        answer.set_result(is_delivered)
