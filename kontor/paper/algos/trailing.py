"""Trailing stops: the best price since they are active, and the first tick that falls back far enough from it."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np

from kontor.paper.algos.model import AlgoOrder
from kontor.paper.market import Market
from kontor.paper.model import Instrument

_FAR_MINUTES = 3  # farther than this, whole candles are looked at before ticks
_SCAN_MINUTES = 256


def trigger_ticks(algo: AlgoOrder, best: int, tick: Decimal) -> int:
    """The price, in ticks, at which the order fires after the market has been at `best`."""
    back = best * (algo.callback_ratio or 0) if algo.callback_ratio is not None else (algo.callback_spread or 0) / tick
    return math.floor(best - back) if algo.side == "sell" else math.ceil(best + back)


def observe(algo: AlgoOrder, price: int, tick: Decimal) -> bool:
    """Show the order a price, in ticks; whether it fires now."""
    if not algo.active:
        wanted = int((algo.active_px or Decimal(0)) / tick)
        algo.active = price >= wanted if algo.rises else price <= wanted
        algo.best_ticks = price
        return False
    sells = algo.side == "sell"
    if (price > algo.best_ticks) if sells else (price < algo.best_ticks):
        algo.best_ticks = price
        return False
    limit = trigger_ticks(algo, algo.best_ticks, tick)
    return price <= limit if sells else price >= limit


def watch(algo: AlgoOrder, instrument: Instrument, market: Market, last: int) -> int | None:
    """Show the order every tick up to `last` that it has not seen; the tick at which it fires, which it then has not
    seen yet, or None.
    """
    per_minute, step = market.ticks_per_minute, algo.seen_step + 1
    while step <= last:
        minute, place = divmod(step, per_minute)
        if place == 0 and last // per_minute - minute > _FAR_MINUTES and algo.active:
            skipped = _quiet_minutes(algo, instrument, market, minute, last // per_minute)
            if skipped:
                step += skipped * per_minute
                algo.seen_step = step - 1
                continue
        row = market.minute_ticks(instrument, minute)
        for price in row[place : last - minute * per_minute + 1]:
            if observe(algo, price, instrument.tick_sz):
                return step
            algo.seen_step = step
            step += 1
    return None


def _quiet_minutes(algo: AlgoOrder, instrument: Instrument, market: Market, minute: int, last: int) -> int:
    """How many whole minutes from `minute` on cannot fire the order, even if each had its best price first; their best
    price is taken over.
    """
    count = min(_SCAN_MINUTES, last - minute)
    bars = market.source.bars(instrument, 1, minute, count)
    highs, lows = market.rounded(instrument, bars.high), market.rounded(instrument, bars.low)
    sells = algo.side == "sell"
    ahead, behind = (highs, lows) if sells else (lows, highs)
    extreme = np.maximum.accumulate(ahead) if sells else np.minimum.accumulate(ahead)
    quiet = 0
    best = algo.best_ticks
    for reached, worst in zip(extreme.tolist(), behind.tolist(), strict=True):
        possible = max(best, reached) if sells else min(best, reached)
        limit = trigger_ticks(algo, possible, instrument.tick_sz)
        if (worst <= limit) if sells else (worst >= limit):
            break
        algo.best_ticks = possible
        quiet += 1
    return quiet
