"""Client order ids: an order's own name, derived from what it is for, so that the same intent never gets two.

Layout, 32 characters of a-z and 2-7: the desk's prefix (4), a hash of the intent's parts (24), a check (4). The check
tells any Kontor desk's ids from everybody else's, which is how a second desk on the same account is noticed.
"""

import re
from base64 import b32encode
from datetime import UTC, datetime
from hashlib import sha256

PREFIX_LENGTH = 4
_HASH_LENGTH = 24
_CHECK_LENGTH = 4
_LENGTH = PREFIX_LENGTH + _HASH_LENGTH + _CHECK_LENGTH
_PREFIX = re.compile(r"[a-z0-9]{4}")
EXTERNAL = "EXTERNAL"


def client_order_id(prefix: str, *parts: object) -> str:
    """The id for an intent: the same parts give the same id, on any machine, forever.

    Parts are what makes the intent this one: a flow run id, or strategy, symbol, candle time and leg.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"a desk's prefix is four characters of a-z and 0-9, not {prefix!r}")
    if not parts:
        raise ValueError("a client order id needs at least one part that names its intent")
    # The lengths keep ("ab", "c") apart from ("a", "bc").
    text = "".join(f"{len(part)}:{part}" for part in map(_text, parts))
    body = prefix + _digest("order", text)[:_HASH_LENGTH]
    return body + _check(body)


def strategy_order_id(prefix: str, strategy: str, symbol: str, candle_at: datetime, leg: str) -> str:
    """The id for a strategy's wish on one candle; `leg` tells its orders on that candle apart ("entry", "stop").

    However often the strategy runs on the candle, and whatever it thinks of quantity and price by then: one order.
    """
    return client_order_id(prefix, "strategy", strategy, symbol, candle_at, leg)


def attached_stop_id(entry: str) -> str:
    """The id of the stop that an entry of ours brings along; it follows from the entry's."""
    return client_order_id(entry[:PREFIX_LENGTH], "attached", entry)


def looks_like_kontor(client_id: str | None) -> bool:
    """Whether some Kontor desk made this id; one foreign id in a million passes by chance."""
    if not client_id or len(client_id) != _LENGTH:
        return False
    body = client_id[:-_CHECK_LENGTH]
    return client_id[-_CHECK_LENGTH:] == _check(body)


def belongs_to(prefix: str, client_id: str | None) -> bool:
    """Whether the desk with this prefix made this id."""
    return looks_like_kontor(client_id) and str(client_id).startswith(prefix)


def is_foreign(prefix: str, client_id: str | None) -> bool:
    """Whether another Kontor desk made this id."""
    return looks_like_kontor(client_id) and not str(client_id).startswith(prefix)


def external_order_id(account: str, symbol: str, venue_order_id: str) -> str:
    """Our name for an order that somebody else placed; the symbol, because some venues number each market anew."""
    return "ext" + _digest("external", f"{account}:{symbol}:{venue_order_id}")[: _LENGTH - 3]


def _text(part: object) -> str:
    if not isinstance(part, datetime):
        return str(part)
    if part.tzinfo is None:
        raise ValueError(f"{part!r} has no time zone: it would name different moments on different machines")
    return part.astimezone(UTC).isoformat()


def _check(body: str) -> str:
    return _digest("kontor-check", body)[:_CHECK_LENGTH]


def _digest(purpose: str, text: str) -> str:
    return b32encode(sha256(f"{purpose}|{text}".encode()).digest()).decode().lower()
