"""A Discord that enforces its documented limits and answers in its own shapes."""

import math
from typing import Any

from aiohttp import web

from tests.support.chat_server import ChatServer

WEBHOOK_ID = "1098765432109876543"
TOKEN = "aXQtaXMtYS1zZWNyZXQtdG9rZW4_aXQtaXMtYS1zZWNyZXQ"
LIMITS = {"title": 256, "description": 4096}
TOTAL = 6000


class DiscordServer(ChatServer):
    """`POST /api/v10/webhooks/<id>/<token>`; what was accepted is in `messages`."""

    route = "/api/{version}/webhooks/{id}/{token}"

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        """The webhook as Discord's own interface shows it, without a version."""
        return f"{self.address}/api/webhooks/{WEBHOOK_ID}/{TOKEN}"

    @property
    def embeds(self) -> list[dict[str, Any]]:
        """All embeds in the order of arrival."""
        return [embed for message in self.messages for embed in message["embeds"]]

    @property
    def titles(self) -> list[str]:
        return [embed["title"] for embed in self.embeds]

    def too_many(self, wait: float) -> web.StreamResponse:
        body = {"message": "You are being rate limited.", "retry_after": round(wait, 3), "global": False}
        headers = {
            "Retry-After": str(math.ceil(wait)),
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset-After": f"{wait:.3f}",
            "X-RateLimit-Scope": "user",
        }
        return web.json_response(body, status=429, headers=headers)

    async def accept(self, request: web.Request) -> web.StreamResponse:  # noqa: PLR0911 - one return for each answer
        if request.match_info["version"] != "v10":
            return web.json_response({"message": "Invalid API version", "code": 50041}, status=400)
        if request.match_info["id"] != WEBHOOK_ID:
            return web.json_response({"message": "Unknown Webhook", "code": 10015}, status=404)
        if request.match_info["token"] != TOKEN:
            return web.json_response({"message": "Invalid Webhook Token", "code": 50027}, status=401)
        message = await request.json()
        if errors := find_errors(message):
            return web.json_response({"message": "Invalid Form Body", "code": 50035, "errors": errors}, status=400)
        if not message.get("content") and not message.get("embeds"):
            return web.json_response({"message": "Cannot send an empty message", "code": 50006}, status=400)
        self.messages.append(message)
        left, resets_in = self.left_in_window
        headers = {"X-RateLimit-Remaining": str(left), "X-RateLimit-Reset-After": f"{resets_in:.3f}"}
        if request.query.get("wait") != "true":
            return web.Response(status=204, headers=headers)
        return web.json_response(
            {"id": str(len(self.messages)), "type": 0, "webhook_id": WEBHOOK_ID, **message}, headers=headers
        )


def find_errors(message: dict[str, Any]) -> dict[str, Any]:
    """Discord's `errors` object for a message that breaks a limit; empty when it keeps them all."""
    errors: dict[str, Any] = {}
    if size(message.get("content", "")) > 2000:
        errors["content"] = _too_long(2000)
    embeds = message.get("embeds", [])
    if len(embeds) > 10:
        errors["embeds"] = {"_errors": [{"code": "BASE_TYPE_BAD_LENGTH", "message": "Must be 10 or fewer in length."}]}
    for index, embed in enumerate(embeds):
        if found := _embed_errors(embed):
            errors.setdefault("embeds", {})[str(index)] = found
    if sum(map(embed_size, embeds)) > TOTAL:
        errors["embeds"] = {
            "_errors": [{"code": "MAX_EMBED_SIZE_EXCEEDED", "message": "Embed size exceeds maximum size of 6000"}]
        }
    return errors


def _embed_errors(embed: dict[str, Any]) -> dict[str, Any]:
    errors = {key: _too_long(limit) for key, limit in LIMITS.items() if size(embed.get(key, "")) > limit}
    if size(embed.get("footer", {}).get("text", "")) > 2048:
        errors["footer"] = {"text": _too_long(2048)}
    fields = embed.get("fields", [])
    if len(fields) > 25:
        errors["fields"] = {"_errors": [{"code": "BASE_TYPE_BAD_LENGTH", "message": "Must be 25 or fewer in length."}]}
    for index, field in enumerate(fields):
        for key, limit in (("name", 256), ("value", 1024)):
            if not field[key].strip():
                required = {"code": "BASE_TYPE_REQUIRED", "message": "This field is required"}
                errors.setdefault("fields", {}).setdefault(str(index), {})[key] = {"_errors": [required]}
            elif size(field[key]) > limit:
                errors.setdefault("fields", {}).setdefault(str(index), {})[key] = _too_long(limit)
    return errors


def _too_long(limit: int) -> dict[str, Any]:
    return {"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": f"Must be {limit} or fewer in length."}]}


def size(text: str) -> int:
    """UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


def embed_size(embed: dict[str, Any]) -> int:
    """What counts against the 6000 of one message."""
    texts = [embed.get("title", ""), embed.get("description", ""), embed.get("footer", {}).get("text", "")]
    texts += [field[key] for field in embed.get("fields", []) for key in ("name", "value")]
    return sum(map(size, texts))
