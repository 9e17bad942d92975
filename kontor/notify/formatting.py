"""Alerts as Discord embeds and as Telegram messages, within both services' limits."""

import re
from collections.abc import Sequence
from typing import Any

from kontor.notify.queued import Queued
from kontor.ports import Alert

GREEN, RED, AMBER, GREY = 0x2ECC71, 0xE74C3C, 0xF39C12, 0x95A5A6
CRITICAL = 0xC0392B

TITLE, DESCRIPTION, FIELD_NAME, FIELD_VALUE, FOOTER, FIELDS = 256, 4096, 256, 1024, 2048, 25
EMBEDS, EMBEDS_TOTAL = 10, 6000
TELEGRAM_TEXT = 4096

_ELLIPSIS = "…"
_LAST_OF_ONE_UNIT = "\uffff"
# Wider fields stand alone in their row.
_INLINE = 40
# What each service takes for markup; a backslash before any of them makes it plain text.
_DISCORD_MARKUP = re.compile(r"([\\*_~`|<>#\[\]])")
_TELEGRAM_MARKUP = re.compile(r"([_*\[\]()~`>#+\-=|{}.!\\])")
_TOKEN = re.compile(r"\\?.", re.DOTALL)


def length(text: str) -> int:
    """Characters as both services count them: UTF-16 units, so that an emoji is two."""
    return len(text) + sum(1 for character in text if character > _LAST_OF_ONE_UNIT)


def shorten(text: str, limit: int) -> str:
    """The text, cut with an ellipsis when it is longer than `limit`; never inside a character or an escape."""
    if length(text) <= limit:
        return text
    kept, used = [], length(_ELLIPSIS)
    for token in _TOKEN.findall(text):
        used += length(token)
        if used > limit:
            break
        kept.append(token)
    return "".join(kept) + _ELLIPSIS


def colour(alert: Alert) -> int:
    """Green buys, red sells; else amber for a warning, dark red for a critical alert and grey for news."""
    if alert.side in {"buy", "sell"}:
        return GREEN if alert.side == "buy" else RED
    return {"warning": AMBER, "critical": CRITICAL}.get(alert.severity, GREY)


def repeats(queued: Queued) -> str:
    """How often the alert came again, in words; empty when it did not."""
    return f"{queued.repeats} more of these" if queued.repeats else ""


def embed(queued: Queued) -> dict[str, Any]:
    """One Discord embed, never longer than all embeds of a message may be together."""
    alert = queued.alert
    shown: dict[str, Any] = {
        "title": shorten(_discord(alert.title), TITLE) or "Alert",
        "color": colour(alert),
        "timestamp": alert.at.isoformat(),
    }
    if footer := " · ".join(part for part in (alert.account, alert.severity) if part):
        shown["footer"] = {"text": shorten(valid(footer), FOOTER)}
    rest = [("Again", repeats(queued)), *alert.fields, ("Link", alert.url or "")]
    # The description gives way first: the facts are in the fields.
    budget = EMBEDS_TOTAL - embed_length(shown)
    shown["fields"] = _fields(rest, budget)
    budget = EMBEDS_TOTAL - embed_length(shown)
    if text := shorten(_discord(alert.text), min(DESCRIPTION, budget)) if budget > 1 else "":
        shown["description"] = text
    return shown


def embed_length(shown: dict[str, Any]) -> int:
    """What Discord counts against the 6000 characters of a message."""
    texts = [shown.get("title", ""), shown.get("description", ""), shown.get("footer", {}).get("text", "")]
    texts += [part for field in shown.get("fields", ()) for part in (field["name"], field["value"])]
    return sum(map(length, texts))


def _fields(pairs: Sequence[tuple[str, str]], budget: int) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = []
    for name, value in pairs:
        if not name.strip() or not value.strip():
            continue  # Discord refuses the whole message for one empty field
        is_link = name == "Link"
        field = {
            "name": shorten(_discord(name), FIELD_NAME),
            # A link with a backslash in it is no link any more.
            "value": shorten(valid(value) if is_link else _discord(value), FIELD_VALUE),
            "inline": not is_link and length(value) < _INLINE,
        }
        budget -= length(field["name"]) + length(field["value"])
        if budget < 0 or len(fields) == FIELDS:
            break
        fields.append(field)
    return fields


def _discord(text: str) -> str:
    return _DISCORD_MARKUP.sub(r"\\\1", valid(text))


def escape(text: str) -> str:
    """Plain text for Telegram's MarkdownV2."""
    return _TELEGRAM_MARKUP.sub(r"\\\1", valid(text))


def valid(text: str) -> str:
    """The text without lone surrogates, which no JSON encoder takes."""
    return text.encode("utf-8", "replace").decode()


def telegram_text(queued: Queued) -> str:
    """One alert in MarkdownV2, of any length."""
    alert = queued.alert
    lines = [f"{_mark(alert)} *{escape(shorten(_one_line(alert.title), TITLE))}*"]
    if alert.text.strip():
        lines.append(escape(alert.text))
    lines += [
        f"*{escape(shorten(_one_line(name), FIELD_NAME))}:* {escape(value)}"
        for name, value in (*alert.fields, ("Again", repeats(queued)))
        if name.strip() and value.strip()
    ]
    where = " · ".join(part for part in (alert.account, f"{alert.at:%Y-%m-%d %H:%M:%S} UTC") if part)
    lines.append(f"_{escape(shorten(_one_line(where), FIELD_NAME))}_")
    if alert.url:
        lines.append(escape(alert.url))
    return "\n".join(lines)


def split(text: str, limit: int = TELEGRAM_TEXT) -> list[str]:
    """MarkdownV2 in pieces of at most `limit`: cut at line ends, a longer line between two characters, no escape."""
    pieces: list[str] = []
    piece = ""
    for line in text.split("\n"):
        joined = f"{piece}\n{line}" if piece else line
        if length(joined) <= limit:
            piece = joined
            continue
        if piece.strip():
            pieces.append(piece)
        # Bold and italic stand at a line's start and are short, so the cuts of a long line fall into plain text.
        *full, piece = _cut(line, limit)
        pieces += full
    return [part for part in [*pieces, piece] if part.strip()]


def _cut(line: str, limit: int) -> list[str]:
    pieces, kept, used = [], [], 0
    for token in _TOKEN.findall(line):
        if used + length(token) > limit:
            pieces.append("".join(kept))
            kept, used = [], 0
        kept.append(token)
        used += length(token)
    return [*pieces, "".join(kept)]


def _mark(alert: Alert) -> str:
    if alert.side in {"buy", "sell"}:
        return "🟢" if alert.side == "buy" else "🔴"
    return {"warning": "🟠", "critical": "⛔"}.get(alert.severity, "ℹ️")


def _one_line(text: str) -> str:
    return " ".join(text.split()) or "Alert"
