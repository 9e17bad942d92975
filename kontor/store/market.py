"""Markets, watchlist, tickers, candles and ranges on a SQL database. All of it the venue can tell again."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from kontor.domain.market import Candles, Market, Ticker
from kontor.domain.ranges import Range
from kontor.domain.snapshot import Snapshot
from kontor.store import candles as pages
from kontor.store.database import Database
from kontor.store.rows import chunks, columns_of, upsert, values_of
from kontor.store.snapshots import load_snapshot, save_snapshot
from kontor.store.tables import market as tables

# A refresh of all candles in one transaction would hold the write lock for 100 ms and more, and orders would wait: in
# batches of so many pages, with a breath between them that is longer than the pause of those who ask for the lock.
PAGES_AT_ONCE = 64
BREATH_SECONDS = 0.005

# The sides of the book are as new as the ticker; a price and its time go together, and only a price replaces a price.
FRESH = "excluded.last_at >= tickers.last_at"
PRICED = f"excluded.last IS NOT NULL AND (tickers.last IS NULL OR {FRESH})"
NEWEST = "DO UPDATE SET saved_at = excluded.saved_at, " + ", ".join(
    f"{name} = CASE WHEN {condition} THEN excluded.{name} ELSE tickers.{name} END"
    for name, condition in {
        "last": PRICED,
        "last_at": PRICED,
        "bid": FRESH,
        "ask": FRESH,
        "quote_volume": FRESH,
    }.items()
)


class SqlMarketStore:
    """The MarketStore port on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save_markets(self, account: str, markets: Mapping[str, Market], at: datetime) -> None:
        """Replace the account's markets."""

        def work(conn: Connection) -> None:
            self._database.serialize(conn, "markets", account)
            conn.execute(delete(tables.markets).where(tables.markets.c.account == account))
            rows = [{**values_of(market), "account": account, "saved_at": at} for market in markets.values()]
            if rows:
                conn.execute(insert(tables.markets), rows)

        await self._database.write(work, durable=False)

    async def markets(self, account: str) -> Mapping[str, Market]:
        """Every market by symbol."""
        query = (
            select(*columns_of(tables.markets, Market))
            .where(tables.markets.c.account == account)
            .order_by(tables.markets.c.symbol)
        )
        rows = await self._database.read(lambda conn: conn.execute(query).all())
        return {row.symbol: Market(*row) for row in rows}

    async def save_watchlist(self, account: str, symbols: Sequence[str], at: datetime) -> None:
        """Replace the watchlist."""
        rows = [{"symbol": symbol} for symbol in symbols]
        await self._database.write(
            lambda conn: save_snapshot(self._database, conn, tables.watchlist, account, rows, at), durable=False
        )

    async def watchlist(self, account: str) -> Snapshot[tuple[str, ...]] | None:
        """The watched symbols in their order; None before the first save."""
        found = await self._database.read(
            lambda conn: load_snapshot(conn, tables.watchlist, account, [tables.watchlist.c.symbol])
        )
        return None if found is None else Snapshot(tuple(row.symbol for row in found[0]), found[1])

    async def save_tickers(self, account: str, tickers: Collection[Ticker], at: datetime) -> None:
        """Keep the newest; a ticker without a last price, or older than the stored one, leaves price and time alone."""
        rows = [{**values_of(ticker, without=["raw"]), "account": account, "saved_at": at} for ticker in tickers]
        if rows:
            await self._database.write(lambda conn: conn.execute(upsert(tables.tickers, NEWEST), rows), durable=False)

    async def tickers(self, account: str, symbols: Collection[str] | None = None) -> Mapping[str, Ticker]:
        """Tickers by symbol, all of them or those asked for."""
        columns = columns_of(tables.tickers, Ticker, without=["raw"])
        query = select(*columns).where(tables.tickers.c.account == account).order_by(tables.tickers.c.symbol)
        queries = (
            [query]
            if symbols is None
            else [query.where(tables.tickers.c.symbol.in_(s)) for s in chunks(sorted(symbols))]
        )
        rows = await self._database.read(lambda conn: [row for each in queries for row in conn.execute(each)])
        return {row.symbol: Ticker(*row) for row in rows}

    async def save_candles(self, account: str, timeframe: str, candles: Mapping[str, Candles]) -> None:
        """Insert or replace by symbol and open time; one statement and one transaction for each 64 pages."""
        for i, batch in enumerate(pages.batches(candles, PAGES_AT_ONCE)):
            if i:
                await asyncio.sleep(BREATH_SECONDS)
            parts = await asyncio.to_thread(pages.split, batch, timeframe)

            def work(conn: Connection, parts: pages.Pages = parts) -> None:
                self._database.serialize(conn, "candles", account, timeframe)
                pages.save_pages(conn, account, timeframe, parts)

            await self._database.write(work, durable=False)

    async def candles(
        self, account: str, timeframe: str, symbols: Collection[str], *, limit: int = 1000
    ) -> Mapping[str, Candles]:
        """The newest `limit` candles of each symbol, oldest first; a symbol without any is left out."""
        return await self._database.read(lambda conn: pages.load_newest(conn, account, timeframe, symbols, limit))

    async def last_candle_at(self, account: str, timeframe: str) -> Mapping[str, datetime]:
        """Open time of the newest stored candle per symbol."""
        return await self._database.read(lambda conn: pages.newest_open_times(conn, account, timeframe))

    async def prune_candles(self, account: str, timeframe: str, *, keep: int) -> int:
        """Drop all but the newest `keep` candles per symbol; returns how many candles went."""

        def work(conn: Connection) -> int:
            self._database.serialize(conn, "candles", account, timeframe)
            return pages.prune_pages(conn, account, timeframe, max(keep, 0))

        return await self._database.write(work, durable=False)

    async def save_ranges(self, account: str, ranges: Collection[Range]) -> None:
        """Insert or replace by symbol."""
        rows = [{**values_of(range_), "account": account} for range_ in ranges]
        if rows:
            await self._database.write(lambda conn: conn.execute(upsert(tables.ranges), rows), durable=False)

    async def ranges(self, account: str) -> Mapping[str, Range]:
        """Ranges by symbol."""
        query = (
            select(*columns_of(tables.ranges, Range))
            .where(tables.ranges.c.account == account)
            .order_by(tables.ranges.c.symbol)
        )
        rows = await self._database.read(lambda conn: conn.execute(query).all())
        return {row.symbol: Range(*row) for row in rows}
