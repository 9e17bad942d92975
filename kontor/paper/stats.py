"""What a paper exchange has been asked so far, for tests and benchmarks."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MAX_CONNECTS = 10_000
MAX_CLIENT_IDS = 200_000


@dataclass(slots=True)
class Stats:
    """Counts of requests, WebSocket connections and accepted orders since the start."""

    started_at: float = field(default_factory=time.time)
    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    connects: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=MAX_CONNECTS))
    connected: int = 0
    open_sockets: int = 0
    dropped_slow: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    accepted_algos: Counter[str] = field(default_factory=Counter)

    def requested(self, method: str, path: str) -> None:
        """Count a request, whatever becomes of it."""
        self.requests[f"{method} {path}"] += 1

    def connected_to(self, path: str) -> None:
        """Count a WebSocket connection, with the time it came."""
        self.connected += 1
        self.open_sockets += 1
        self.connects.append((time.time(), path))

    def accepted_orders(self, results: Iterable[Mapping[str, str]]) -> None:
        """Count the orders that were taken, by client id, algo orders apart: more than one of an id is the bug to
        find.
        """
        for result in results:
            algo = "algoId" in result
            counts, client = (self.accepted_algos, "algoClOrdId") if algo else (self.accepted, "clOrdId")
            if result.get("sCode") == "0" and result.get(client):
                counts[result[client]] += 1
                if len(counts) > MAX_CLIENT_IDS:
                    del counts[next(iter(counts))]

    def as_json(self) -> dict[str, object]:
        """Everything counted, for the admin endpoint."""
        return {
            "started_at": self.started_at,
            "requests": dict(self.requests),
            "statuses": dict(self.statuses),
            "websockets": {
                "open": self.open_sockets,
                "connected": self.connected,
                "dropped_slow": self.dropped_slow,
                "connects": [{"at": at, "path": path} for at, path in self.connects],
            },
            "accepted_by_client_id": dict(self.accepted),
            "accepted_algos_by_client_id": dict(self.accepted_algos),
        }
