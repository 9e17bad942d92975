"""Signing in to the page: a password against a cookie that nobody else can make, and one guess at a time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import timedelta

COOKIE = "kontor-page"
GUESS_SECONDS = 1.0
#: So many may wait for their guess to be answered; the next one is turned away.
WAITING_GUESSES = 5


class TooManyGuesses(Exception):
    """Somebody tries out passwords."""


class Sessions:
    """Makes and checks the cookies; they hold through a restart, and end when the password changes."""

    def __init__(self, password: str, life: timedelta, now: Callable[[], float] = time.time) -> None:
        self._password, self._now = password.encode(), now
        self._life = int(life.total_seconds())
        self._key = hashlib.sha256(b"kontor page session\0" + self._password).digest()
        self._turn = asyncio.Lock()
        self._waiting = 0

    @property
    def life(self) -> int:
        """How long a cookie lasts, in seconds."""
        return self._life

    async def is_password(self, given: str) -> bool:
        """Whether this opens the page. A wrong one costs a second, all of them together: guessing is hopeless."""
        if self._waiting >= WAITING_GUESSES:
            raise TooManyGuesses
        self._waiting += 1
        try:
            async with self._turn:
                # Digests are of one length, whatever was given.
                right = hmac.compare_digest(_digest(given.strip().encode()), _digest(self._password))
                if not right:
                    await asyncio.sleep(GUESS_SECONDS)
                return right
        finally:
            self._waiting -= 1

    def issue(self) -> str:
        """A cookie for somebody who knew the password."""
        ends = str(int(self._now()) + self._life)
        return f"{ends}.{self._sign(ends)}"

    def seconds_left(self, cookie: str | None) -> float:
        """How long the cookie still opens the page; 0 for one that does not."""
        ends, _, signature = (cookie or "").partition(".")
        if not (ends.isascii() and ends.isdecimal()):
            return 0.0
        if not hmac.compare_digest(signature.encode(), self._sign(ends).encode()):
            return 0.0
        return max(float(ends) - self._now(), 0.0)

    def _sign(self, ends: str) -> str:
        return hmac.new(self._key, ends.encode(), hashlib.sha256).hexdigest()


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
