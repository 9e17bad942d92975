"""Candles as a stream tells them, stored so that none is missing between two that are.

What is behind the newest stored candle of a symbol is asked for nowhere in the desk, so nothing is stored beyond a gap:
after a lost connection, a failed write or a symbol's arrival, its streamed candles are held back until REST has said
what came before them.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
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

    @property
    def is_behind(self) -> bool:
        """There is something to ask for."""
        self._notice()
        now = self._now()
        late = {symbol for symbol, (_, check_at) in self._unproven.items() if now >= check_at}
        self._due |= late
        return bool(self._due)

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
        parts, asked, gaps = self._parts, tuple(sorted(self._due)), self._gaps
        known = await parts.store.market.last_candle_at(parts.account, self._timeframe)
        failed: dict[str, str] = {}
        done = 0
        async with aclosing(self._fetch(asked, known)) as batches:
            async for batch in batches:
                found = {symbol: each for symbol, each in batch.items() if not isinstance(each, ExchangeError)}
                failed |= {symbol: str(each) for symbol, each in batch.items() if isinstance(each, ExchangeError)}
                done += await self._store(found, known, gaps)
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

    async def _fetch(
        self, symbols: Sequence[str], known: Mapping[str, datetime]
    ) -> AsyncGenerator[dict[str, Candles | ExchangeError]]:
        """What is missing of each, as the answers come; at most `candles.fan_out` are asked for at once."""
        parts, settings, now = self._parts, self._parts.config.candles, self._parts.clock.now()
        span, slots = TIMEFRAMES[self._timeframe], asyncio.Semaphore(settings.fan_out)

        async def ask(symbol: str) -> tuple[str, Candles | ExchangeError]:
            last = known.get(symbol)
            if last is not None and now - last < 2 * span:
                return symbol, NO_CANDLES  # the next one is not over yet
            since = missing_since(last, now, span, self._keep)
            try:
                async with slots:
                    return symbol, await parts.exchange.fetch_candles(
                        symbol, self._timeframe, since=since, limit=self._keep
                    )
            except ExchangeError as error:
                return symbol, error

        pending = {asyncio.create_task(ask(symbol), name=f"candles of {symbol}") for symbol in symbols}
        try:
            while pending:
                ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                yield dict(task.result() for task in ended)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _store(self, found: Mapping[str, Candles], known: Mapping[str, datetime], gaps: int) -> int:
        """Store what was fetched, and what was held back behind it; returns how many symbols are whole now.

        None is when there was another gap since they were asked for.
        """
        rows: dict[str, Candles] = {}
        whole: dict[str, float | None] = {}
        held = {symbol: self._held.get(symbol, NO_CANDLES) for symbol in found}
        for symbol, fetched in found.items():
            last = fetched[-1, 0] if len(fetched) else _milliseconds(known.get(symbol))
            later = held[symbol] if last is None else held[symbol][held[symbol][:, 0] > last]
            if len(later) and last is not None and later[0, 0] > last + self._step:
                # The venue's REST does not know yet what its stream has told.
                rows[symbol] = fetched
                continue
            rows[symbol] = np.concatenate([fetched, later])
            newest = float(rows[symbol][-1, 0]) if len(rows[symbol]) else last
            if self._is_up_to_date(newest):
                whole[symbol] = newest
        new = {symbol: candles for symbol, candles in rows.items() if len(candles)}
        if new:
            await self._parts.store.market.save_candles(self._parts.account, self._timeframe, new)
        self._notice()
        if gaps != self._gaps:
            return 0
        check_at = self._last_end() + self._step + LAG_SECONDS * 1000
        # What was streamed while this was stored is held back too, and the next round's.
        done = [name for name in whole if name in self._symbols and self._held.get(name, NO_CANDLES) is held[name]]
        for symbol in done:
            self._held.pop(symbol, None)
            self._due.discard(symbol)
            self._unproven[symbol] = whole[symbol], check_at
        return len(done)

    def _notice(self) -> None:
        """After a gap everything is due."""
        gaps = self._count_gaps()
        if gaps != self._gaps:
            self._gaps = gaps
            self._due |= self._symbols

    def _is_up_to_date(self, newest: float | None) -> bool:
        """The last finished candle is there, or so long over that the venue has none of it."""
        end = self._last_end()
        return (newest is not None and newest >= end - self._step) or self._now() - end >= LAG_SECONDS * 1000

    def _last_end(self) -> float:
        return self._now() // self._step * self._step

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
