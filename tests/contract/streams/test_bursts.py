"""A venue that says more than can be read at the moment: nothing of ours stands still afterwards."""

from __future__ import annotations

import asyncio
import sys
import time

from kontor.exchange.streams import CcxtStreams
from kontor.ports import ExchangeSettings
from kontor.resilience.clock import SystemClock
from kontor.resilience.connection_gate import ConnectionGate

MARKETS, UPDATES = 200, 10
STALLS, STALL_SECONDS = 3, 0.6


async def test_a_stream_goes_on_after_its_process_could_not_read_for_a_while() -> None:
    """With ccxt's own reading loop it does not: aiohttp stops reading once its buffer was full, and never resumes."""
    venue = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.ticker_venue", str(MARKETS), str(UPDATES)), stdout=asyncio.subprocess.PIPE
    )
    clock = SystemClock()
    try:
        assert venue.stdout is not None
        port = int(await venue.stdout.readline())
        urls = {"rest": f"http://127.0.0.1:{port}", "ws": f"ws://127.0.0.1:{port}/ws/v5"}
        settings = ExchangeSettings("okx", "paper", urls=urls, options={"fetchMarkets": {"types": ["spot"]}})
        streams = CcxtStreams(settings, clock=clock, gate=ConnectionGate("burst", clock=clock))
        symbols = [f"M{number:03d}/USD" for number in range(MARKETS)]
        try:
            while not await streams.tickers(symbols, seconds=1):
                pass
            for _ in range(STALLS):
                time.sleep(STALL_SECONDS)  # noqa: ASYNC251 - what a garbage collection or a neighbour does to a loop
                await _catch_up(streams, symbols)
            assert streams.breaks == 0
        finally:
            await streams.close()
    finally:
        venue.terminate()
        await venue.wait()


async def _catch_up(streams: CcxtStreams, symbols: list[str]) -> None:
    """Read until a price was sent after this moment; each price is the time it was sent at."""
    now = time.time()
    async with asyncio.timeout(30):
        while True:
            tickers = await streams.tickers(symbols, seconds=1)
            if any(float(ticker.last or 0) > now for ticker in tickers.values()):
                return
