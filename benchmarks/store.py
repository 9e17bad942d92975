"""What the store costs: candles against a row each, and the way of an order from one process to another.

    python benchmarks/store.py [--quick]

Prints one JSON object and writes it to benchmarks/results/store.json. Ratios are ours / theirs on the same machine in
the same run, so that they mean something elsewhere; figures in milliseconds are from whatever machine ran it.
"""

import argparse
import asyncio
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import numpy as np

from kontor.domain.market import Candles
from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.ports import Store
from kontor.store import open_store

RESULTS = Path(__file__).parent / "results" / "store.json"
MARKETS, CANDLES = 200, 1000
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROW_TABLE = """CREATE TABLE rows (symbol TEXT, at INTEGER, open REAL, high REAL, low REAL, close REAL, volume REAL,
PRIMARY KEY (symbol, at)) WITHOUT ROWID"""
ROW_UPSERT = """INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET open = excluded.open,
high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume"""
ROW_SELECT = "SELECT at, open, high, low, close, volume FROM rows WHERE symbol = ? ORDER BY at DESC LIMIT ?"


def milliseconds(values: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    ordered = sorted(values)
    return {
        "p50_ms": round(statistics.median(ordered) * 1000, 3),
        "p99_ms": round(ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)] * 1000, 3),
    }


async def timed(work: Callable[[], Awaitable[Any]], repeat: int) -> float:
    """The median duration of some work."""
    durations: list[float] = []
    for _ in range(repeat):
        start = time.perf_counter()
        await work()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def make_candles(first: int, count: int) -> dict[str, Candles]:
    """The same number of candles for every market."""
    random = np.random.default_rng(first)
    made: dict[str, Candles] = {}
    for i in range(MARKETS):
        candles = random.random((count, 6)) * 100
        candles[:, 0] = (29_000_000 + first + np.arange(count)) * 60_000.0
        made[f"M{i}/USD:USD"] = candles
    return made


class Rows:
    """What one would write first: one row a candle, with everything SQLite offers to make it quick."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute(ROW_TABLE)

    async def save(self, candles: dict[str, Candles]) -> None:
        rows = [(symbol, int(row[0]), *row[1:]) for symbol, array in candles.items() for row in array.tolist()]
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(ROW_UPSERT, rows)
        self.connection.execute("COMMIT")

    async def load(self, symbols: list[str]) -> dict[str, Candles]:
        return {
            symbol: np.array(self.connection.execute(ROW_SELECT, (symbol, CANDLES)).fetchall())[::-1]
            for symbol in symbols
        }


async def candle_figures(folder: Path, repeat: int) -> dict[str, Any]:
    """A full refresh, the minute's two candles, and reading a thousand, for 200 markets."""
    store = open_store(f"sqlite:///{folder}/candles.db")
    await store.migrate()
    rows = Rows(folder / "rows.db")
    full, minute = make_candles(0, CANDLES), make_candles(CANDLES - 1, 2)
    symbols = list(full)
    work: dict[str, tuple[Callable[[], Awaitable[Any]], Callable[[], Awaitable[Any]]]] = {
        "refresh_200x1000": (
            lambda: store.market.save_candles("paper", "1m", full),
            lambda: rows.save(full),
        ),
        "minute_200x2": (
            lambda: store.market.save_candles("paper", "1m", minute),
            lambda: rows.save(minute),
        ),
        "read_200x1000": (
            lambda: store.market.candles("paper", "1m", symbols, limit=CANDLES),
            lambda: rows.load(symbols),
        ),
    }
    figures: dict[str, Any] = {}
    for name, (ours, theirs) in work.items():
        mine, naive = await timed(ours, repeat), await timed(theirs, repeat)
        figures[name] = {
            "ours_ms": round(mine * 1000, 1),
            "rows_ms": round(naive * 1000, 1),
            "ratio": round(mine / naive, 3),
        }
    await store.close()
    rows.connection.close()
    return figures


def make_order(i: int) -> Order:
    return Order(f"bench{i}", "paper", f"S{i}", Side.BUY, OrderType.LIMIT, Decimal("0.1"), NOW, price=Decimal(100))


async def claim(url: str) -> None:
    """The executor's side: wait, look, commit SUBMITTED; tells when it knew of each order and when that was on disk."""
    store = open_store(url)
    await store.orders.pending("paper")
    tell("ready")
    while True:
        await store.orders.wait_for_change("paper", seconds=60)
        orders = await store.orders.pending("paper")
        seen = time.monotonic()
        changes = [(order, replace(order, state=OrderState.SUBMITTED, attempts=1)) for order in orders]
        await store.orders.record(changes, actor="bench", at=NOW)
        for order in orders:
            tell(f"{order.client_order_id} {seen} {time.monotonic()}")


async def refresh(url: str) -> None:
    """The updates process: a full candle refresh, again and again with a second's rest."""
    store = open_store(url)
    candles = make_candles(0, CANDLES)
    tell("ready")
    while True:
        await store.market.save_candles("paper", "1m", candles)
        await asyncio.sleep(1)


async def idle(url: str) -> None:
    """A process that only waits; tells the share of a core that this takes."""
    store = open_store(url)
    await store.orders.wait_for_change("paper", seconds=0.2)
    start, cpu = time.monotonic(), time.process_time()
    await store.orders.wait_for_change("paper", seconds=3)
    tell(str((time.process_time() - cpu) / (time.monotonic() - start)))
    await store.close()


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Helper:
    """One of the roles above in a process of its own."""

    def __init__(self, role: str, url: str) -> None:
        self.process = subprocess.Popen([sys.executable, __file__, role, url], stdout=subprocess.PIPE, text=True)

    async def line(self) -> str:
        assert self.process.stdout
        return (await asyncio.to_thread(self.process.stdout.readline)).strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


async def order_figures(folder: Path, count: int, *, with_refresh: bool) -> dict[str, Any]:
    """From the call of enqueue in one process to the claim in another, on disk."""
    url = f"sqlite:///{folder}/orders{with_refresh}.db"
    store = open_store(url)
    await store.migrate()
    enqueued: list[float] = []
    noticed: list[float] = []
    claimed: list[float] = []
    with Helper("claim", url) as executor:
        await executor.line()
        with Helper("refresh" if with_refresh else "idle", url) as other:
            if with_refresh:
                await other.line()
            for i in range(count):
                start = time.monotonic()
                await store.orders.enqueue([make_order(i)], "bench")
                committed = time.monotonic()
                _, seen, on_disk = (await executor.line()).split()
                enqueued.append(committed - start)
                noticed.append(float(seen) - committed)
                claimed.append(float(on_disk) - start)
                await asyncio.sleep(0.01)
    await store.close()
    return {"enqueue": milliseconds(enqueued), "notice": milliseconds(noticed), "claimed": milliseconds(claimed)}


def bare_commits(folder: Path, count: int) -> list[float]:
    """The floor: one small row into SQLite, on disk."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT)")
    durations: list[float] = []
    for _ in range(count):
        start = time.perf_counter()
        connection.execute("INSERT INTO t (value) VALUES (?)", ("x" * 300,))
        durations.append(time.perf_counter() - start)
    connection.close()
    return durations


async def idle_share(store: Store, url: str) -> float:
    """The share of a core that waiting for orders takes."""
    await store.migrate()
    with Helper("idle", url) as waiter:
        return float(await waiter.line())


async def main(*, quick: bool) -> None:
    repeat, count = (1, 30) if quick else (5, 200)
    with tempfile.TemporaryDirectory(prefix="kontor-bench-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/idle.db"
        store = open_store(url)
        share = await idle_share(store, url)
        await store.close()
        bare = milliseconds(bare_commits(folder, count))
        quiet = await order_figures(folder, count, with_refresh=False)
        busy = await order_figures(folder, count, with_refresh=True)
        figures = {
            "candles": await candle_figures(folder, repeat),
            "orders": {
                "bare_commit": bare,
                "quiet": quiet,
                "during_candle_refresh": busy,
                "claimed_ratio_to_two_bare_commits": round(quiet["claimed"]["p50_ms"] / (2 * bare["p50_ms"]), 2),
                "p99_ratio_during_refresh": round(busy["claimed"]["p99_ms"] / quiet["claimed"]["p99_ms"], 2),
            },
            "idle_wait_share_of_a_core": round(share, 4),
        }
    RESULTS.parent.mkdir(exist_ok=True)
    text = json.dumps(figures, indent=2)
    RESULTS.write_text(f"{text}\n")
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", nargs="?", choices=["claim", "refresh", "idle"], help=argparse.SUPPRESS)
    parser.add_argument("url", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    given = parser.parse_args()
    roles = {"claim": claim, "refresh": refresh, "idle": idle}
    asyncio.run(roles[given.role](given.url) if given.role else main(quick=given.quick))
