"""The faults a streaming desk suffers in campaigns: what they are called, how long they last, and their rules."""

from __future__ import annotations

from typing import Any

from kontor.paper.faults import FaultKind as K

Fault = tuple[str, float, tuple[dict[str, Any], ...]]

# Seconds after a fault's end within which every channel must be fresh again.
FRESH_WITHIN = 5.0
# How long nobody listens at the venue's port at all; five minutes of it are `tests.chaos.refused`.
CLOSED_SECONDS = 15.0
CHANNELS = ("tickers", "candles", "orders", "fills", "positions", "balance")
# Name, seconds it lasts, rules.
FAULTS: tuple[Fault, ...] = (
    ("silence", 15, ({"kind": K.WS_SILENCE, "path": "/ws/*", "seconds": 15, "times": 3},)),
    ("close", 8, ({"kind": K.WS_CLOSE, "path": "/ws/*", "probability": 0.05},)),
    ("drop", 8, ({"kind": K.WS_DROP, "path": "/ws/*", "probability": 0.05},)),
    ("garbage", 5, ({"kind": K.WS_GARBAGE, "path": "/ws/*", "probability": 0.1},)),
    (
        "half-open socket",
        12,
        ({"kind": K.HANG, "path": "/ws/*", "probability": 1.0}, {"kind": K.WS_DROP, "path": "/ws/*", "times": 3}),
    ),
    (
        "503 at the door",
        20,
        ({"kind": K.HTTP_503, "path": "/ws/*", "probability": 1.0}, {"kind": K.WS_DROP, "path": "/ws/*", "times": 3}),
    ),
    ("REST 5xx storm", 10, ({"kind": K.HTTP_502, "path": "/api/*", "probability": 0.7},)),
    ("429 with Retry-After", 8, ({"kind": K.HTTP_429, "path": "/api/*", "probability": 0.4, "seconds": 1},)),
    ("30 s stalls", 20, ({"kind": K.DELAY, "path": "/api/*", "probability": 0.2, "seconds": 30},)),
    (
        "everything at once",
        10,
        (
            {"kind": K.HTTP_502, "path": "/api/*", "probability": 0.5},
            {"kind": K.WS_DROP, "path": "/ws/*", "probability": 0.03},
        ),
    ),
)
