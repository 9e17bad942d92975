"""The simulated crowd of one market: levels around the last price, anew at every tick, and what user orders have
eaten of them.

All in whole ticks and lots. What was eaten is missing from the best price on, and grows back with the ticks.
"""

from __future__ import annotations

from kontor.paper.model import Instrument
from kontor.paper.prices import noise

LEVELS = 20
_MASK = (1 << 64) - 1
_GROWTH = 0.3  # each level is so much larger than the one before, in units of the first
_SPACING = 1e-4  # of the price between two levels
_SPREAD = 3e-5  # of the price, and up to three times that
_RECOVERY_TICKS = 10  # an emptied side is back after so many ticks
_TYPICAL_LEVELS = LEVELS + _GROWTH * LEVELS * (LEVELS - 1) / 2

Levels = list[tuple[int, int]]  # (price in ticks, lots), best first


class Depth:
    """Both sides of one market's simulated book. `sides` are named by what rests there: buy for bids, sell for asks."""

    def __init__(self, instrument: Instrument, tick_size: float) -> None:
        self._key = noise.key("depth", instrument.inst_id)
        lot_base = float(instrument.lot_sz * instrument.ct_val)
        self._usd_to_lots = instrument.depth_usd / (tick_size * lot_base)
        typical = self._usd_to_lots / (instrument.base_price / tick_size)
        self._recovery = max(1, int(typical * _TYPICAL_LEVELS / _RECOVERY_TICKS))
        self._eaten: dict[str, tuple[int, int]] = {"buy": (0, 0), "sell": (0, 0)}  # lots, and the tick of that count
        self._cached: dict[str, tuple[int, int, Levels]] = {"buy": (-1, -1, []), "sell": (-1, -1, [])}

    def _random(self, step: int, salt: int) -> int:
        """Sixty-four bits for a tick: splitmix64 in plain integers, for one number at a time it is the faster one."""
        x = (self._key + step * 0x9E3779B97F4A7C15 + salt * 0xD1342543DE82EF95) & _MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        return x ^ (x >> 31)

    def lifts_offer(self, step: int) -> bool:
        """Whether the last trade bought, so that the last price is the ask."""
        return bool(self._random(step, 0) & 1)

    def crowd(self, step: int, last: int) -> int:
        """How many lots the crowd trades at the last price of this tick."""
        share = (self._random(step, 0) >> 16 & 0xFFFF) / 65536.0
        return max(1, int(self._usd_to_lots / last * (0.1 + share)))

    def full(self, side: str, step: int, last: int) -> Levels:
        """The side's levels as if nobody had eaten of them."""
        at, price, levels = self._cached[side]
        if at != step or price != last:
            levels = self._drawn(side, step, last, LEVELS)
            self._cached[side] = (step, last, levels)
        return levels

    def top(self, side: str, step: int, last: int) -> tuple[int, int] | None:
        """The best level that is left, if any."""
        levels = self.left(side, step, last) if self._eaten[side][0] else self._drawn(side, step, last, 1)
        return levels[0] if levels else None

    def _drawn(self, side: str, step: int, last: int, count: int) -> Levels:
        word = self._random(step, 0)
        lifted, spread = word & 1, max(1, int(last * _SPREAD * (1.0 + 2.0 * ((word >> 32) & 0xFFFF) / 65536.0)))
        spacing = max(1, int(last * _SPACING))
        if side == "sell":
            best, outward = (last if lifted else last + spread), spacing
        else:
            best, outward = (last - spread if lifted else last), -spacing
        scale, levels = self._usd_to_lots / last, []
        word, salt = 0, 1 if side == "sell" else 101
        for number in range(count):
            if number % 4 == 0:
                word = self._random(step, salt + number)
            price = best + number * outward
            if price < 1:
                break
            lots = int(scale * (1.0 + _GROWTH * number) * (0.3 + 1.4 * (word & 0xFFFF) / 65536.0))
            levels.append((price, max(1, lots)))
            word >>= 16
        return levels

    def eaten(self, side: str, step: int) -> int:
        """Lots still missing from a side."""
        lots, since = self._eaten[side]
        return max(0, lots - (step - since) * self._recovery) if lots else 0

    def left(self, side: str, step: int, last: int) -> Levels:
        """The side's levels without what was eaten."""
        levels, missing = self.full(side, step, last), self.eaten(side, step)
        if not missing:
            return levels
        remaining: Levels = []
        for price, lots in levels:
            if missing >= lots:
                missing -= lots
            else:
                remaining.append((price, lots - missing))
                missing = 0
        return remaining

    def eat(self, side: str, step: int, lots: int) -> None:
        """Take lots from the best price on."""
        if lots:
            self._eaten[side] = (self.eaten(side, step) + lots, step)

    def state(self) -> tuple[int, int, int, int]:
        """What a restart must know."""
        return (*self._eaten["buy"], *self._eaten["sell"])

    def restore(self, state: tuple[int, int, int, int]) -> None:
        """Go on from a `state`."""
        self._eaten = {"buy": (state[0], state[1]), "sell": (state[2], state[3])}
