"""Seeded synthetic prices: a day is drawn first, then cut into ever shorter bars that stay within it, down to the
ticks.

Top down, every candle agrees with every shorter one and with the ticks by construction, any stretch of any year can
be computed on its own, and nothing has to be stored. A common factor moves all markets together, half-day regimes
(trend, range, volatile) and gaps make them worth trading.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kontor.paper.model import Instrument
from kontor.paper.prices import noise
from kontor.paper.prices.source import MINUTE_MS, NATIVE_MINUTES, Bars, Floats, PricesOnly, from_columns

Index = NDArray[np.int64]
_OCTAVES = 2 ** np.arange(9, dtype=np.int64)  # of the slow wave, in days: prices wander, yet never leave for good
_REGIME_MINUTES = 720
_CALM_PEG = 0.005  # a market calmer than this does not move with the others
# Regime by regime: how far bars are displaced, how rough their inside is, how far wicks reach.
_TREND, _RANGE, _VOLATILE = (1.7, 0.6, 0.25), (0.35, 0.8, 0.9), (1.5, 1.9, 1.0)
_REGIMES = np.array([_TREND, _RANGE, _RANGE, _VOLATILE])
_GAP_CHANCE, _DAY_GAP_CHANCE = 0.012, 0.1
_KEPT_MINUTES = 6000
_FEW, _TOGETHER = 8, 15  # so few markets get the ticks of so many minutes at once; it divides every longer bar
_BLOCK = 256  # bars
_KEPT_BLOCKS = 3000  # 10 kB each


class SyntheticSource(PricesOnly):
    """Prices out of a seed."""

    def __init__(self, seed: int, tick_ms: int = 1000) -> None:
        if tick_ms <= 0 or MINUTE_MS % tick_ms or MINUTE_MS // tick_ms < 4:  # noqa: PLR2004 open, high, low, close
            raise ValueError(f"a tick every {tick_ms} ms: must divide a minute into at least four")
        self.seed = seed
        self.tick_ms = tick_ms
        self._keys: dict[str, int] = {}
        self._minutes: OrderedDict[tuple[str, int], Floats] = OrderedDict()
        self._blocks: OrderedDict[tuple[str, int, int], Floats] = OrderedDict()

    def settings(self) -> dict[str, str]:
        """The seed and the tick length."""
        return {"source": "synthetic", "seed": str(self.seed), "tick_ms": str(self.tick_ms)}

    def bars(self, instrument: Instrument, minutes: int, first: int, count: int) -> Bars:
        """Whole bars of one market, out of blocks that are kept for a while."""
        blocks = range(first // _BLOCK, (first + count - 1) // _BLOCK + 1)
        name = (instrument.price_key, minutes)
        missing = [block for block in blocks if (*name, block) not in self._blocks]
        if missing:
            run = range(missing[0], missing[-1] + 1)
            drawn = self._draw_bars(instrument, minutes, run.start * _BLOCK, len(run) * _BLOCK)
            for place, block in enumerate(run):
                self._blocks[*name, block] = drawn[:, place * _BLOCK : (place + 1) * _BLOCK].copy()
        found = [self._blocks[*name, block] for block in blocks]
        for block in blocks:
            self._blocks.move_to_end((*name, block))
        while len(self._blocks) > _KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        start = first - blocks.start * _BLOCK
        columns = np.concatenate(found, axis=1)[:, start : start + count]
        columns[4] *= instrument.depth_usd
        return from_columns(columns)

    def _draw_bars(self, instrument: Instrument, minutes: int, first: int, count: int) -> Floats:
        periods = np.arange(first, first + count, dtype=np.int64)
        days = np.unique(periods * minutes // NATIVE_MINUTES[0])
        path = _Path(self, [instrument] * len(days), days)
        for shorter in NATIVE_MINUTES[1 : NATIVE_MINUTES.index(minutes) + 1]:
            path = path.cut(shorter, np.unique(periods * minutes // shorter))
        return np.stack(path.bars)

    def table(self, instruments: Sequence[Instrument], minutes: int, first: int, count: int) -> Bars:
        """Whole bars of many markets, a row each; cut for all of them at once and kept by nobody."""
        start, end = first * minutes, (first + count) * minutes
        spanning = (n for n in reversed(NATIVE_MINUTES) if n >= minutes and (end - 1) // n - start // n <= 1)
        whole = next(spanning, NATIVE_MINUTES[0])
        numbers = np.arange(start // whole, (end - 1) // whole + 1, dtype=np.int64)
        path = _Path(
            self,
            [i for i in instruments for _ in numbers],
            np.tile(numbers * whole // NATIVE_MINUTES[0], len(instruments)),
        )
        for native in NATIVE_MINUTES[1:]:
            if native < minutes:
                break
            path = (
                path.step_to(native, np.tile(numbers * whole // native, len(instruments)))
                if native >= whole
                else path.opened(native)
            )
        skipped = first - start // whole * whole // minutes
        columns = [column.reshape(len(instruments), -1)[:, skipped : skipped + count] for column in path.bars]
        columns[4] = columns[4] * np.array([[i.depth_usd] for i in instruments])
        return from_columns(columns)

    def ticks(self, instruments: Sequence[Instrument], minute: int) -> Floats:
        """The ticks of one minute; markets of one base share their path."""
        missing = list({i.price_key: i for i in instruments if (i.price_key, minute) not in self._minutes}.values())
        if len(missing) > _FEW:
            for instrument, row in zip(missing, self._draw_ticks(missing, minute), strict=True):
                self._minutes[instrument.price_key, minute] = row
        else:  # the minutes around come at almost no extra cost
            start = minute // _TOGETHER * _TOGETHER
            for instrument in missing:
                for place, row in enumerate(self._draw_minutes(instrument, start)):
                    self._minutes[instrument.price_key, start + place] = row
        while len(self._minutes) > max(_KEPT_MINUTES, 2 * len(missing)):
            self._minutes.popitem(last=False)
        return np.stack([self._minutes[i.price_key, minute] for i in instruments])

    def _draw_ticks(self, instruments: list[Instrument], minute: int) -> Floats:
        path = _Path(self, instruments, np.full(len(instruments), minute // 1440, dtype=np.int64))
        for shorter in NATIVE_MINUTES[1:]:
            path = path.step_to(shorter, np.full(len(instruments), minute // shorter, dtype=np.int64))
        return path.ticks(MINUTE_MS // self.tick_ms)

    def _draw_minutes(self, instrument: Instrument, first: int) -> Floats:
        path = _Path(self, [instrument], np.array([first // 1440], dtype=np.int64))
        for shorter in NATIVE_MINUTES[1:]:
            path = path.cut(shorter, np.unique(np.arange(first, first + _TOGETHER, dtype=np.int64) // shorter))
        return path.ticks(MINUTE_MS // self.tick_ms)

    def key(self, *words: object) -> int:
        """The noise key of these words under this seed."""
        name = "/".join(str(word) for word in words)
        if name not in self._keys:
            self._keys[name] = noise.key(self.seed, name)
        return self._keys[name]


class _Path:
    """Bars of one length for pairs of a market and a period, and how to cut them shorter."""

    def __init__(self, source: SyntheticSource, instruments: Sequence[Instrument], days: Index) -> None:
        self._source = source
        self.own = np.array([source.key(i.price_key) for i in instruments], dtype=np.uint64)
        self.sigma = np.array([i.daily_volatility for i in instruments])
        share = np.where(
            self.sigma < _CALM_PEG, 0.0, 0.7 + 0.25 * noise.uniforms(noise.bits(self.own, np.full(len(days), -1)))[0]
        )
        self.share, self.rest = share, np.sqrt(1.0 - share * share)
        self.minutes, self.periods = NATIVE_MINUTES[0], days
        self.bars = self._days(instruments, days)

    def _normal(self, label: str, counters: Index) -> Floats:
        """Noise of each market, partly everybody's."""
        rows = (slice(None),) + (None,) * (counters.ndim - 1)
        common = np.full(1, self._source.key("common", label), dtype=np.uint64)
        salt = np.uint64(self._source.key("own", label))
        return self.share[rows] * noise.normal(noise.bits(common, counters)) + self.rest[rows] * noise.normal(
            noise.bits(self.own[rows] ^ salt, counters)
        )

    def _uniforms(self, label: str, counters: Index) -> tuple[Floats, Floats, Floats, Floats]:
        rows = (slice(None),) + (None,) * (counters.ndim - 1)
        return noise.uniforms(noise.bits(self.own[rows] ^ np.uint64(self._source.key("shape", label)), counters))

    def _days(self, instruments: Sequence[Instrument], days: Index) -> Bars:
        base = np.array([i.base_price for i in instruments])
        turnover = np.array(
            [4000.0 / i.base_price for i in instruments]
        )  # per dollar of depth: spot and swap share this path
        level = noise.exponential(self._level(days))
        before, after = base * level[:, 0], base * level[:, 1]
        chance, size, up, down = self._uniforms("day", days)
        opens = before * (1.0 + np.where(chance < _DAY_GAP_CHANCE, (size - 0.5) * self.sigma, 0.0))
        wick = np.minimum(self.sigma, 0.15)
        traded = 0.4 + size * 1.2
        return Bars(
            opens,
            np.maximum(opens, after) * (1.0 + wick * (0.15 + 0.8 * up * up)),
            np.minimum(opens, after) * (1.0 - wick * (0.15 + 0.8 * down * down)),
            after,
            turnover * traded,
        )

    def _level(self, days: Index) -> Floats:
        """The slow wave: the logarithm of the price at the start of each day and of the next, against its usual
        level.
        """
        knots = np.stack([days, days + 1], axis=1)[:, :, None] // _OCTAVES
        inside = np.stack([days, days + 1], axis=1)[:, :, None] % _OCTAVES / _OCTAVES
        tones = np.arange(len(_OCTAVES), dtype=np.int64) << 40
        left, right = self._normal("wave", knots + tones), self._normal("wave", knots + 1 + tones)
        heights = 0.5 * self.sigma[:, None, None] * np.sqrt(_OCTAVES)
        return np.cumsum(heights * (left + (right - left) * inside), axis=2)[:, :, -1]

    def cut(self, minutes: int, wanted: Index) -> _Path:
        """The shorter bars numbered `wanted` of a path of consecutive bars of one market."""
        per_bar = self.minutes // minutes
        bars = self._split(per_bar, minutes)
        numbers = (self.periods[:, None] * per_bar + np.arange(per_bar)).ravel()
        chosen = np.searchsorted(numbers, wanted)
        rows = chosen // per_bar
        return self._with(rows, minutes, wanted, Bars(*(column.ravel()[chosen] for column in bars)))

    def step_to(self, minutes: int, numbers: Index) -> _Path:
        """For each bar the one shorter bar with its number."""
        per_bar = self.minutes // minutes
        bars = self._split(per_bar, minutes)
        rows = np.arange(len(self.own))
        return self._with(rows, minutes, numbers, Bars(*(column[rows, numbers % per_bar] for column in bars)))

    def opened(self, minutes: int) -> _Path:
        """All the shorter bars of each bar."""
        per_bar = self.minutes // minutes
        bars = self._split(per_bar, minutes)
        numbers = (self.periods[:, None] * per_bar + np.arange(per_bar)).ravel()
        return self._with(
            np.repeat(np.arange(len(self.own)), per_bar), minutes, numbers, Bars(*(column.ravel() for column in bars))
        )

    def _with(self, rows: Index, minutes: int, periods: Index, bars: Bars) -> _Path:
        path = object.__new__(_Path)
        path._source = self._source
        path.own, path.sigma, path.share, path.rest = (
            self.own[rows],
            self.sigma[rows],
            self.share[rows],
            self.rest[rows],
        )
        path.minutes, path.periods, path.bars = minutes, periods, bars
        return path

    def _regime(self, starts: Index) -> tuple[Floats, Floats, Floats]:
        rows = (slice(None),) + (None,) * (starts.ndim - 1)
        drawn = noise.bits(
            self.own[rows] ^ np.uint64(self._source.key("regime")), starts // _REGIME_MINUTES
        ) >> np.uint64(62)
        chosen = _REGIMES[drawn.astype(np.int64)]
        return chosen[..., 0], chosen[..., 1], chosen[..., 2]

    def _split(self, per_bar: int, minutes: int) -> Bars:
        """Each bar cut into `per_bar` shorter ones that open, close and peak where it does."""
        whole = Bars(*(column[:, None] for column in self.bars))
        numbers = self.periods[:, None] * per_bar + np.arange(per_bar)
        displaced, rough, wick = self._regime(numbers * minutes)
        size = self.sigma[:, None] * (minutes / 1440.0) ** 0.5 * whole.open
        label = str(minutes)
        steps = self._normal(label, numbers) * size * (displaced if minutes >= NATIVE_MINUTES[1] else rough)
        chance, jump, up, down = self._uniforms(label, numbers)

        closes = _bridge(whole, steps)
        opens = np.concatenate([whole.open, closes[:, :-1]], axis=1)
        gaps = np.where(chance < _GAP_CHANCE, (jump - 0.5) * 4.0 * size, 0.0)
        gaps[:, 0] = 0.0
        opens = np.clip(opens + gaps, whole.low, whole.high)
        tops, bottoms = np.maximum(opens, closes), np.minimum(opens, closes)
        highs = np.minimum(tops + up * up * wick * size, whole.high)
        lows = np.maximum(bottoms - down * down * wick * size, whole.low)
        rows = np.arange(len(closes))
        highs[rows, tops.argmax(axis=1)] = whole.high[:, 0]
        lows[rows, bottoms.argmin(axis=1)] = whole.low[:, 0]
        weights = 0.3 + jump * up + (highs - lows) / (whole.high - whole.low + 1e-12 * whole.open)
        volumes = whole.volume * weights / np.cumsum(weights, axis=1)[:, -1:]
        return Bars(opens, highs, lows, closes, volumes)

    def ticks(self, count: int) -> Floats:
        """The prices inside each minute: first its open, last its close, once its high and once its low in between."""
        whole = Bars(*(column[:, None] for column in self.bars))
        numbers = self.periods[:, None] * count + np.arange(count)
        _, rough, _ = self._regime(self.periods[:, None])
        size = self.sigma[:, None] * (1.0 / 1440.0 / count) ** 0.5 * whole.open * rough
        steps = noise.normal(noise.bits(self.own[:, None] ^ np.uint64(self._source.key("tick", count)), numbers)) * size
        prices = _bridge(whole, steps)
        prices[:, 0] = whole.open[:, 0]
        rows, inside = np.arange(len(prices)), prices[:, 1:-1]
        peaks = inside.argmax(axis=1)
        others = inside.copy()
        others[rows, peaks] = np.inf
        troughs = others.argmin(axis=1)
        inside[rows, peaks] = whole.high[:, 0]
        inside[rows, troughs] = whole.low[:, 0]
        return prices


def _bridge(whole: Bars, steps: Floats) -> Floats:
    """A walk of these steps from each bar's open to its close, folded back where it would leave the bar."""
    count = steps.shape[1]
    share = np.arange(1, count + 1) / count
    walk = np.cumsum(steps, axis=1)
    prices = whole.open + (whole.close - whole.open) * share + (walk - walk[:, -1:] * share)
    prices = np.where(prices > whole.high, 2.0 * whole.high - prices, prices)
    prices = np.where(prices < whole.low, 2.0 * whole.low - prices, prices)
    prices = np.clip(prices, whole.low, whole.high)
    prices[:, -1] = whole.close[:, 0]
    return prices
