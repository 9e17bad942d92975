"""A Telegram Bot API that parses MarkdownV2 as strictly as the real one and answers in its shapes."""

import asyncio
import contextlib
import math
import time
from typing import Any

from aiohttp import web

from tests.support.chat_server import ChatServer

TOKEN = "123456789:AAF-made-up-for-tests_0123456789abcde"
CHAT = "-1001234567890"
RESERVED = "[]()~`>#+-=|{}.!"
LONGEST = 4096


class BadMarkdownError(ValueError):
    """Telegram's own words about text that it cannot parse."""


class TelegramServer(ChatServer):
    """`sendMessage` and `getUpdates`; what people would see is in `texts`, what they write comes by `type`."""

    route = "/bot{token}/{method}"

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.said: asyncio.Queue[str] = asyncio.Queue()
        self._typed: list[dict[str, Any]] = []
        self._came = asyncio.Event()

    def type(self, text: str, *, chat: int = int(CHAT), user: int = 7, age: float = 0.0) -> int:
        """Somebody writes into a chat; returns the update's number."""
        number = 9000 + len(self._typed)
        chat_is = {"id": chat, "type": "supergroup" if chat < 0 else "private"}
        message = {
            "message_id": number,
            "from": {"id": user, "is_bot": False, "first_name": "Ada", "username": "ada"},
            "chat": chat_is,
            "date": int(time.time() - age),
            "text": text,
        }
        self._typed.append({"update_id": number, "message": message})
        self._came.set()
        return number

    async def _updates(self, asked: dict[str, Any]) -> web.StreamResponse:
        """Long polling: what is not confirmed by the offset, waited for when there is nothing."""
        offset = asked.get("offset", 0)
        waits_until = time.monotonic() + asked.get("timeout", 0)
        while True:
            self._came.clear()
            found = [update for update in self._typed if update["update_id"] >= offset][: asked.get("limit", 100)]
            left = waits_until - time.monotonic()
            if found or left <= 0 or self._release.is_set():
                return web.json_response({"ok": True, "result": found})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._came.wait()

    async def stop(self) -> None:
        """Let long polls go first."""
        self._release.set()
        self._came.set()
        await super().stop()

    def too_many(self, wait: float) -> web.StreamResponse:
        seconds = math.ceil(wait)
        body = {
            "ok": False,
            "error_code": 429,
            "description": f"Too Many Requests: retry after {seconds}",
            "parameters": {"retry_after": seconds},
        }
        return web.json_response(body, status=429, headers={"Retry-After": str(seconds)})

    async def accept(self, request: web.Request) -> web.StreamResponse:  # noqa: PLR0911 - one return for each answer
        if request.match_info["token"] != TOKEN:
            return _error(401, "Unauthorized")
        if request.match_info["method"] == "getUpdates":
            return await self._updates(await request.json())
        if request.match_info["method"] != "sendMessage":
            return _error(404, "Not Found")
        message = await request.json()
        if str(message.get("chat_id")) != CHAT:
            return _error(400, "Bad Request: chat not found")
        text = message.get("text", "")
        if message.get("parse_mode") == "MarkdownV2":
            try:
                text = plain(text)
            except BadMarkdownError as error:
                return _error(400, f"Bad Request: can't parse entities: {error}")
        if not text.strip():
            return _error(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) // 2 > LONGEST:
            return _error(400, "Bad Request: message is too long")
        self.messages.append(message)
        self.texts.append(text)
        self.said.put_nowait(text)
        result = {
            "message_id": len(self.texts),
            "date": 0,
            "chat": {"id": int(CHAT), "type": "supergroup"},
            "text": text,
        }
        return web.json_response({"ok": True, "result": result})


def plain(markdown: str) -> str:
    """What a reader sees of MarkdownV2 with bold and italic; raises BadMarkdownError in Telegram's words."""
    shown: list[str] = []
    opened: list[str] = []
    characters = iter(enumerate(markdown))
    for offset, character in characters:
        if character == "\\":
            _, escaped = next(characters, (offset, ""))
            if not escaped:
                raise BadMarkdownError(f"Can't find the escaped character at byte offset {offset}")
            shown.append(escaped if ord(escaped) < 127 else f"\\{escaped}")
        elif character in "*_":
            if opened and opened[-1] == character:
                opened.pop()
            elif character in opened:
                raise BadMarkdownError(f"Can't find end of {_name(opened[-1])} entity at byte offset {offset}")
            else:
                opened.append(character)
        elif character in RESERVED:
            raise BadMarkdownError(f"Character '{character}' is reserved and must be escaped with the preceding '\\'")
        else:
            shown.append(character)
    if opened:
        raise BadMarkdownError(f"Can't find end of {_name(opened[-1])} entity at byte offset {len(markdown)}")
    return "".join(shown)


def _name(mark: str) -> str:
    return "Bold" if mark == "*" else "Italic"


def _error(status: int, description: str) -> web.StreamResponse:
    return web.json_response({"ok": False, "error_code": status, "description": description}, status=status)
