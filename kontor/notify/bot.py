"""The Telegram bot as one talks to it: messages in, by long polling, and answers out."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson

from kontor.notify.delivery import Courier, Refused, Throttled, Unreachable, retry_after
from kontor.notify.formatting import escape, split
from kontor.notify.redaction import redact
from kontor.notify.telegram import API, check_bot, telegram_courier

logger = logging.getLogger(__name__)

LONG_POLL_SECONDS = 25
_AIR_SECONDS = 10.0
_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody wrote: `update` is Telegram's number for it, which only grows."""

    update: int
    chat: int
    user: int
    name: str
    text: str
    at: int


@dataclass
class Bot:
    """One bot. Its token is a secret; errors never show it."""

    token: str = field(repr=False)
    api_url: str = API
    courier: Courier = field(default_factory=telegram_courier, repr=False)
    _session: aiohttp.ClientSession = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_bot(self.token, "0", self.api_url)
        self.api_url = self.api_url.rstrip("/")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connections for what follows, closed at the end."""
        async with aiohttp.ClientSession() as self._session:
            yield

    async def updates(
        self, offset: int | None, *, seconds: int = LONG_POLL_SECONDS
    ) -> tuple[Sequence[Message], int | None]:
        """New messages, waited for, and the offset to ask with next; raises NotDelivered when Telegram does not answer.

        Asking with an offset tells Telegram to forget what came before it.
        """
        body: dict[str, Any] = {"timeout": seconds, "limit": _LIMIT, "allowed_updates": ["message"]}
        if offset is not None:
            body["offset"] = offset
        found = await self._call("getUpdates", body, seconds + _AIR_SECONDS)
        messages = [message for update in found if (message := _message(update)) is not None]
        numbers = [update["update_id"] for update in found]
        return messages, max(numbers) + 1 if numbers else offset

    async def say(self, chat: int, text: str) -> None:
        """Answer in plain text; raises NotDelivered when that is given up."""
        for piece in split(escape(text)):
            payload = {"chat_id": chat, "text": piece, "parse_mode": "MarkdownV2"}
            await self.courier.post(self._session, f"{self.api_url}/bot{self.token}/sendMessage", payload)

    async def _call(self, method: str, body: dict[str, Any], seconds: float) -> Any:
        try:
            async with self._session.post(
                f"{self.api_url}/bot{self.token}/{method}",
                data=orjson.dumps(body),
                headers={"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
            ) as response:
                answer = await response.read()
                return self._judged(response, answer)
        except TimeoutError:
            raise Unreachable(f"telegram: no answer within {seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"telegram: {type(error).__name__}: {redact(str(error))}") from None

    @staticmethod
    def _judged(response: aiohttp.ClientResponse, answer: bytes) -> Any:
        status = response.status
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return orjson.loads(answer)["result"]
        told = redact(answer.decode("utf-8", "replace"))[:300]
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            pause = retry_after(response.headers.get("Retry-After"), answer)
            raise Throttled(f"telegram: told to wait {pause:g} s", retry_after=pause)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unreachable(f"telegram: HTTP {status}: {told}")
        raise Refused(f"telegram: HTTP {status}: {told}", status=status)


def _message(update: dict[str, Any]) -> Message | None:
    message = update.get("message")
    if not isinstance(message, dict) or not isinstance(message.get("text"), str):
        return None
    sender = message.get("from") or {}
    return Message(
        update["update_id"],
        message["chat"]["id"],
        sender.get("id", 0),
        str(sender.get("username") or sender.get("first_name") or sender.get("id", "")),
        message["text"],
        message.get("date", 0),
    )
