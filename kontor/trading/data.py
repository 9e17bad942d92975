"""The candles that strategies asked for: from the store, the missing ones from the venue, complete and fresh."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from kontor.domain.market import NO_CANDLES, TIMEFRAMES, Candles
from kontor.errors import ExchangeError
from kontor.execution.parts import Parts

log = logging.getLogger(__name__)

# A candle may be fetched this many spans late before its symbol counts as stale.
_PATIENCE = 3
_KEEP = 1000


@dataclass(slots=True)
class CandleData:
    """Candles and, for those that cannot be used, why; both by (timeframe, symbol)."""

    candles: dict[tuple[str, str], Candles] = field(default_factory=dict)
    problems: dict[tuple[str, str], str] = field(default_factory=dict)


async def load_candles(parts: Parts, needs: Mapping[str, Mapping[str, int]]) -> CandleData:
    """The candles for `{timeframe: {symbol: how many}}`; a symbol that fails fails alone."""
    data = CandleData()
    for timeframe, counts in needs.items():
        await _load(parts, timeframe, counts, data)
    return data


def newest_at(candles: Candles) -> datetime:
    """Open time of the last candle."""
    return datetime.fromtimestamp(float(candles[-1, 0]) / 1000, UTC)


async def _load(parts: Parts, timeframe: str, counts: Mapping[str, int], data: CandleData) -> None:
    span, now = TIMEFRAMES[timeframe], parts.clock.now()
    most = max(counts.values())
    stored = await parts.store.market.candles(parts.account, timeframe, list(counts), limit=most)
    due = {
        symbol: _since(stored.get(symbol, NO_CANDLES), count, span, now)
        for symbol, count in counts.items()
        if _is_due(stored.get(symbol, NO_CANDLES), count, span, now)
    }
    if due:
        failed = await _fetch(parts, timeframe, due, most)
        stored = await parts.store.market.candles(parts.account, timeframe, list(counts), limit=most)
        data.problems |= {(timeframe, symbol): reason for symbol, reason in failed.items()}
    for symbol, count in counts.items():
        candles = stored.get(symbol, NO_CANDLES)[-count:]
        problem = _problem(candles, count, span, parts.clock.now())
        if problem is None:
            data.candles[timeframe, symbol] = candles
            # The fetch failed, yet what is stored is still good.
            data.problems.pop((timeframe, symbol), None)
        else:
            data.problems.setdefault((timeframe, symbol), f"{timeframe} candles: {problem}")


def _is_due(candles: Candles, count: int, span: timedelta, now: datetime) -> bool:
    if len(candles) < count or _gap(candles[-count:], span) is not None:
        return True
    return now - newest_at(candles) >= 2 * span


def _since(candles: Candles, count: int, span: timedelta, now: datetime) -> datetime | None:
    """Where to go on; None fetches everything afresh: too few, a hole, or too long ago."""
    if len(candles) < count or _gap(candles[-count:], span) is not None:
        return None
    last = newest_at(candles)
    return last + span if now - last < count * span else None


async def _fetch(parts: Parts, timeframe: str, due: Mapping[str, datetime | None], most: int) -> Mapping[str, str]:
    """Fetch and store what is due; returns why some failed."""
    slots = asyncio.Semaphore(parts.config.candles.fan_out)
    failed: dict[str, str] = {}
    found: dict[str, Candles] = {}

    async def one(symbol: str, since: datetime | None) -> None:
        async with slots:
            try:
                candles = await parts.exchange.fetch_candles(symbol, timeframe, since=since, limit=most)
            except ExchangeError as error:
                failed[symbol] = f"{timeframe} candles: {error}"
                log.warning("candles not fetched symbol=%s timeframe=%s error=%s", symbol, timeframe, error)
            else:
                if len(candles):
                    found[symbol] = candles

    async with asyncio.TaskGroup() as tasks:
        for symbol, since in due.items():
            tasks.create_task(one(symbol, since))
    if found:
        await parts.store.market.save_candles(parts.account, timeframe, found)
        keep = max(most, _KEEP, parts.config.candles.keep)
        await parts.store.market.prune_candles(parts.account, timeframe, keep=keep)
    return failed


def _problem(candles: Candles, count: int, span: timedelta, now: datetime) -> str | None:
    if len(candles) < count:
        return f"{len(candles)} of the {count} needed"
    gap = _gap(candles, span)
    if gap is not None:
        return f"a gap after {gap:%Y-%m-%d %H:%M} UTC"
    age = now - newest_at(candles)
    return f"the newest is {age.total_seconds():.0f} s old" if age >= _PATIENCE * span else None


def _gap(candles: Candles, span: timedelta) -> datetime | None:
    """The candle before the newest hole."""
    holes = np.flatnonzero(np.diff(candles[:, 0]) != span.total_seconds() * 1000)
    return newest_at(candles[: holes[-1] + 1]) if len(holes) else None


def merged_needs(needs: Collection[tuple[tuple[str, int], tuple[str, ...]]]) -> dict[str, dict[str, int]]:
    """`{timeframe: {symbol: how many}}` out of ((timeframe, count), symbols) pairs."""
    found: dict[str, dict[str, int]] = {}
    for (timeframe, count), symbols in needs:
        row = found.setdefault(timeframe, {})
        for symbol in symbols:
            row[symbol] = max(row.get(symbol, 0), count)
    return found
