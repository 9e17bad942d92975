"""What an endpoint is asked and what it answers, in OKX's envelope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from kontor.paper.venue import Venue

MESSAGES = {
    "50000": "Body for POST request cannot be empty.",
    "50001": "Service temporarily unavailable. Please try again later.",
    "50002": "JSON syntax error",
    "50011": "Too Many Requests",
    "50026": "System error. Try again later",
    "50036": "The expTime can't be earlier than the current system time. Please adjust the expTime and try again.",
    "50061": "You've reached the maximum order rate limit for this account.",
    "50102": "Timestamp request expired.",
    "50103": 'Request header "OK-ACCESS-KEY" cannot be empty.',
    "50104": 'Request header "OK-ACCESS-PASSPHRASE" cannot be empty.',
    "50105": 'Request header "OK-ACCESS-PASSPHRASE" incorrect.',
    "50106": 'Request header "OK-ACCESS-SIGN" cannot be empty.',
    "50107": 'Request header "OK-ACCESS-TIMESTAMP" cannot be empty.',
    "50111": "Invalid OK-ACCESS-KEY.",
    "50112": "Invalid OK-ACCESS-TIMESTAMP.",
    "50113": "Invalid signature.",
    "50115": "Invalid request method.",
    "51001": "Instrument ID, Instrument ID code or Spread ID doesn't exist.",
    "51003": "Either client order ID or order ID is required.",
    "60004": "Invalid timestamp",
    "60005": "Invalid apiKey",
    "60006": "Timestamp request expired",
    "60007": "Invalid sign",
    "60009": "Login failed.",
    "60011": "Please log in",
    "60014": "Requests too frequent",
    "60024": "Wrong passphrase",
    "63999": "Internal system error",
}
HTTP_STATUS = {
    "50000": 400,
    "50001": 503,
    "50002": 400,
    "50011": 429,
    "50013": 429,
    "50014": 400,
    "50015": 400,
    "50026": 500,
    "51000": 400,
    **{str(code): 401 for code in range(50102, 50114)},
    "50115": 405,
}


class Refusal(Exception):
    """The whole request is refused: OKX's code, its message, and the HTTP status it comes with."""

    def __init__(self, code: str, message: str = "") -> None:
        self.code = code
        self.message = message or MESSAGES.get(code, "")
        self.status = HTTP_STATUS.get(code, 200)
        super().__init__(f"{code}: {self.message}")


def missing(parameter: str) -> Refusal:
    """The refusal of a request that leaves out a required parameter."""
    return Refusal("50014", f"Parameter {parameter} can not be empty.")


def wrong(parameter: str) -> Refusal:
    """The refusal of a request with a parameter that makes no sense."""
    return Refusal("51000", f"Parameter {parameter} error")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, already authenticated and within its limits."""

    venue: Venue
    account: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    expired: bool = False
    """Whether the sender said it no longer wants this request carried out."""

    def required(self, name: str) -> str:
        """The query parameter `name`; refused as OKX refuses when it is absent or empty."""
        value = self.params.get(name, "")
        if not value:
            raise missing(name)
        return value


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back: `data`, and a code other than "0" when some or all of it failed."""

    data: list[Any]
    code: str = "0"
    msg: str = ""

    def encode(self, **extra: str) -> bytes:
        """The reply as the bytes of OKX's JSON envelope."""
        return orjson.dumps({"code": self.code, "data": self.data, "msg": self.msg, **extra})


def batch(results: list[dict[str, str]], *, single: bool = False) -> Reply:
    """The envelope of orders answered one by one: all placed, some, or none."""
    failed = sum(result["sCode"] != "0" for result in results)
    if failed == 0:
        return Reply(results)
    if failed < len(results):
        return Reply(results, "2", "Bulk operation partially succeeded.")
    return Reply(results, "1", "Operation failed." if single else "All operations failed")
