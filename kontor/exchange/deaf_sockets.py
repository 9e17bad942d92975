"""Sockets that stand and are talked to in vain: a login or a subscription that the venue has not answered.

An error that a venue tells on a socket ends, for ccxt, every wait on it, the login's among them, and what was
subscribed counts as subscribed: nobody asks again for as long as the socket lives. Only a new one helps.
"""

import logging
from collections import Counter
from typing import Any

import ccxt

from kontor.exchange.stream_client import StreamEvents, awaits_login
from kontor.resilience.connection_gate import address_of

logger = logging.getLogger(__name__)

# How long an answer may take; doubled each time that the next socket is no better, up to the longest.
DEAF_SECONDS, LONGEST_DEAF_SECONDS = 15.0, 600.0
# One that has had all its answers for so long is a good one.
WELL_SECONDS = 30.0


class DeafSockets:
    """Notices them, and has them replaced: ever more seldom where that does not help."""

    def __init__(self, events: StreamEvents) -> None:
        self._events = events
        # By address, for how many answers it waits, and since when it has been no fewer.
        self._waits: dict[str, tuple[int, float]] = {}
        self._in_a_row: Counter[str] = Counter()

    def drop(self, client: Any, now: float) -> int:
        """Break the sockets that have waited too long; returns how many."""
        sockets = {url: socket for url, socket in (client.clients or {}).items() if socket.isConnected}
        self._waits = {url: known for url, known in self._waits.items() if url in sockets}
        return sum(self._is_dropped(url, socket, now) for url, socket in sockets.items())

    def _is_dropped(self, url: str, socket: Any, now: float) -> bool:
        waits, name = awaits_login(socket) + len(self._events.unacknowledged.get(url, ())), address_of(url)
        before, since = self._waits.get(url, (0, now))
        if waits < before or (waits and not before):
            since = now
        self._waits[url] = waits, since
        if not waits:
            if now - since >= WELL_SECONDS:
                self._in_a_row.pop(name, None)
            return False
        if now - since < min(DEAF_SECONDS * 2.0 ** min(self._in_a_row[name], 60), LONGEST_DEAF_SECONDS):
            return False
        self._in_a_row[name] += 1
        logger.warning("stream_deaf url=%s unanswered=%d seconds=%.0f", name, waits, now - since)
        socket.on_error(ccxt.RequestTimeout(f"{waits} subscriptions or logins not answered for {now - since:.0f} s"))
        return True
