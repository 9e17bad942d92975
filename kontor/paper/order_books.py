"""The books channel: one snapshot, then only what changed, numbered so that a gap is noticed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

from kontor.paper import rendering
from kontor.paper.model import Book

CHECKED_LEVELS = 25
Side = dict[str, list[str]]


@dataclass(slots=True)
class LiveBook:
    """The book as the listeners of one instrument know it."""

    sequence: int = 0
    asks: Side = field(default_factory=dict)
    bids: Side = field(default_factory=dict)
    ts: str = "0"

    def update(self, book: Book) -> dict[str, Any] | None:
        """Take over the present book; what a listener must be told, or None when nothing changed."""
        present = rendering.levels(book)
        asks = {level[0]: level for level in present["asks"]}
        bids = {level[0]: level for level in present["bids"]}
        changed_asks, changed_bids = _changes(self.asks, asks), _changes(self.bids, bids)
        if not changed_asks and not changed_bids:
            return None
        before, self.sequence = self.sequence, self.sequence + 1
        self.asks, self.bids, self.ts = asks, bids, present["ts"]
        return self._row(changed_asks, changed_bids, before)

    def snapshot(self) -> dict[str, Any]:
        """The whole book for somebody new."""
        return self._row(list(self.asks.values()), list(self.bids.values()), -1)

    def _row(self, asks: list[list[str]], bids: list[list[str]], before: int) -> dict[str, Any]:
        return {
            "asks": asks,
            "bids": bids,
            "ts": self.ts,
            "checksum": self.checksum(),
            "seqId": self.sequence,
            "prevSeqId": before,
        }

    def checksum(self) -> int:
        """OKX's signed CRC-32 over the best 25 levels, bid and ask in turn."""
        bids, asks = list(self.bids.values())[:CHECKED_LEVELS], list(self.asks.values())[:CHECKED_LEVELS]
        parts: list[str] = []
        for place in range(max(len(bids), len(asks))):
            for side in (bids, asks):
                if place < len(side):
                    parts += side[place][:2]
        crc = zlib.crc32(":".join(parts).encode())
        return crc - (1 << 32) if crc >= 1 << 31 else crc


def _changes(old: Side, new: Side) -> list[list[str]]:
    gone = [[price, "0", "0", "0"] for price in old if price not in new]
    return gone + [level for price, level in new.items() if old.get(price) != level]
