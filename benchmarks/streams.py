"""Streams and candles against what one would write with ccxt alone; `make bench BENCH=streams`.

Tickers: 200 markets at 10 updates a second each, from the venue's send to the committed row in SQLite, and the CPU
that takes, against a bare ccxt.pro loop that only keeps the newest in a dict. Candles: 200 markets x 500, limiter on,
against a bare ccxt gather that builds the same arrays; both sides begin each round with the same full token bucket.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ccxt.pro
import httpx
import numpy as np

from kontor.config import KontorConfig
from kontor.desk import Desk
from kontor.exchange.opening import open_exchange
from kontor.exchange.streams import CcxtStreams
from kontor.ports import ExchangeSettings
from kontor.resilience.clock import SystemClock
from kontor.resilience.connection_gate import ConnectionGate
from kontor.resilience.rate_budget import RESERVE, Priority, RateBudget
from kontor.store import open_store
from kontor.streams.market import MarketStreamer
from kontor.streams.streamer import StreamParts
from tasks.market_data import refresh_candles

RESULTS = Path(__file__).parent / "results" / "streams.json"
MARKETS, UPDATES, CANDLES = 200, 10, 500
WARM_SECONDS = 3.0
# A turn in which the venue sends less than this share of what it should proves nothing.
DELIVERED = 0.95
PER_SECOND = 100.0
MINUTE_MS = 60_000


@contextmanager
def process(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A program of ours beside this one, ended at the end."""
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.terminate()
        child.wait()


@contextmanager
def ticker_venue() -> Iterator[dict[str, str]]:
    """The addresses of a venue that says tickers."""
    with process(["-m", "benchmarks.ticker_venue", str(MARKETS), str(UPDATES)]) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        yield {"rest": f"http://127.0.0.1:{port}", "ws": f"ws://127.0.0.1:{port}/ws/v5"}


def bare_client(urls: dict[str, str], **more: Any) -> Any:
    """Ccxt as everybody uses it."""
    config: Any = {"urls": {"api": urls}, "options": {"fetchMarkets": {"types": ["spot"]}}, **more}
    return ccxt.pro.okx(config)


@dataclass
class Measured:
    """One side's turn: how late each price was, in seconds, and what that took."""

    lags: list[float]
    cpu: float
    sent_per_second: float


class Turn:
    """The measured part of a turn: CPU of this process, and what the venue sent meanwhile."""

    def __init__(self, urls: dict[str, str]) -> None:
        self._url = f"{urls['rest']}/sent"
        self._sent, self._cpu, self._began = self._count(), time.process_time(), time.monotonic()

    def end(self, lags: list[float]) -> Measured:
        """What it came to."""
        seconds, cpu = time.monotonic() - self._began, time.process_time() - self._cpu
        return Measured(lags, cpu / seconds, (self._count() - self._sent) / seconds)

    def _count(self) -> int:
        return httpx.get(self._url, trust_env=False).json()["sent"]


async def bare_tickers(urls: dict[str, str], seconds: float) -> Measured:
    """A bare loop, as in ccxt's examples: the newest of each market in a dict."""
    client = bare_client(urls)
    await client.load_markets()
    symbols, newest, lags = list(client.markets), {}, list[float]()
    until, turn = time.monotonic() + WARM_SECONDS + seconds, None
    while time.monotonic() < until:
        tickers = await client.watch_tickers(symbols)
        now = time.time()
        newest.update(tickers)
        if turn is None and time.monotonic() > until - seconds:
            turn = Turn(urls)
        elif turn is not None:
            lags += [now - float(ticker["last"]) for ticker in tickers.values()]
    assert turn is not None
    measured = turn.end(lags)
    await client.close()
    return measured


async def our_tickers(urls: dict[str, str], seconds: float, home: Path) -> Measured:
    """The same of stream-market, up to the committed row."""
    clock = SystemClock()
    settings = ExchangeSettings("okx", "paper", urls=urls, options={"fetchMarkets": {"types": ["spot"]}})
    store: Any = open_store(f"sqlite:///{home}/tickers.db")
    await store.migrate()
    exchange = open_exchange(settings, clock=clock)
    symbols = tuple(await exchange.load_markets())
    await store.market.save_watchlist("paper", symbols, clock.now())
    streams = CcxtStreams(settings, clock=clock, gate=ConnectionGate("bench", clock=clock))
    config = KontorConfig.model_validate({"streams": {"candles": False, "trades": False}})
    save, lags = store.market.save_tickers, list[float]()

    async def saved(account: str, tickers: Any, at: Any) -> None:
        await save(account, tickers, at)
        now = time.time()
        lags.extend(now - float(ticker.last) for ticker in tickers)

    store.market.save_tickers = saved
    parts = StreamParts("paper", config, store, exchange, streams, clock)
    task = asyncio.create_task(MarketStreamer(parts).run())
    await asyncio.sleep(WARM_SECONDS)
    turn = Turn(urls)
    lags.clear()
    await asyncio.sleep(seconds)
    measured = turn.end(list(lags))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await streams.close()
    await exchange.close()
    await store.close()
    return measured


def percentile(values: list[float], share: float) -> float:
    """Milliseconds."""
    return round(1000 * float(np.quantile(values, share)), 2)


async def measure_tickers(seconds: float, rounds: int, home: Path) -> dict[str, Any]:
    """Both in turn, medians over the rounds."""
    found: dict[str, list[dict[str, float]]] = {"bare ccxt.pro": [], "kontor": []}
    for number in range(rounds):
        for name, rows in found.items():
            with ticker_venue() as urls:
                if name == "kontor":
                    folder = home / str(number)
                    folder.mkdir()
                    turn = await our_tickers(urls, seconds, folder)
                else:
                    turn = await bare_tickers(urls, seconds)
            figures = {"p50_ms": percentile(turn.lags, 0.5), "p99_ms": percentile(turn.lags, 0.99)}
            figures |= {"cpu": round(turn.cpu, 3), "seen_per_second": round(len(turn.lags) / seconds)}
            rows.append({**figures, "sent_per_second": round(turn.sent_per_second)})
    medians = {
        name: {key: statistics.median(each[key] for each in rows) for key in rows[0]} for name, rows in found.items()
    }
    ratio = statistics.median(
        ours["cpu"] / bare["cpu"] for ours, bare in zip(found["kontor"], found["bare ccxt.pro"], strict=True)
    )
    least = min(row["sent_per_second"] for rows in found.values() for row in rows)
    return {**medians, "least_sent_per_second": least, "cpu_ratio": round(ratio, 3), "cpu_ratio_limit": 1.5}


async def bare_candles(client: Any, symbols: list[str], since: int) -> dict[str, Any]:
    """500 candles of each as an array, two pages, all at once."""

    async def one(symbol: str) -> Any:
        first = await client.fetch_ohlcv(symbol, "1m", since, 300)
        second = await client.fetch_ohlcv(symbol, "1m", since + 300 * MINUTE_MS, CANDLES - 300)
        return np.array(first + second, dtype=np.float64)

    return dict(zip(symbols, await asyncio.gather(*(one(symbol) for symbol in symbols)), strict=True))


def fill_bucket(client: Any) -> None:
    """Give ccxt's throttler the bucket that our market data begins with.

    That is a second's worth less what it leaves to orders. As it comes, ccxt's holds one token, and does not fill up
    while nobody waits: a round of ours would begin with a burst that the other side does not have.
    """
    tokens = PER_SECOND * (1 - RESERVE[Priority.MARKET_DATA])
    client.throttler.config |= {"capacity": tokens, "tokens": tokens}


async def measure_candles(rounds: int, home: Path) -> dict[str, Any]:
    """Cold with the limiter on, against bare ccxt; then incremental against cold; then nothing due."""
    paper = ["-m", "deployments.cli", "paper", "--port", "0", "--markets", str(MARKETS), "--no-persist"]
    with process([*paper, "--rate-limit-factor", "0"]) as child:
        assert child.stdout is not None
        url = child.stdout.readline().split()[-1]
        urls = {"rest": url, "ws": url.replace("http", "ws") + "/ws/v5"}
        clock = SystemClock()
        budget = RateBudget(PER_SECOND, PER_SECOND, clock)
        limited = open_exchange(ExchangeSettings("okx", "paper", urls=urls), clock=clock, budget=budget)
        # After opening, which set OKX's own rate.
        budget.set_limit(PER_SECOND, PER_SECOND)
        bare = bare_client(urls, enableRateLimit=True, rateLimit=1000 / PER_SECOND)
        bare.options["fetchMarkets"] = {"types": ["spot", "swap"]}
        await bare.load_markets()
        symbols = sorted(await limited.load_markets())
        ours_s, bare_s = [], []
        for _ in range(rounds):
            since = (int(time.time() * 1000) // MINUTE_MS - CANDLES - 2) * MINUTE_MS
            fill_bucket(bare)
            began = time.monotonic()
            theirs = await bare_candles(bare, symbols, since)
            bare_s.append(time.monotonic() - began)
            at = clock.now().fromtimestamp(since / 1000, clock.now().tzinfo)
            began = time.monotonic()
            found = await asyncio.gather(*(limited.fetch_candles(s, "1m", since=at, limit=CANDLES) for s in symbols))
            ours_s.append(time.monotonic() - began)
            same = sum(np.array_equal(mine, theirs[name]) for name, mine in zip(symbols, found, strict=True))
            assert same == len(symbols), f"only {same} of {len(symbols)} arrays are the same"
            await asyncio.sleep(2)
        await bare.close()
        await limited.close()
        refresh = await measure_refresh(urls, tuple(symbols), home, rounds)
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours_s, bare_s, strict=True))
    return {
        "kontor_s": round(statistics.median(ours_s), 3),
        "bare_ccxt_s": round(statistics.median(bare_s), 3),
        "ratio": round(ratio, 3),
        "ratio_limit": 1.05,
        **refresh,
    }


async def measure_refresh(urls: dict[str, str], symbols: tuple[str, ...], home: Path, rounds: int) -> dict[str, Any]:
    """update-candles' own step, without a limiter: cold, one candle later, and with nothing due."""
    clock = SystemClock()
    settings = ExchangeSettings("okx", "paper", urls=urls, requests_per_second=100_000.0)
    exchange = open_exchange(settings, clock=clock)
    await exchange.load_markets()
    config = KontorConfig.model_validate({"candles": {"keep": CANDLES, "fan_out": 20}})
    cold, incremental, idle = [], [], []
    for number in range(rounds):
        store = open_store(f"sqlite:///{home}/candles{number}.db")
        await store.migrate()
        desk = Desk("paper", config, exchange, store, clock, None)  # pyright: ignore[reportArgumentType]
        await _early_in_the_minute()
        began = time.monotonic()
        await refresh_candles.fn(desk, symbols)
        cold.append(time.monotonic() - began)
        before = _requests(urls["rest"])
        await refresh_candles.fn(desk, symbols)
        idle.append(_requests(urls["rest"]) - before)
        await asyncio.sleep(61 - time.time() % 60)
        began = time.monotonic()
        updated, failed = await refresh_candles.fn(desk, symbols)
        incremental.append(time.monotonic() - began)
        assert updated == len(symbols), f"{updated} of {len(symbols)} were updated; failed: {failed}"
        await store.close()
    await exchange.close()
    ratio = statistics.median(later / first for later, first in zip(incremental, cold, strict=True))
    return {
        "cold_refresh_s": round(statistics.median(cold), 3),
        "incremental_refresh_s": round(statistics.median(incremental), 3),
        "incremental_to_cold": round(ratio, 3),
        "incremental_to_cold_limit": 0.1,
        "requests_when_nothing_is_due": max(idle),
    }


async def _early_in_the_minute() -> None:
    if time.time() % 60 > 35:  # noqa: PLR2004 - the minute must not end between two looks
        await asyncio.sleep(61 - time.time() % 60)


def _requests(url: str) -> int:
    stats = httpx.get(f"{url}/admin/stats", trust_env=False).json()
    return sum(count for name, count in stats["requests"].items() if "candles" in name)


def main() -> int:
    """Measure, print, keep; exit code 1 when a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    seconds, rounds = (4.0, 1) if options.quick else (10.0, 3)
    with tempfile.TemporaryDirectory(prefix="kontor-bench-") as folder:
        home = Path(folder)
        found = {"tickers": asyncio.run(measure_tickers(seconds, rounds, home))}
        print(json.dumps(found["tickers"], indent=2), flush=True)
        found["candles"] = asyncio.run(measure_candles(rounds, home))
        print(json.dumps(found["candles"], indent=2), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    if not options.quick:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    candles = found["candles"]
    tickers = found["tickers"]
    if tickers["least_sent_per_second"] < DELIVERED * MARKETS * UPDATES:
        print(f"not valid: the venue sent only {tickers['least_sent_per_second']} updates a second", file=sys.stderr)
    broken = (
        tickers["least_sent_per_second"] < DELIVERED * MARKETS * UPDATES
        or tickers["cpu_ratio"] > tickers["cpu_ratio_limit"]
        or candles["ratio"] > candles["ratio_limit"]
        or candles["incremental_to_cold"] > candles["incremental_to_cold_limit"]
        or candles["requests_when_nothing_is_due"] > 0
    )
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
