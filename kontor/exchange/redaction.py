"""Texts that may be shown: without secrets, query strings and pages of HTML."""

import re
from collections.abc import Iterable

MAX_LENGTH = 300
HIDDEN = "***"
_QUERY = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']*")
_SPACE = re.compile(r"\s+")


def redact(text: str, secrets: Iterable[str]) -> str:
    """One line of at most MAX_LENGTH characters in which no secret and no signed query string is left."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    text = _SPACE.sub(" ", _QUERY.sub(r"\1?" + HIDDEN, text)).strip()
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 1] + "…"
