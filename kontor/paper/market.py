"""What the market shows at a moment: last prices, candles and day statistics, rounded to ticks and lots, never a
glance into the future.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import repeat
from operator import mul
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kontor.paper.candles import Bar, bar_named, bar_range, unfinished
from kontor.paper.depth import Depth
from kontor.paper.model import Candle, Instrument, PublicTrade, VenueError
from kontor.paper.prices import noise
from kontor.paper.prices.shocks import Shock, ShockedSource
from kontor.paper.prices.source import MINUTE_MS, Bars

Ints = NDArray[np.int64]
_PRICE_LIMIT = 0.05  # of the last price, either way
_BASIS = 3e-4  # a spot price lies within half of this of its swap's
_HOURS = 24


class DayStats(NamedTuple):
    """The last 24 whole hours and the one that runs; prices in ticks, volume in base currency."""

    open: int
    high: int
    low: int
    volume: float
    sod_utc0: int
    sod_utc8: int


class Market:
    """Every instrument's public side."""

    def __init__(self, instruments: Sequence[Instrument], source: ShockedSource) -> None:
        self.source = source
        self.listed = tuple(instruments)
        self.tick_ms = source.tick_ms
        self.ticks_per_minute = MINUTE_MS // source.tick_ms
        self._by_id = {i.inst_id: i for i in instruments}
        self._by_key: dict[str, list[Instrument]] = {}
        for listed in instruments:
            self._by_key.setdefault(listed.price_key, []).append(listed)
        self._tick_sizes = [float(i.tick_sz) for i in instruments]
        self._scales = [_scale(i) for i in instruments]
        self._minute: list[tuple[int, list[int]]] = [(-1, [])] * len(instruments)
        self._hours: dict[int, tuple[int, DayStats]] = {}
        self._minutes: dict[int, tuple[int, DayStats]] = {}
        self.depths = [Depth(i, tick) for i, tick in zip(instruments, self._tick_sizes, strict=True)]

    # Instruments

    def instrument(self, inst_id: str) -> Instrument:
        """One instrument, or VenueError 51001."""
        found = self._by_id.get(inst_id)
        if found is None:
            raise VenueError("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
        return found

    def relist(self, instrument: Instrument, state: str, exp_time: int | None) -> Instrument:
        """Change how an instrument stands; the one to use from now on."""
        changed = replace(instrument, state=state, exp_time=exp_time)
        self.listed = tuple(changed if each.index == changed.index else each for each in self.listed)
        self._by_id[changed.inst_id] = changed
        same_path = self._by_key[changed.price_key]
        same_path[:] = [changed if each.index == changed.index else each for each in same_path]
        return changed

    def instruments(self, inst_type: str | None, inst_id: str | None, uly: str | None) -> list[Instrument]:
        """Those that match."""
        chosen = [self.offered(inst_id)] if inst_id else self.listed
        return [
            i
            for i in chosen
            if inst_type in (None, "", i.inst_type) and uly in (None, "", i.uly) and i.state != "expired"
        ]

    def offered(self, inst_id: str) -> Instrument:
        """One instrument that has not been taken off, or VenueError 51001."""
        found = self.instrument(inst_id)
        if found.state == "expired":
            raise VenueError("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
        return found

    # Ticks

    def step(self, now_ms: int) -> int:
        """The number of the tick that rules at `now_ms`."""
        return now_ms // self.tick_ms

    def minute_ticks(self, instrument: Instrument, minute: int) -> list[int]:
        """All prices of one minute in ticks: the future included, so not for clients."""
        known, row = self._minute[instrument.index]
        if known != minute:
            row = self.rounded(instrument, self.source.ticks([instrument], minute)[0]).tolist()
            self._minute[instrument.index] = (minute, row)
        return row

    def last_ticks(self, instrument: Instrument, step: int) -> int:
        """The last price, in ticks."""
        minute, place = divmod(step, self.ticks_per_minute)
        known, row = self._minute[instrument.index]
        return (row if known == minute else self.minute_ticks(instrument, minute))[place]

    def last(self, instrument: Instrument, now_ms: int) -> Decimal:
        """The last price."""
        return self.last_ticks(instrument, self.step(now_ms)) * instrument.tick_sz

    def forget(self, price_key: str) -> None:
        """Ticks of the present minute have changed at the source."""
        for instrument in self._by_key.get(price_key, ()):
            self._minute[instrument.index] = (-1, [])

    def warm(self, instruments: Sequence[Instrument], now_ms: int) -> None:
        """Compute the current minute of many markets at once."""
        minute = now_ms // MINUTE_MS
        missing = [i for i in instruments if self._minute[i.index][0] != minute]
        if len(missing) > 1:
            for instrument, row in zip(missing, self.source.ticks(missing, minute), strict=True):
                self._minute[instrument.index] = (minute, self.rounded(instrument, row).tolist())

    def rounded(self, instrument: Instrument, prices: np.ndarray) -> Ints:
        """A source's prices in this instrument's ticks. Rounding keeps order, so that candles still agree with their
        ticks.
        """
        index = instrument.index
        return np.maximum(np.rint(prices * self._scales[index] / self._tick_sizes[index]), 1.0).astype(np.int64)

    def set_price(self, instrument: Instrument, price: Decimal, step: int) -> list[Instrument]:
        """Make this the last price from a tick on; returns every market on the same path, all of which jump."""
        source = float(price) / self._scales[instrument.index] / self.source.unshocked(instrument, step)
        return self.shock(Shock(instrument.price_key, step, source))

    def shock(self, shock: Shock) -> list[Instrument]:
        """Apply a shock, forgetting what was computed without it; returns the markets concerned."""
        self.source.add(shock)
        concerned = [i for i in self.listed if i.price_key == shock.price_key]
        for instrument in concerned:
            self._minute[instrument.index] = (-1, [])
            self._hours.pop(instrument.index, None)
            self._minutes.pop(instrument.index, None)
        return concerned

    def price_limit(self, instrument: Instrument, now_ms: int) -> tuple[Decimal, Decimal]:
        """The highest buy and the lowest sell price."""
        last = self.last_ticks(instrument, self.step(now_ms))
        return int(last * (1 + _PRICE_LIMIT) + 1) * instrument.tick_sz, max(
            1, int(last * (1 - _PRICE_LIMIT))
        ) * instrument.tick_sz

    def trades(self, inst_id: str, now_ms: int, limit: int) -> list[PublicTrade]:
        """The last trades: the source's own, or the crowd's."""
        instrument, step = self.instrument(inst_id), self.step(now_ms)
        recorded = self.source.recorded_trades(instrument, limit)
        if recorded is not None:
            return recorded
        depth = self.depths[instrument.index]
        found = []
        for at in range(step, step - limit, -1):
            last = self.last_ticks(instrument, at)
            lots, side = depth.crowd(at, last), "buy" if depth.lifts_offer(at) else "sell"
            found.append(
                PublicTrade(
                    inst_id,
                    f"{at}{instrument.index:04}",
                    last * instrument.tick_sz,
                    lots * instrument.lot_sz,
                    side,
                    at * self.tick_ms,
                )
            )
        return found

    # Candles

    def candles(
        self,
        inst_id: str,
        bar: str,
        now_ms: int,
        *,
        after: int | None,
        before: int | None,
        limit: int,
        confirmed_only: bool,
    ) -> list[Candle]:
        """Candles newest first, cut as OKX cuts them."""
        instrument, kind = self.instrument(inst_id), bar_named(bar)
        running = (now_ms // MINUTE_MS - kind.offset) // kind.minutes
        newest = running - 1 if confirmed_only else running
        oldest = max(instrument.list_time, self.source.since_ms(instrument, kind.native))
        first, stop = bar_range(kind, newest, after, before, limit, oldest)
        found: list[Candle] = []
        if first <= running < stop:
            found.append(self._unfinished(instrument, kind, running, now_ms))
            stop = running
        if stop > first:
            bars = kind.aggregate(self.source, instrument, first, stop - first)
            found.extend(self._rendered(instrument, kind, first, bars)[::-1])
        return found

    def _unfinished(self, instrument: Instrument, kind: Bar, number: int, now_ms: int) -> Candle:
        start = kind.start(number)
        minute, ticks = now_ms // MINUTE_MS, self.step(now_ms) % self.ticks_per_minute + 1
        parts = unfinished(self.source, instrument, start, minute, ticks)
        return self._rendered(instrument, kind, number, parts)[0]._replace(confirm=False)

    def _rendered(self, instrument: Instrument, kind: Bar, first: int, bars: Bars) -> list[Candle]:
        """Candles oldest first."""
        tick, lot, contract = instrument.tick_sz, instrument.lot_sz, instrument.ct_val
        opens, highs, lows, closes = (self.rounded(instrument, column).tolist() for column in bars[:4])
        volumes = np.rint(bars.volume / float(contract * lot)).astype(np.int64).tolist()
        starts = range(
            kind.start(first) * MINUTE_MS, kind.start(first + len(volumes)) * MINUTE_MS, kind.minutes * MINUTE_MS
        )
        columns = (
            *(map(tick.__mul__, prices) for prices in (opens, highs, lows, closes)),
            map(lot.__mul__, volumes),
            map((lot * contract).__mul__, volumes),
            map((lot * contract * tick).__mul__, map(mul, volumes, closes)),
        )
        return list(map(Candle, starts, *columns, repeat(True)))

    # Day statistics

    def day(self, instruments: Sequence[Instrument], now_ms: int) -> list[DayStats]:
        """The last day of many markets, computed together."""
        minute = now_ms // MINUTE_MS
        stale = [i for i in instruments if self._minutes.get(i.index, (-1,))[0] != minute]
        if stale:
            self._refresh_hours([i for i in stale if self._hours.get(i.index, (-1,))[0] != minute // 60], minute // 60)
            self._refresh_minutes(stale, minute)
        self.warm(instruments, now_ms)
        place = self.step(now_ms) % self.ticks_per_minute + 1
        result = []
        for instrument in instruments:
            stats, row = self._minutes[instrument.index][1], self._minute[instrument.index][1][:place]
            if self._minute[instrument.index][0] != minute:
                row = self.minute_ticks(instrument, minute)[:place]
            result.append(stats._replace(high=max(stats.high, *row), low=min(stats.low, *row)))
        return result

    def _refresh_hours(self, stale: Sequence[Instrument], hour: int) -> None:
        if not stale:
            return
        table = self.source.table(stale, 60, hour - _HOURS, _HOURS)
        starts = (_HOURS - hour % 24, _HOURS - (hour + 8) % 24)
        for place, instrument in enumerate(stale):
            opens, highs, lows = (self.rounded(instrument, column[place]) for column in table[:3])
            sods = [int(opens[start]) if start < _HOURS else -1 for start in starts]
            stats = DayStats(
                int(opens[0]), int(highs.max()), int(lows.min()), float(table.volume[place].sum()), sods[0], sods[1]
            )
            self._hours[instrument.index] = (hour, stats)

    def _refresh_minutes(self, stale: Sequence[Instrument], minute: int) -> None:
        begun = minute % 60
        table = self.source.table(stale, 1, minute - begun, begun + 1)
        for place, instrument in enumerate(stale):
            stats = self._hours[instrument.index][1]
            opened = int(self.rounded(instrument, table.open[place, :1])[0])
            if begun:  # the minute that runs is left to the ticks
                highs, lows = (self.rounded(instrument, column[place, :begun]) for column in (table.high, table.low))
                volume = stats.volume + float(table.volume[place, :begun].sum())
                stats = stats._replace(
                    high=max(stats.high, int(highs.max())), low=min(stats.low, int(lows.min())), volume=volume
                )
            sods = [opened if sod < 0 else sod for sod in (stats.sod_utc0, stats.sod_utc8)]
            self._minutes[instrument.index] = (minute, stats._replace(sod_utc0=sods[0], sod_utc8=sods[1]))


def _scale(instrument: Instrument) -> float:
    """What turns the path's price into this instrument's: spot is a little off its swap. A recorded path is the
    instrument's own.
    """
    if instrument.is_swap or instrument.price_key == instrument.inst_id:
        return 1.0
    return 1.0 + _BASIS * (noise.key("basis", instrument.price_key) / 2**64 - 0.5)
