"""Candles as a stream tells them, stored so that none is missing between two that are.

What is behind the newest stored candle of a symbol is asked for nowhere in the desk, so nothing is stored beyond a gap:
after a lost connection, a failed write or a symbol's arrival, its streamed candles are held back until REST has said
what came before them.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from kontor.domain.market import NO_CANDLES, TIMEFRAMES, Candles, missing_since
from kontor.errors import ExchangeError
from kontor.execution.parts import Parts

logger = logging.getLogger(__name__)

# Venues tell a finished candle by REST some seconds after its end; one that is not there after this long was none.
LAG_SECONDS = 15.0
# Old candles go only now and then.
PRUNE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """What REST said of one symbol when it was asked at a moment, epoch milliseconds."""

    symbol: str
    asked_at: float
    candles: Candles = field(default_factory=NO_CANDLES.copy)
    error: ExchangeError | None = None


class CandleKeeper:
    """Takes what is streamed, and catches up by REST on the symbols it is unsure of (`due`).

    `gaps` says how often something was missed so far: it may have been a candle of any symbol.
    """

    def __init__(self, parts: Parts, gaps: Callable[[], int]) -> None:
        self._parts, self._count_gaps = parts, gaps
        self._timeframe, self._keep = parts.config.candles.timeframe, parts.config.candles.keep
        self._step = TIMEFRAMES[self._timeframe].total_seconds() * 1000
        self._symbols = frozenset[str]()
        self._gaps = 0
        self._due: set[str] = set()
        self._held: dict[str, Candles] = {}
        # By symbol that REST has been asked for: the newest candle then, and when the next one must have been streamed.
        self._unproven: dict[str, tuple[float | None, float]] = {}
        self.failed: Mapping[str, str] = {}
        self._pruned_at = float("-inf")

    @property
    def due(self) -> frozenset[str]:
        """Symbols of which something may be missing."""
        return frozenset(self._due)

    def is_behind(self) -> bool:
        """There is something to ask for."""
        self._notice()
        return bool(self._due or self._late())

    def follow(self, symbols: Sequence[str]) -> None:
        """These are watched from now on; of new ones everything is missing."""
        wanted = frozenset(symbols)
        self._due = (self._due | (wanted - self._symbols)) & wanted
        self._symbols = wanted
        for symbol in (self._held.keys() | self._unproven.keys()) - wanted:
            self._held.pop(symbol, None)
            self._unproven.pop(symbol, None)

    async def take(self, candles: Mapping[str, Candles]) -> None:
        """Store finished candles of symbols that are whole, and hold back the others'."""
        self._notice()
        whole: dict[str, Candles] = {}
        for symbol, rows in candles.items():
            if symbol not in self._symbols or not len(rows):
                continue
            last, _ = self._unproven.get(symbol, (None, 0.0))
            if last is not None and rows[0, 0] > last + self._step:
                # REST did not know of the one before yet when it was asked.
                self._due.add(symbol)
            if symbol in self._due:
                self._hold(symbol, rows)
            else:
                whole[symbol] = rows
        if not whole:
            return
        try:
            await self._parts.store.market.save_candles(self._parts.account, self._timeframe, whole)
        except Exception:
            for symbol, rows in whole.items():
                self._due.add(symbol)
                self._hold(symbol, rows)
            raise
        for symbol in whole:
            self._unproven.pop(symbol, None)
        await self._prune()

    async def catch_up(self) -> None:
        """Ask REST for what is missing of each due symbol; store what comes, one's failure is only its own."""
        self._notice()
        self._due |= self._late()
        parts, asked, gaps = self._parts, tuple(sorted(self._due)), self._gaps
        known = await parts.store.market.last_candle_at(parts.account, self._timeframe)
        failed: dict[str, str] = {}
        done = 0
        async with aclosing(self._fetch(asked, known)) as batches:
            async for batch in batches:
                failed |= {each.symbol: str(each.error) for each in batch if each.error is not None}
                done += await self._store([each for each in batch if each.error is None], known, gaps)
        is_news, self.failed = failed.keys() != self.failed.keys(), failed
        if failed and is_news:
            first = next(iter(failed))
            logger.warning(
                "stream_candles_missing account=%s failed=%d of=%d first=%s: %s",
                parts.account,
                len(failed),
                len(asked),
                first,
                failed[first],
            )
        if done:
            logger.info("stream_candles_caught_up account=%s symbols=%d of=%d", parts.account, done, len(asked))

    async def _fetch(self, symbols: Sequence[str], known: Mapping[str, datetime]) -> AsyncGenerator[list[_Answer]]:
        """What is missing of each, as the answers come; at most `candles.fan_out` are asked for at once."""
        parts, slots = self._parts, asyncio.Semaphore(self._parts.config.candles.fan_out)
        span = TIMEFRAMES[self._timeframe]

        async def ask(symbol: str) -> _Answer:
            last = known.get(symbol)
            async with slots:
                now, at = parts.clock.now(), self._now()
                if last is not None and now - last < 2 * span:
                    return _Answer(symbol, at)  # the next one is not over yet
                since = missing_since(last, now, span, self._keep)
                try:
                    candles = await parts.exchange.fetch_candles(symbol, self._timeframe, since=since, limit=self._keep)
                except ExchangeError as error:
                    return _Answer(symbol, at, error=error)
            return _Answer(symbol, at, candles)

        pending = {asyncio.create_task(ask(symbol), name=f"candles of {symbol}") for symbol in symbols}
        try:
            while pending:
                ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                yield [task.result() for task in ended]
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _store(self, answers: Sequence[_Answer], known: Mapping[str, datetime], gaps: int) -> int:
        """Store what was fetched, and what was held back behind it; returns how many symbols are whole now.

        None is when there was another gap since they were asked for.
        """
        held = {each.symbol: self._held.get(each.symbol, NO_CANDLES) for each in answers}
        joined = {
            each.symbol: self._join(each, _milliseconds(known.get(each.symbol)), held[each.symbol]) for each in answers
        }
        new = {symbol: candles for symbol, (candles, _) in joined.items() if len(candles)}
        if new:
            await self._parts.store.market.save_candles(self._parts.account, self._timeframe, new)
        self._notice()
        if gaps != self._gaps:
            return 0
        done = 0
        for each in answers:
            symbol, (candles, is_whole) = each.symbol, joined[each.symbol]
            # What was streamed while this was stored is held back too, and the next round's.
            if is_whole and symbol in self._symbols and self._held.get(symbol, NO_CANDLES) is held[symbol]:
                newest = float(candles[-1, 0]) if len(candles) else _milliseconds(known.get(symbol))
                check_at = self._end_before(each.asked_at) + self._step + LAG_SECONDS * 1000
                self._held.pop(symbol, None)
                self._due.discard(symbol)
                self._unproven[symbol] = newest, check_at
                done += 1
        return done

    def _join(self, answer: _Answer, last: float | None, held: Candles) -> tuple[Candles, bool]:
        """The fetched candles and those held back behind them, and whether nothing is missing in or behind them.

        What REST does not know LAG_SECONDS after its end was no candle: some venues have none without a trade.
        """
        fetched, is_late = answer.candles, answer.asked_at - LAG_SECONDS * 1000
        newest = float(fetched[-1, 0]) if len(fetched) else last
        later = held if newest is None else held[held[:, 0] > newest]
        if len(later):
            first_end = float(later[0, 0]) + self._step
            if newest is not None and first_end > newest + 2 * self._step and first_end > is_late:
                return fetched, False
            newest = float(later[-1, 0])
        end = self._end_before(answer.asked_at)
        is_there = newest is not None and newest >= end - self._step
        return np.concatenate([fetched, later]), is_there or end <= is_late

    def _late(self) -> set[str]:
        """Symbols of which the first candle to be streamed after REST was asked has not come."""
        now = self._now()
        return {symbol for symbol, (_, check_at) in self._unproven.items() if now >= check_at}

    def _notice(self) -> None:
        """After a gap everything is due."""
        gaps = self._count_gaps()
        if gaps != self._gaps:
            self._gaps = gaps
            self._due |= self._symbols

    def _end_before(self, moment: float) -> float:
        return moment // self._step * self._step

    def _now(self) -> float:
        return self._parts.clock.now().timestamp() * 1000

    def _hold(self, symbol: str, rows: Candles) -> None:
        before = self._held.get(symbol, NO_CANDLES)
        self._held[symbol] = np.concatenate([before[before[:, 0] < rows[0, 0]], rows])[-self._keep :]

    async def _prune(self) -> None:
        now = self._parts.clock.monotonic()
        if now - self._pruned_at >= PRUNE_SECONDS:
            self._pruned_at = now
            await self._parts.store.market.prune_candles(self._parts.account, self._timeframe, keep=self._keep)


def _milliseconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp() * 1000
