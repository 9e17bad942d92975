"""Candles of any timeframe and length: pages through the venue's maximum, finished candles only."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from kontor.domain.market import NO_CANDLES, TIMEFRAMES, Candles, Market
from kontor.errors import NotSupported
from kontor.exchange.candles import Columns, finished, from_parsed, learn_columns, parse_rows, read_rows, tidy
from kontor.exchange.connection import Connection
from kontor.exchange.wire import current_call

# A hole of this many pages in a market's history is not walked through: the newest candles are taken instead.
MAX_EMPTY_PAGES = 3


class CandleSource:
    """Fetches candles over one connection and remembers how the venue lays out its rows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._columns: dict[str, Columns | None] = {}

    async def fetch(self, market: Market, timeframe: str, since: datetime | None, limit: int) -> Candles:
        """At most `limit` finished candles: the newest, or the first ones from `since` on."""
        step = self._step_ms(timeframe)
        now = (await self._connection.venue_now()).timestamp() * 1000
        newest = int(now // step) * step - step
        if since is None:
            if limit < self._per_call:
                return finished(await self._page(market, timeframe, None, limit + 1), step, now)[-limit:]
            start = newest - (limit - 1) * step
        else:
            start = -(-int(since.timestamp() * 1000) // step) * step
        candles = await self._walk(market, timeframe, step, max(start, _listed_ms(market, step)), newest, limit)
        if candles is None:
            candles = await self._page(market, timeframe, None, self._per_call)
        return finished(candles[candles[:, 0] >= start], step, now)[:limit]

    @property
    def _per_call(self) -> int:
        return self._connection.profile.max_candles_per_call

    async def _walk(
        self, market: Market, timeframe: str, step: int, start: int, newest: int, limit: int
    ) -> Candles | None:
        """Page after page from `start`; None when there is a hole too wide to walk through."""
        pages: list[Candles] = []
        count = empty = 0
        while start <= newest and count < limit:
            wanted = min(self._per_call, (newest - start) // step + 1)
            page = await self._page(market, timeframe, start, wanted)
            page = page[page[:, 0] >= start]
            empty = 0 if len(page) else empty + 1
            if empty > MAX_EMPTY_PAGES:
                return None
            pages.append(page)
            count += len(page)
            start = int(page[-1, 0]) + step if len(page) else start + wanted * step
        return tidy(np.concatenate(pages)) if pages else NO_CANDLES

    async def _page(self, market: Market, timeframe: str, since_ms: int | None, limit: int) -> Candles:
        client = self._connection.client

        async def request() -> Candles:
            call = current_call()
            call.wants_raw_candles, call.raw_candles = True, None
            try:
                parsed = await client.fetch_ohlcv(market.symbol, timeframe, since_ms, limit)
            finally:
                call.wants_raw_candles = False
            return from_parsed(parsed) if call.raw_candles is None else self._read(market, call.raw_candles)

        return await self._connection.ask(f"fetch_candles {market.symbol} {timeframe}", request)

    def _read(self, market: Market, rows: Any) -> Candles:
        rows = list(rows)
        flag = self._connection.venue.unfinished
        if flag is not None:
            at, text = flag
            rows = [row for row in rows if len(row) <= at or row[at] != text]
        if not rows:
            return NO_CANDLES
        client, raw = self._connection.client, market.raw
        if market.kind not in self._columns:
            self._columns[market.kind] = self._learn(raw, rows[0])
        columns = self._columns[market.kind]
        candles = read_rows(rows, columns) if columns else None
        return parse_rows(client, raw, rows) if candles is None else tidy(candles)

    def _learn(self, raw: Mapping[str, Any], row: Any) -> Columns | None:
        client = self._connection.client
        columns = learn_columns(client, raw, row)
        if columns is None:
            return None
        # What was learned on a made-up row must hold on a real one.
        ours, theirs = read_rows([row], columns), parse_rows(client, raw, [row])
        return columns if ours is not None and np.array_equal(ours, theirs) else None

    def _step_ms(self, timeframe: str) -> int:
        known = self._connection.client.timeframes or {}
        if timeframe not in TIMEFRAMES or (known and timeframe not in known):
            usable = ", ".join(name for name in TIMEFRAMES if not known or name in known)
            raise NotSupported(
                f"{self._connection.settings.exchange_id} has no timeframe {timeframe}; use one of {usable}"
            )
        return int(TIMEFRAMES[timeframe].total_seconds() * 1000)


def _listed_ms(market: Market, step: int) -> int:
    """The open time of the first candle a market can have, 0 when nobody knows."""
    created = market.raw.get("created")
    return int(created) // step * step if isinstance(created, int) else 0
