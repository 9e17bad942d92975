"""Streams and candles against what one would write with ccxt alone; `make bench BENCH=streams`.

Tickers: 200 markets at 10 updates a second each, from the venue's send to the committed row in SQLite, and the CPU
that takes, against a bare ccxt.pro loop that only keeps the newest in a dict. Candles: `benchmarks/candle_refresh.py`.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.candle_refresh import MARKETS, measure_candles
from benchmarks.venues import bare_client, process
from kontor.config import KontorConfig
from kontor.exchange.opening import open_exchange
from kontor.exchange.streams import CcxtStreams
from kontor.ports import ExchangeSettings
from kontor.resilience.clock import SystemClock
from kontor.resilience.connection_gate import ConnectionGate
from kontor.store import open_store
from kontor.streams.market import MarketStreamer
from kontor.streams.streamer import StreamParts

RESULTS = Path(__file__).parent / "results" / "streams.json"
UPDATES = 10
WARM_SECONDS = 3.0
# A turn in which the venue sends less than this share of what it should proves nothing.
DELIVERED = 0.95


@contextmanager
def ticker_venue() -> Iterator[dict[str, str]]:
    """The addresses of a venue that says tickers."""
    with process(["-m", "benchmarks.ticker_venue", str(MARKETS), str(UPDATES)]) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        yield {"rest": f"http://127.0.0.1:{port}", "ws": f"ws://127.0.0.1:{port}/ws/v5"}


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
