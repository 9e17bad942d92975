"""Candles in pages: an array of up to 128 candles is one row (docs/adr/0004-candle-storage.md)."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection, Subquery, and_, bindparam, delete, func, select

from kontor.domain.market import NO_CANDLES, Candles
from kontor.errors import StoreError
from kontor.store.columns import EPOCH
from kontor.store.rows import chunks, upsert
from kontor.store.tables.market import candle_pages as table

PAGE_CANDLES = 128
# The stored form, whatever the machine's byte order.
STORED = np.dtype("<f8")
WIDTH = 6
UNIT_MILLISECONDS: Mapping[str, int] = {
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "M": 2_592_000_000,
}

PageKey = tuple[str, int]
Pages = dict[PageKey, Candles]


def page_milliseconds(timeframe: str) -> int:
    """How much time one page of this timeframe covers."""
    number, unit = timeframe[:-1], timeframe[-1:]
    if not number.isdecimal() or unit not in UNIT_MILLISECONDS:
        raise StoreError(f"{timeframe!r} is not a timeframe: write it like 1m, 4h or 1d")
    return int(number) * UNIT_MILLISECONDS[unit] * PAGE_CANDLES


def merge(old: Candles, new: Candles) -> Candles:
    """Both by open time, ascending; of two candles with one open time the later given stays. `old` is in order."""
    new = np.asarray(new, dtype=np.float64)
    in_order = bool(np.all(new[1:, 0] > new[:-1, 0]))
    if in_order and len(old) == 0:
        return new
    if in_order and len(new):
        first = int(np.searchsorted(old[:, 0], new[0, 0]))
        tail = old[first:, 0]
        if np.array_equal(tail, new[: len(tail), 0]):
            # The usual refresh: the last ones again, and those that have come since.
            return np.concatenate([old[:first], new])
    joined = np.concatenate([old, new])
    # `unique` finds the first of equal open times, so it looks from behind.
    _, from_behind = np.unique(joined[::-1, 0], return_index=True)
    return joined[len(joined) - 1 - from_behind]


def batches(candles: Mapping[str, Candles], most: int) -> Iterator[dict[str, Candles]]:
    """The candles, so many symbols at a time that they touch about `most` pages."""
    batch: dict[str, Candles] = {}
    touched = 0
    for symbol, given in candles.items():
        count = 1 + len(given) // PAGE_CANDLES
        if batch and touched + count > most:
            yield batch
            batch, touched = {}, 0
        batch[symbol] = given
        touched += count
    if batch:
        yield batch


def split(candles: Mapping[str, Candles], timeframe: str) -> Pages:
    """The candles by page, in order; this takes a while, so it is done before the write lock is taken."""
    span = page_milliseconds(timeframe)
    pages: Pages = {}
    for symbol, given in candles.items():
        ordered = merge(NO_CANDLES, given)
        while len(ordered):
            page = int(ordered[0, 0] // span)
            end = int(np.searchsorted(ordered[:, 0], (page + 1) * span))
            pages[symbol, page], ordered = ordered[:end], ordered[end:]
    return pages


def save_pages(conn: Connection, account: str, timeframe: str, parts: Pages) -> None:
    """Merge candles into their pages: one query for the pages that are only partly given, one statement for all."""
    partial = [key for key, part in parts.items() if len(part) < PAGE_CANDLES]
    stored = _load(conn, account, timeframe, partial)
    rows = [
        _row(account, timeframe, key, merge(stored[key], part) if key in stored else part)
        for key, part in parts.items()
    ]
    if rows:
        conn.execute(upsert(table), rows)


def load_newest(
    conn: Connection, account: str, timeframe: str, symbols: Collection[str], limit: int
) -> dict[str, Candles]:
    """The newest `limit` candles per symbol, ascending; a symbol without any is left out."""
    if limit <= 0:
        return {}
    found: dict[str, list[bytes]] = {}
    for some in chunks(sorted(set(symbols))):
        newer = _newer_counts(account, timeframe, table.c.symbol.in_(some))
        oldest = select(newer.c.symbol, func.min(newer.c.page)).where(newer.c.newer < limit).group_by(newer.c.symbol)
        # The pages that hold the limit; by two plain queries, because a join of them led PostgreSQL astray.
        first: dict[str, int] = dict(conn.execute(oldest).tuples().all())
        if not first:
            continue
        query = select(table.c.symbol, table.c.page, table.c.candles).where(
            _of(account, timeframe), table.c.symbol.in_(first), table.c.page >= min(first.values())
        )
        for symbol, page, data in conn.execute(query.order_by(table.c.symbol, table.c.page)):
            if page >= first[symbol]:
                found.setdefault(symbol, []).append(data)
    return {symbol: _array(b"".join(pages))[-limit:] for symbol, pages in found.items()}


def newest_open_times(conn: Connection, account: str, timeframe: str) -> dict[str, datetime]:
    """Open time of the newest candle per symbol."""
    query = (
        select(table.c.symbol, func.max(table.c.newest_at))
        .where(table.c.account == account, table.c.timeframe == timeframe)
        .group_by(table.c.symbol)
    )
    return {symbol: at for symbol, at in conn.execute(query)}  # noqa: C416, a Row is no pair for the type checker


def prune_pages(conn: Connection, account: str, timeframe: str, keep: int) -> int:
    """Drop all but the newest `keep` candles per symbol; returns how many went."""
    newer = _newer_counts(account, timeframe)
    rows = conn.execute(
        select(newer.c.symbol, newer.c.page, newer.c.length, newer.c.newer).where(newer.c.newer + newer.c.length > keep)
    ).all()
    gone = [row for row in rows if row.newer >= keep]
    edge = {(row.symbol, row.page): keep - row.newer for row in rows if row.newer < keep}
    stored = _load(conn, account, timeframe, list(edge))
    trimmed = [_row(account, timeframe, key, stored[key][-left:]) for key, left in edge.items()]
    if trimmed:
        conn.execute(upsert(table), trimmed)
    if gone:
        this_page = and_(_of(account, timeframe), table.c.symbol == bindparam("s"), table.c.page == bindparam("p"))
        conn.execute(delete(table).where(this_page), [{"s": row.symbol, "p": row.page} for row in gone])
    return sum(row.length for row in rows) - sum(edge.values())


def _of(account: str, timeframe: str) -> Any:
    return and_(table.c.account == account, table.c.timeframe == timeframe)


def _newer_counts(account: str, timeframe: str, *conditions: Any) -> Subquery:
    """Per page: how many candles of its symbol lie in newer pages."""
    so_far = func.sum(table.c.length).over(partition_by=table.c.symbol, order_by=table.c.page.desc())
    return (
        select(table.c.symbol, table.c.page, table.c.length, (so_far - table.c.length).label("newer"))
        .where(_of(account, timeframe), *conditions)
        .subquery()
    )


def _load(conn: Connection, account: str, timeframe: str, keys: list[PageKey]) -> Pages:
    wanted = set(keys)
    pages = sorted({page for _, page in wanted})
    found: Pages = {}
    for some in chunks(sorted({symbol for symbol, _ in wanted})):
        query = select(table.c.symbol, table.c.page, table.c.candles).where(
            _of(account, timeframe), table.c.symbol.in_(some), table.c.page.in_(pages)
        )
        found |= {
            (symbol, page): _array(data) for symbol, page, data in conn.execute(query) if (symbol, page) in wanted
        }
    return found


def _row(account: str, timeframe: str, key: PageKey, candles: Candles) -> dict[str, Any]:
    symbol, page = key
    return {
        "account": account,
        "timeframe": timeframe,
        "symbol": symbol,
        "page": page,
        "length": len(candles),
        "newest_at": open_time(candles[-1, 0]),
        "candles": np.ascontiguousarray(candles, dtype=STORED).tobytes(),
    }


def _array(data: bytes) -> Candles:
    return np.frombuffer(data, dtype=STORED).astype(np.float64).reshape(-1, WIDTH)


def open_time(milliseconds: float) -> datetime:
    """The moment a candle's first column names."""
    return EPOCH + timedelta(milliseconds=int(milliseconds))
