"""One HTTP request to a chat service: a deadline, retries within a budget, and errors without secrets."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

import aiohttp
import orjson
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from kontor.errors import KontorError
from kontor.notify.queued import Queued
from kontor.notify.redaction import redact
from kontor.ports import Alert

logger = logging.getLogger(__name__)

_BODY_SHOWN = 500
_BODY_READ = 64 * 1024
# A 429 without any figure; both services mean seconds, not milliseconds.
_DEFAULT_PAUSE = 5.0
_LONGEST_PAUSE = 3600.0
_CAREFUL_SECONDS = 600.0
# Services round the pause they ask for, some down.
_MARGIN = 0.1


class NotDelivered(KontorError):
    """A message did not get through; the text names the channel and the reason, never its address."""


class Refused(NotDelivered):
    """The service will not take this message, now or later: sending it again is of no use."""

    def __init__(self, sentence: str, *, status: int) -> None:
        self.status = status
        super().__init__(sentence)

    @property
    def is_lasting(self) -> bool:
        """The address itself is wrong or revoked, so that every other message would be refused as well."""
        return self.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}


class Throttled(NotDelivered):
    """Too many messages; `retry_after` is how many seconds the service wants to be left alone."""

    def __init__(self, sentence: str, *, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(sentence)


class Unreachable(NotDelivered):
    """No answer, or the service's own failure (5xx): it may pass."""


class Channel(Protocol):
    """A place where people read alerts."""

    @property
    def name(self) -> str:
        """For logs: discord, telegram."""
        ...

    @property
    def is_for_people(self) -> bool:
        """Whether somebody reads it; otherwise it is for machines, and alone it means that alerts are off."""
        ...

    def fit(self, waiting: list[Queued]) -> int:
        """How many of the alerts in front go into one message (at least one)."""
        ...

    async def send(self, session: aiohttp.ClientSession, batch: list[Queued]) -> None:
        """Deliver them as one message; raises NotDelivered when that is given up."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one message may take: for an answer, and all attempts together. A 429's pause comes on top."""

    request_seconds: float = 10.0
    budget_seconds: float = 90.0
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 20.0
    most_pauses: int = 5


@dataclass(slots=True)
class Courier:
    """Posts JSON for one channel, and keeps to the pauses the service asks for, across messages."""

    name: str
    patience: Patience = field(default_factory=Patience)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    monotonic: Callable[[], float] = time.monotonic
    # Messages no closer together than this; and after a 429 no closer than that, until ten minutes pass without one:
    # not every limit is announced, and running into one again and again ends in a ban.
    spacing_seconds: float = 0.0
    careful_spacing_seconds: float = 2.1
    _not_before: float = -math.inf
    _careful_until: float = -math.inf

    async def post(self, session: aiohttp.ClientSession, url: str, payload: dict[str, Any]) -> None:
        """Deliver one message; raises Refused at once, Throttled or Unreachable when patience has run out."""
        await self.insist(lambda: self._attempt(session, url, payload))

    async def insist(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Attempt until it works; raises what the last attempt raised, when it was Refused or patience has run out."""

        async def once() -> None:
            await self._sleep(max(0.0, self._not_before - self.monotonic()))
            now = self.monotonic()
            if now < self._careful_until:
                self._careful_until = now + _CAREFUL_SECONDS
            self._not_before = now + self._spacing
            await attempt()

        retrying = AsyncRetrying(
            retry=retry_if_exception_type((Throttled, Unreachable)),
            wait=self._wait,
            stop=_Budget(self.patience, self.monotonic),
            sleep=self._sleep,
            before_sleep=self._log_retry,
            reraise=True,
        )
        await retrying(once)

    async def _attempt(self, session: aiohttp.ClientSession, url: str, payload: dict[str, Any]) -> None:
        timeout = aiohttp.ClientTimeout(total=self.patience.request_seconds)
        try:
            async with session.post(
                url,
                data=orjson.dumps(payload),
                headers={"Content-Type": "application/json"},
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                body = await response.content.read(_BODY_READ)
                self._not_before = self.monotonic() + max(self._spacing, _requested_pause(response))
                self._judge(response, body)
        except TimeoutError:
            raise Unreachable(f"{self.name}: no answer within {self.patience.request_seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # `from None`: aiohttp's own errors carry the address, which is the secret.
            raise Unreachable(f"{self.name}: {type(error).__name__}: {redact(str(error))}") from None

    @property
    def _spacing(self) -> float:
        is_careful = self.monotonic() < self._careful_until
        return max(self.spacing_seconds, self.careful_spacing_seconds if is_careful else 0.0)

    def _judge(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        status = response.status
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return
        told = redact(body.decode("utf-8", "replace"))[:_BODY_SHOWN]
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            pause = retry_after(response.headers.get("Retry-After"), body)
            self._not_before = self.monotonic() + pause + _MARGIN
            self._careful_until = self._not_before + _CAREFUL_SECONDS
            raise Throttled(f"{self.name}: too many messages, told to wait {pause:g} s", retry_after=pause)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unreachable(f"{self.name}: HTTP {status}: {told}")
        raise Refused(f"{self.name}: HTTP {status}: {told}", status=status)

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Throttled):
            return error.retry_after
        backoff = wait_exponential_jitter(self.patience.first_wait_seconds, self.patience.longest_wait_seconds)
        return min(backoff(state), self.patience.longest_wait_seconds)

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            await self.sleep(seconds)

    def _log_retry(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        logger.info(
            "alert not delivered yet attempt=%d wait=%.1f: %s", state.attempt_number, state.upcoming_sleep, error
        )


class _Budget:
    """Stops when the next attempt would come after the budget; pauses that the service asked for are not counted."""

    def __init__(self, patience: Patience, monotonic: Callable[[], float]) -> None:
        self._patience = patience
        self._monotonic = monotonic
        self._started = monotonic()
        self._paused = 0.0
        self._pauses = 0

    def __call__(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Throttled):
            self._paused += error.retry_after
            self._pauses += 1
            return self._pauses > self._patience.most_pauses
        spent = self._monotonic() - self._started - self._paused
        return spent + state.upcoming_sleep > self._patience.budget_seconds


class ForPeople:
    """What the channels that people read have in common."""

    __slots__ = ()
    courier: Courier

    @property
    def name(self) -> str:
        """For logs."""
        return self.courier.name

    @property
    def is_for_people(self) -> bool:
        """Read by people."""
        return True


async def deliver(channel: Channel, alert: Alert) -> None:
    """Deliver one alert now, for a caller who does wait; raises NotDelivered."""
    async with aiohttp.ClientSession() as session:
        await channel.send(session, [Queued(alert)])


def retry_after(header: str | None, body: bytes) -> float:
    """Seconds to wait after a 429: the longer of the header and the body's `retry_after`."""
    figures = [_seconds(header)]
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        told = None  # Cloudflare answers with HTML before Discord itself is reached
    if isinstance(told, dict):
        figures.append(_seconds(told.get("retry_after")))
        parameters = told.get("parameters")
        if isinstance(parameters, dict):
            figures.append(_seconds(parameters.get("retry_after")))
    known = [figure for figure in figures if figure is not None]
    return min(max(known), _LONGEST_PAUSE) if known else _DEFAULT_PAUSE


def _requested_pause(response: aiohttp.ClientResponse) -> float:
    """Discord says with each answer when the bucket is empty, and when it fills again."""
    if response.headers.get("X-RateLimit-Remaining") != "0":
        return 0.0
    return min(_seconds(response.headers.get("X-RateLimit-Reset-After")) or 0.0, _LONGEST_PAUSE) + _MARGIN


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
