"""OKX's bars: how long each is, where it starts, and how it is put together out of the source's own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kontor.paper.model import Instrument, VenueError
from kontor.paper.prices.source import MINUTE_MS, NATIVE_MINUTES, Bars, PriceSource, grouped

_HONG_KONG = 8 * 60  # OKX's long bars start at midnight in Hong Kong unless they say utc
_MONDAY = 4 * 1440  # 1970 began on a Thursday


class Bar(NamedTuple):
    """A bar of `minutes`, starting `offset` minutes after a multiple of that, made of `native` bars of the source."""

    minutes: int
    native: int
    offset: int = 0

    def start(self, number: int) -> int:
        """Where the number-th bar starts, in minutes."""
        return number * self.minutes + self.offset

    def aggregate(self, source: PriceSource, instrument: Instrument, first: int, count: int) -> Bars:
        """Whole bars."""
        size = self.minutes // self.native
        bars = source.bars(instrument, self.native, self.start(first) // self.native, count * size)
        return bars if size == 1 else grouped(bars, size)


def _hong_kong(minutes: int, native: int, extra: int = 0) -> Bar:
    return Bar(minutes, native, (extra - _HONG_KONG) % minutes)


_BARS = {
    "1m": Bar(1, 1),
    "3m": Bar(3, 1),
    "5m": Bar(5, 5),
    "15m": Bar(15, 15),
    "30m": Bar(30, 15),
    "1H": Bar(60, 60),
    "2H": Bar(120, 60),
    "4H": Bar(240, 240),
    "6H": _hong_kong(360, 60),
    "12H": _hong_kong(720, 240),
    "1D": _hong_kong(1440, 240),
    "2D": _hong_kong(2880, 240),
    "3D": _hong_kong(4320, 240),
    "1W": _hong_kong(10080, 240, _MONDAY),
    "6Hutc": Bar(360, 60),
    "12Hutc": Bar(720, 240),
    "1Dutc": Bar(1440, 1440),
    "2Dutc": Bar(2880, 1440),
    "3Dutc": Bar(4320, 1440),
    "1Wutc": Bar(10080, 1440, _MONDAY),
}


def bar_named(name: str) -> Bar:
    """The bar of OKX's name, or VenueError 51000."""
    found = _BARS.get(name or "1m")
    if found is None:
        raise VenueError("51000", "Parameter bar error")
    return found


def bar_range(
    bar: Bar, newest: int, after: int | None, before: int | None, limit: int, oldest_ms: int
) -> tuple[int, int]:
    """Numbers of the first bar and of the one behind the last: older than `after`, newer than `before`, at most `limit`
    of them from `newest` back.
    """
    length, offset = bar.minutes * MINUTE_MS, bar.offset * MINUTE_MS
    stop = newest + 1
    if after is not None:
        stop = min(stop, -((offset - after) // length))
    first = max(stop - limit, -((offset - oldest_ms) // length))
    if before is not None:
        first = max(first, (before - offset) // length + 1)
    return first, max(first, stop)


def unfinished(source: PriceSource, instrument: Instrument, start: int, minute: int, ticks: int) -> Bars:
    """One bar from `start` to the first `ticks` ticks of `minute`, out of the longest whole bars that fit and those
    ticks.
    """
    parts, at = [], start
    for native in NATIVE_MINUTES:
        count = (minute - at) // native
        if count > 0 and at % native == 0:
            parts.append(grouped(source.bars(instrument, native, at // native, count), count))
            at += count * native
    row = source.ticks([instrument], minute)[0]
    seen = row[:ticks]
    volume = source.volume_until(instrument, minute, ticks)
    parts.append(Bars(seen[:1], seen.max(keepdims=True), seen.min(keepdims=True), seen[-1:], volume))
    columns = Bars(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return grouped(columns, len(parts))
