"""Candles of 200 markets against what one would write with ccxt alone: part of `make bench BENCH=streams`.

200 markets x 500 with the limiter on, against a bare ccxt gather that builds the same arrays; both sides begin each
round with the same full token bucket. Then update-candles' refresh of all of them: cold, with nothing due, a candle
later without a stream, and so with stream-market running, as it does on every desk.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.venues import bare_client, process
from kontor.config import KontorConfig
from kontor.desk import Desk
from kontor.exchange.opening import open_exchange
from kontor.exchange.streams import CcxtStreams
from kontor.ports import ExchangeSettings
from kontor.resilience.clock import SystemClock
from kontor.resilience.connection_gate import ConnectionGate
from kontor.resilience.rate_budget import RESERVE, Priority, RateBudget
from kontor.store import open_store
from kontor.streams.freshness import load_channels
from kontor.streams.market import MarketStreamer
from kontor.streams.streamer import StreamParts
from tasks.market_data import refresh_candles

MARKETS, CANDLES = 200, 500
PER_SECOND = 100.0
MINUTE_MS = 60_000


async def bare_candles(client: Any, symbols: list[str], since: int) -> dict[str, Any]:
    """500 candles of each as an array, two pages, all at once."""

    async def one(symbol: str) -> Any:
        first = await client.fetch_ohlcv(symbol, "1m", since, 300)
        second = await client.fetch_ohlcv(symbol, "1m", since + 300 * MINUTE_MS, CANDLES - 300)
        return np.array(first + second, dtype=np.float64)

    return dict(zip(symbols, await asyncio.gather(*(one(symbol) for symbol in symbols)), strict=True))


def fill_bucket(client: Any) -> None:
    """Give ccxt's throttler the bucket that our long series of candles begin with.

    That is a second's worth less what it leaves to orders and prices. As it comes, ccxt's holds one token, and does
    not fill up while nobody waits: a round of ours would begin with a burst that the other side does not have.
    """
    tokens = PER_SECOND * (1 - RESERVE[Priority.HISTORY])
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
            at = datetime.fromtimestamp(since / 1000, UTC)
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


@dataclass
class Refresh:
    """One refresh of all markets."""

    seconds: float
    requests: int
    updated: int


async def measure_refresh(urls: dict[str, str], symbols: tuple[str, ...], home: Path, rounds: int) -> dict[str, Any]:
    """update-candles' own step, without a limiter: cold, with nothing due, one candle later, and so with the stream."""
    clock = SystemClock()
    settings = ExchangeSettings("okx", "paper", urls=urls, requests_per_second=100_000.0)
    exchange = open_exchange(settings, clock=clock)
    await exchange.load_markets()
    streams = {"tickers": False, "trades": False}
    config = KontorConfig.model_validate({"candles": {"keep": CANDLES, "fan_out": 20}, "streams": streams})
    cold, by_rest, idle, streamed = [], [], [], []
    for number in range(rounds):
        store = open_store(f"sqlite:///{home}/candles{number}.db")
        await store.migrate()
        await store.market.save_watchlist("paper", symbols, clock.now())
        desk = Desk("paper", config, exchange, store, clock, None)  # pyright: ignore[reportArgumentType]
        await _early_in_the_minute()
        cold.append(await _refresh(desk, symbols, urls))
        idle.append((await _refresh(desk, symbols, urls)).requests)
        await asyncio.sleep(61 - time.time() % 60)
        by_rest.append(await _refresh(desk, symbols, urls))
        assert by_rest[-1].updated == len(symbols), f"only {by_rest[-1].updated} of {len(symbols)} were updated"
        async with streaming(settings, desk):
            streamed.append(await _refresh_beside_the_stream(desk, symbols, urls))
        await store.close()
    await exchange.close()

    def ratio(later: list[Refresh]) -> float:
        return round(
            statistics.median(each.seconds / first.seconds for each, first in zip(later, cold, strict=True)), 3
        )

    return {
        "cold_refresh_s": round(statistics.median(each.seconds for each in cold), 3),
        "cold_requests": max(each.requests for each in cold),
        "incremental_refresh_s": round(statistics.median(each.seconds for each in streamed), 3),
        "incremental_requests": max(each.requests for each in streamed),
        "incremental_to_cold": ratio(streamed),
        "incremental_to_cold_limit": 0.1,
        "incremental_without_stream_s": round(statistics.median(each.seconds for each in by_rest), 3),
        "incremental_without_stream_requests": max(each.requests for each in by_rest),
        "incremental_without_stream_to_cold": ratio(by_rest),
        "requests_when_nothing_is_due": max(idle),
    }


async def _refresh(desk: Desk, symbols: tuple[str, ...], urls: dict[str, str]) -> Refresh:
    before, began = _requests(urls["rest"]), time.monotonic()
    updated, failed = await refresh_candles.fn(desk, symbols)
    seconds = time.monotonic() - began
    assert not failed, failed
    return Refresh(seconds, _requests(urls["rest"]) - before, updated)


@asynccontextmanager
async def streaming(settings: ExchangeSettings, desk: Desk) -> AsyncIterator[None]:
    """stream-market runs meanwhile, and has caught up."""
    streams = CcxtStreams(settings, clock=desk.clock, gate=ConnectionGate("bench", clock=desk.clock))
    parts = StreamParts(desk.account, desk.config, desk.store, desk.exchange, streams, desk.clock)
    task = asyncio.create_task(MarketStreamer(parts).run())
    try:
        async with asyncio.timeout(60):
            while not await _candles_are_fresh(desk):  # noqa: ASYNC110 - the store is looked at, which tells nobody
                await asyncio.sleep(0.1)
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await streams.close()


async def _candles_are_fresh(desk: Desk) -> bool:
    found = (await load_channels(desk.store.desk, desk.account, desk.clock.now())).get("candles")
    return found is not None and found.is_fresh and not found.left_out


async def _refresh_beside_the_stream(desk: Desk, symbols: tuple[str, ...], urls: dict[str, str]) -> Refresh:
    """At the time update-candles would ask for the next candle; every array must be what the venue tells by REST."""
    await asyncio.sleep(61 - time.time() % 60)
    refresh = await _refresh(desk, symbols, urls)
    end = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS
    since = datetime.fromtimestamp((end - CANDLES * MINUTE_MS) / 1000, UTC)
    kept = await desk.store.market.candles(desk.account, "1m", symbols, limit=CANDLES)
    for symbol in symbols:
        told = await desk.exchange.fetch_candles(symbol, "1m", since=since, limit=CANDLES)
        assert np.array_equal(kept[symbol], told), f"{symbol}: the store has other candles than the venue"
    return refresh


async def _early_in_the_minute() -> None:
    if time.time() % 60 > 35:  # noqa: PLR2004 - the minute must not end between two looks
        await asyncio.sleep(61 - time.time() % 60)


def _requests(url: str) -> int:
    stats = httpx.get(f"{url}/admin/stats", trust_env=False).json()
    return sum(count for name, count in stats["requests"].items() if "candles" in name)
