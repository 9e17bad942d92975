"""Jumps an operator causes: from a tick on, a path is multiplied. Everything before stays as it was, and candles
still agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kontor.paper.model import Instrument, PublicTrade
from kontor.paper.prices.source import MINUTE_MS, NATIVE_MINUTES, Bars, Floats, PriceSource, grouped


class Shock(NamedTuple):
    """From tick number `step` on, the prices of `price_key` are `factor` times the source's."""

    price_key: str
    step: int
    factor: float


class ShockedSource:
    """A source with shocks. Without any it costs one look-up."""

    def __init__(self, source: PriceSource) -> None:
        self._source = source
        self.tick_ms = source.tick_ms
        self._per_minute = MINUTE_MS // source.tick_ms
        self._steps: dict[str, list[int]] = {}
        self._factors: dict[str, list[float]] = {}  # by key: before the first shock, after it, ...

    def add(self, shock: Shock) -> None:
        """Apply a shock; it must not lie before an earlier one of its path."""
        steps, factors = self._steps.setdefault(shock.price_key, []), self._factors.setdefault(shock.price_key, [1.0])
        if steps and steps[-1] == shock.step:
            factors[-1] = shock.factor
        else:
            steps.append(shock.step)
            factors.append(shock.factor)

    def shocks(self) -> list[Shock]:
        """All of them, for a restart."""
        return [
            Shock(key, step, factor)
            for key, steps in self._steps.items()
            for step, factor in zip(steps, self._factors[key][1:], strict=True)
        ]

    def settings(self) -> dict[str, str]:
        """The source's."""
        return self._source.settings()

    @property
    def trouble(self) -> str:
        """The source's."""
        return self._source.trouble

    def volume_until(self, instrument: Instrument, minute: int, ticks: int) -> Floats:
        """The source's."""
        return self._source.volume_until(instrument, minute, ticks)

    def since_ms(self, instrument: Instrument, minutes: int) -> int:
        """The source's."""
        return self._source.since_ms(instrument, minutes)

    def recorded_trades(self, instrument: Instrument, limit: int) -> list[PublicTrade] | None:
        """The source's, as they were."""
        return self._source.recorded_trades(instrument, limit)

    def unshocked(self, instrument: Instrument, step: int) -> float:
        """What the source itself says at a tick."""
        minute, place = divmod(step, self._per_minute)
        return float(self._source.ticks([instrument], minute)[0, place])

    def ticks(self, instruments: Sequence[Instrument], minute: int) -> Floats:
        """The ticks of one minute."""
        rows = self._source.ticks(instruments, minute)
        if self._steps:
            at = np.arange(minute * self._per_minute, (minute + 1) * self._per_minute)
            for place, instrument in enumerate(instruments):
                if instrument.price_key in self._steps:
                    rows[place] *= self._at(instrument.price_key, at)
        return rows

    def _at(self, key: str, steps: np.ndarray) -> Floats:
        return np.array(self._factors[key])[np.searchsorted(self._steps[key], steps, side="right")]

    def bars(self, instrument: Instrument, minutes: int, first: int, count: int) -> Bars:
        """Whole bars of one market; one with a shock inside is put together anew from shorter ones."""
        bars = self._source.bars(instrument, minutes, first, count)
        key = instrument.price_key
        if key not in self._steps:
            return bars
        per_bar = minutes * self._per_minute
        factors = self._at(key, np.arange(first, first + count) * per_bar)
        bars = Bars(*(column * factors for column in bars[:4]), bars.volume)  # pyright: ignore[reportCallIssue]
        for number in {step // per_bar for step in self._steps[key] if step % per_bar}:
            if first <= number < first + count:
                anew = self._anew(instrument, minutes, number)
                for column, value in zip(bars[:4], anew[:4], strict=True):
                    column[number - first] = value[0]
        return bars

    def _anew(self, instrument: Instrument, minutes: int, number: int) -> Bars:
        if minutes == 1:
            row = self.ticks([instrument], number)[0]
            return Bars(row[:1], row.max(keepdims=True), row.min(keepdims=True), row[-1:], row[:1])
        shorter = NATIVE_MINUTES[NATIVE_MINUTES.index(minutes) + 1]
        size = minutes // shorter
        return grouped(self.bars(instrument, shorter, number * size, size), size)

    def table(self, instruments: Sequence[Instrument], minutes: int, first: int, count: int) -> Bars:
        """Whole bars of many markets."""
        table = self._source.table(instruments, minutes, first, count)
        for place, instrument in enumerate(instruments):
            if instrument.price_key in self._steps:
                for column, shocked in zip(table[:4], self.bars(instrument, minutes, first, count)[:4], strict=True):
                    column[place] = shocked
        return table
