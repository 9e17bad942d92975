"""WebSocket channels: which there are on which address, and what a subscription names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from kontor.paper.model import VenueError
from kontor.paper.replies import Refusal
from kontor.paper.venue import Venue

ADDRESSES = {"public", "private", "business"}
PUBLIC = {"tickers", "trades", "books", "books5", "bbo-tbt", "mark-price"}
BUSINESS = {"orders-algo"}  # private ones that live on the business address
PRIVATE = {"orders", "positions", "account", "balance_and_position"} | BUSINESS
BOOK_DEPTHS = {"books": 400, "books5": 5, "bbo-tbt": 1}
BARS = {"1m", "3m", "5m", "15m", "30m", "1H", "2H", "4H", "6H", "12H", "1D", "6Hutc", "12Hutc", "1Dutc"}
INSTRUMENT_TYPES = {"ANY", "SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION"}


@dataclass(frozen=True, slots=True)
class Subscription:
    """One channel one client listens to; `echo` is what it asked for, as JSON, to be told back with every message."""

    channel: str
    inst_id: str = ""
    inst_type: str = "ANY"
    account: str = ""
    echo: str = "{}"

    @property
    def topic(self) -> tuple[str, str]:
        """What it is found by: a channel with its instrument, or a private one with its account."""
        return self.channel, self.account if self.channel in PRIVATE else self.inst_id

    @property
    def bar(self) -> str:
        """The bar of a candle channel, else ""."""
        return self.channel.removeprefix("candle") if self.channel.startswith("candle") else ""

    def wants(self, inst_id: str) -> bool:
        """Whether a private message about this instrument belongs here."""
        kind = "SWAP" if inst_id.endswith("-SWAP") else "SPOT"
        return self.inst_id in {"", inst_id} and self.inst_type in {"ANY", kind}

    def message(self, data: str, **more: Any) -> str:
        """A push on this channel; `data` is JSON already."""
        extra = "".join(f',"{name}":{orjson.dumps(value).decode()}' for name, value in more.items())
        return f'{{"arg":{self.echo}{extra},"data":{data}}}'


def subscription(arg: Any, address: str, account: str | None, venue: Venue) -> Subscription:
    """The subscription a client's argument asks for; raises the Refusal OKX answers."""
    if not isinstance(arg, dict) or not isinstance(arg.get("channel"), str):
        raise Refusal("60013", "Invalid args")
    channel, inst_id = arg["channel"], str(arg.get("instId") or "")
    bar = channel.removeprefix("candle") if channel.startswith("candle") else ""
    if not _offered(channel, bar, address):
        raise _nothing_there(arg)
    if channel in PRIVATE:
        if account is None:
            raise Refusal("60011")
        return _private(arg, channel, inst_id, account, venue)
    if not venue_has(venue, inst_id):
        raise _nothing_there(arg)
    return Subscription(channel, inst_id, echo=orjson.dumps(arg).decode())


def venue_has(venue: Venue, inst_id: str) -> bool:
    """Whether the venue trades this instrument."""
    try:
        venue.instrument(inst_id)
    except VenueError:
        return False
    return True


def _offered(channel: str, bar: str, address: str) -> bool:
    if address == "business":
        return bar in BARS or channel in BUSINESS
    return channel in (PUBLIC if address == "public" else PRIVATE - BUSINESS)


def _private(arg: dict[str, Any], channel: str, inst_id: str, account: str, venue: Venue) -> Subscription:
    kind = str(arg.get("instType") or "ANY")
    if channel in {"orders", "orders-algo", "positions"} and arg.get("instType") not in INSTRUMENT_TYPES:
        raise _nothing_there(arg)
    if inst_id and not venue_has(venue, inst_id):
        raise _nothing_there(arg)
    echo = orjson.dumps({**arg, "uid": venue.account(account).uid}).decode()
    return Subscription(channel, inst_id, kind, account, echo)


def _nothing_there(arg: dict[str, Any]) -> Refusal:
    named = ",".join(f"{name}:{value}" for name, value in arg.items())
    return Refusal(
        "60018",
        f"Wrong URL or {named} doesn't exist. "
        "Please use the correct URL, channel and parameters referring to API document.",
    )
