"""Who is asking: OKX's signed headers, and the same signature on a WebSocket login."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kontor.paper.model import AccountInfo
from kontor.paper.replies import Refusal

WINDOW_MS = 30_000
LOGIN_PATH = "GET/users/self/verify"
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_SECONDS = re.compile(r"\d{9,11}(\.\d{1,6})?")


def sign(secret: str, text: str) -> str:
    """The signature OKX expects over `text`: HMAC-SHA256, base64."""
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()


class Gatekeeper:
    """Checks signatures against the accounts of a venue; `account_by_key` finds one by its API key."""

    def __init__(self, account_by_key: Callable[[str], AccountInfo | None]) -> None:
        self._account_by_key = account_by_key

    def check_request(
        self, headers: Mapping[str, str], method: str, target: str, body: str, clocks_ms: Sequence[int]
    ) -> str:
        """The account a signed request speaks for; raises the Refusal OKX answers.

        `target` is the path with its query as it was sent; `clocks_ms` are the times a timestamp may be close to.
        """
        names = (("KEY", "50103"), ("PASSPHRASE", "50104"), ("SIGN", "50106"), ("TIMESTAMP", "50107"))
        given = {}
        for name, code in names:
            given[name] = headers.get(f"OK-ACCESS-{name}", "")
            if not given[name]:
                raise Refusal(code)
        stamp = given["TIMESTAMP"]
        if not _ISO.fullmatch(stamp):
            raise Refusal("50112")
        moment = datetime.fromisoformat(stamp)
        if not _close(moment.timestamp() * 1000, clocks_ms):
            raise Refusal("50102")
        key = self._account_by_key(given["KEY"])
        if key is None:
            raise Refusal("50111")
        if not _same(sign(key.secret, stamp + method + target + body), given["SIGN"]):
            raise Refusal("50113")
        if not _same(key.passphrase, given["PASSPHRASE"]):
            raise Refusal("50105")
        return key.name

    def check_login(self, given: Mapping[str, Any], clocks_ms: Sequence[int]) -> str:
        """The account a WebSocket login speaks for; raises a Refusal with a code of the 60000s."""
        stamp = str(given.get("timestamp", ""))
        if not _SECONDS.fullmatch(stamp):
            raise Refusal("60004", f"Invalid timestamp: {stamp}")
        if not _close(float(stamp) * 1000, clocks_ms):
            raise Refusal("60006")
        key = self._account_by_key(str(given.get("apiKey", "")))
        if key is None:
            raise Refusal("60005")
        if not _same(sign(key.secret, stamp + LOGIN_PATH), str(given.get("sign", ""))):
            raise Refusal("60007")
        if not _same(key.passphrase, str(given.get("passphrase", ""))):
            raise Refusal("60024")
        return key.name


def _close(stamp_ms: float, clocks_ms: Sequence[int]) -> bool:
    return any(abs(stamp_ms - clock_ms) <= WINDOW_MS for clock_ms in clocks_ms)


def iso_timestamp(ms: int) -> str:
    """A moment as OKX writes it in a signed header."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _same(ours: str, theirs: str) -> bool:
    return hmac.compare_digest(ours.encode(), theirs.encode())
