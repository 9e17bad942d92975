"""A Telegram chat, through the Bot API."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from kontor.errors import ConfigError
from kontor.notify.delivery import Courier, ForPeople
from kontor.notify.formatting import TELEGRAM_TEXT, length, split, telegram_text
from kontor.notify.queued import Queued
from kontor.notify.redaction import remember_secret

API = "https://api.telegram.org"

_TOKEN = re.compile(r"\d+:[\w-]+")
_CHAT = re.compile(r"-?\d+|@\w+")
_BETWEEN = "\n\n"
_MOST_TOGETHER = 20


def telegram_courier(**changes: Any) -> Courier:
    """Telegram wants at most one message a second in a chat, and twenty a minute in a group."""
    return Courier("telegram", spacing_seconds=1.0, careful_spacing_seconds=3.1, **changes)


@dataclass(slots=True)
class Telegram(ForPeople):
    """Sends alerts as MarkdownV2; long ones in several messages, short ones together in one."""

    token: str = field(repr=False)
    chat_id: str
    thread_id: int | None = None
    api_url: str = API
    courier: Courier = field(default_factory=telegram_courier, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_bot(self.token, self.chat_id, self.api_url)
        self.api_url = self.api_url.rstrip("/")

    def fit(self, waiting: list[Queued]) -> int:
        """As many as one message holds; an alert that is too long for one message goes alone."""
        total = 0
        for count, queued in enumerate(waiting[:_MOST_TOGETHER]):
            total += length(telegram_text(queued)) + (len(_BETWEEN) if count else 0)
            if total > TELEGRAM_TEXT:
                return max(count, 1)
        return min(len(waiting), _MOST_TOGETHER)

    async def send(self, session: aiohttp.ClientSession, batch: list[Queued]) -> None:
        """Deliver the alerts; raises NotDelivered when that is given up."""
        for piece in split(_BETWEEN.join(telegram_text(queued) for queued in batch)):
            payload: dict[str, Any] = {
                "chat_id": self.chat_id,
                "text": piece,
                "parse_mode": "MarkdownV2",
                "link_preview_options": {"is_disabled": True},
            }
            if self.thread_id is not None:
                payload["message_thread_id"] = self.thread_id
            await self.courier.post(session, f"{self.api_url}/bot{self.token}/sendMessage", payload)


def check_bot(token: str, chat_id: str, api_url: str = API) -> None:
    """Raises ConfigError, without quoting the token, when this cannot be a bot and a chat."""
    if not _TOKEN.fullmatch(token):
        raise ConfigError("the bot token must look like 123456789:ABC..., as BotFather gave it")
    if not _CHAT.fullmatch(chat_id):
        raise ConfigError("the chat must be a number, such as -1001234567890, or a channel's @name")
    if urlsplit(api_url).scheme not in {"http", "https"}:
        raise ConfigError("the Bot API's address must start with https://")
    remember_secret(token)
