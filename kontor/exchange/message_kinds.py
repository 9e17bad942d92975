"""What kind of message a venue sends: its protocol's own, which says nothing of markets, or one by its keys.

Only the shape is told, never a value beyond the protocol's own word for the message: contents may be private.
"""

from collections.abc import Mapping
from typing import Any

# What greetings, acknowledgements and heartbeats are made of, as OKX, Binance, Bybit, Kraken, Bitget, Gate, KuCoin,
# HTX, MEXC, Deribit, Bitfinex and Hyperliquid send them.
CONTROL = frozenset(
    {
        *("event", "op", "method", "type", "action", "channel", "feed"),
        *("id", "reqid", "req_id", "connId", "conn_id", "connectionID", "connCount", "serverId"),
        *("success", "result", "status", "code", "retCode", "msg", "ret_msg", "retMsg", "message", "error"),
        *("arg", "args", "params", "pair", "subscription", "channelID", "channelName", "product_ids", "subbed"),
        *("version", "platform", "jsonrpc", "testnet", "pingInterval", "pingTimeout", "rateLimits"),
        *("time", "time_ms", "time_in", "time_out", "ts", "timestamp", "usIn", "usOut", "usDiff", "ping", "pong"),
    }
)
# Where the protocols put their word for a message, and the words that are known; an unknown word is news.
VERBS = ("event", "op", "method", "type", "action", "channel", "feed")
WORDS = frozenset(
    {
        *("subscribe", "subscribed", "unsubscribe", "unsubscribed", "subscriptionstatus", "subscriptions"),
        *("sub", "unsub", "subscriptionresponse", "ack", "login", "auth", "authenticate", "challenge", "conf"),
        *("error", "welcome", "info", "status", "systemstatus", "channel-conn-count"),
        *("ping", "pong", "heartbeat", "hb", "command_resp", "public/subscribe", "private/subscribe"),
    }
)
# Said now and then whatever else the message contains.
HEARTBEATS = frozenset({"ping", "pong", "heartbeat", "status", "subscriptions", "subscriptionresponse"})
# A word is short; anything longer is content.
LONGEST_WORD = 40


def kind_of(message: Any) -> str | None:
    """What to count a message as that led to nothing; None for one of the protocol's own."""
    if isinstance(message, Mapping):
        return _kind_of_mapping({str(key): value for key, value in message.items()})
    if isinstance(message, (list, tuple)):
        return None if len(message) > 1 and _word(message[1]) == "hb" else f"list of {len(message)}"
    return None if _word(message) in HEARTBEATS else type(message).__name__


def _kind_of_mapping(message: Mapping[str, Any]) -> str | None:
    words = {verb: word for verb in VERBS if (word := _word(message.get(verb)))}
    if not HEARTBEATS.isdisjoint(words.values()):
        return None
    if message.keys() <= CONTROL and (not words or not WORDS.isdisjoint(words.values())):
        return None
    is_new_word = message.keys() <= CONTROL
    return ",".join(f"{key}={words[key]}" if is_new_word and key in words else key for key in sorted(message))


def _word(value: Any) -> str:
    return value.lower() if isinstance(value, str) and len(value) <= LONGEST_WORD else ""
