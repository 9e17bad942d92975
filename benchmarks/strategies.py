"""What bad strategies cost an order: enqueue to ack beside them, against the same on a quiet desk.

    python -m benchmarks strategies [--quick]

The processes are those of a desk: an executor, and beside it the updates' worker at its niceness, in which
`run_strategies` asks strategies that raise, hang, burn a processor, return nonsense and want 10,000 orders, each in a
process of its own. On a desk they are asked every 30 seconds; here again and again, without a pause: the worst case.
Quiet blocks of orders, in which nobody is asked, take turns with such ones; an order of the one and an order of the
other make a pair. The ratio is 1 + median difference / median when quiet, the tails' ratio that of the 99th
percentiles, both with a 95 % interval by resampling the pairs. Quiet against quiet is the control. Takes less than
four minutes. Prints one JSON object, writes it to benchmarks/results/strategies.json, and fails above 1.2: for the
median always, for the tail where its interval says that it is longer at all.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bad_strategies import TOLD
from benchmarks.notify import RESAMPLED, RTT_MS, clear
from benchmarks.notify import figures as of_pairs
from benchmarks.orders import ACCOUNT, BURST, CLOCK, Bench, Helper, settings, with_bench
from benchmarks.orders import figures as of_values
from deployments.lineup import NICENESS
from kontor.config import KontorConfig
from kontor.desk import Desk
from kontor.exchange.opening import open_exchange
from kontor.notify import BackgroundSender, Outlet
from kontor.store import open_store
from kontor.strategies.hosts import IsolatingHost
from kontor.trading.runner import run_strategies

RESULTS = Path(__file__).parent / "results" / "strategies.json"
BAR = 1.2
SYMBOLS = 5
# Those that never answer are ended after so long: they burn for the whole of it, and their process is started anew.
# The others, to whom a busy machine leaves little, have more time to do what they are for.
TIMEOUT_SECONDS, PLENTY_SECONDS = 2.0, 10.0
ENDED = ("hangs", "burns")
# Orders fall anywhere into a run of the strategies.
SPREAD_SECONDS = 0.2
SETTLE_SECONDS = 0.5
START_SECONDS = 60.0


def config_of(symbols: Sequence[str]) -> KontorConfig:
    """All of them at once, each with its share."""
    strategies = {
        name: {
            "use": f"benchmarks.bad_strategies:{name.title()}",
            "symbols": list(symbols),
            "capital_share_percent": 100 // len(TOLD),
            "timeout_seconds": TIMEOUT_SECONDS if name in ENDED else PLENTY_SECONDS,
        }
        for name in TOLD
    }
    return KontorConfig.model_validate({"strategies": strategies})


async def refresh(desk: Desk) -> None:
    """What the updaters keep fresh: without it no strategy is asked."""
    now = desk.clock.now()
    await desk.store.market.save_tickers(ACCOUNT, list((await desk.exchange.fetch_tickers()).values()), now)
    await desk.store.account.save_balance(ACCOUNT, await desk.exchange.fetch_balance())
    await desk.store.account.save_positions(ACCOUNT, await desk.exchange.fetch_positions(), now)


async def trade(switch: str, url: str, store_url: str, *symbols: str) -> None:
    """The process of the updates' worker: while the switch says so, it asks its strategies and notes what they did."""
    os.nice(NICENESS["updates"])
    store, exchange, file = open_store(store_url), open_exchange(settings(url), clock=CLOCK), Path(switch)

    async def outlets() -> Sequence[Outlet]:
        return []

    notifier = BackgroundSender(outlets)
    await exchange.load_markets()
    desk = Desk(ACCOUNT, config_of(symbols), exchange, store, CLOCK, notifier)
    host, over = IsolatingHost(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    noted = Noted()
    print("ready", flush=True)
    while not over.is_set():
        asked = file.read_text() == "on"  # noqa: ASYNC240 - a tiny file
        if asked and not noted.active:
            await refresh(desk)
        noted.active = asked
        if asked:
            for run in await run_strategies(desk, host):
                # The first one starts the processes, which may take it all of its time.
                if noted.runs:
                    noted.see(run.strategy, run.error or "; ".join(run.left_out.values()))
            noted.runs += 1
        noted.write(file)
        await asyncio.sleep(0.02)
    await host.close()
    await notifier.close(seconds=0.1)
    await exchange.close()
    await store.close()


@dataclass(slots=True)
class Noted:
    """What the strategies' process has seen, in a file beside its switch."""

    active: bool = False
    runs: int = 0
    contained: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOLD, 0))
    strange: dict[str, str] = field(default_factory=dict)

    def see(self, name: str, said: str) -> None:
        """Count what is told as it must be; keep what is not."""
        if TOLD[name] in said if TOLD[name] else not said:
            self.contained[name] += 1
        else:
            self.strange[name] = said

    def write(self, switch: Path) -> None:
        """Say it."""
        said = {"active": self.active, "runs": self.runs, "contained": self.contained, "strange": self.strange}
        part = switch.with_suffix(".part")
        part.write_text(json.dumps(said))
        part.rename(switch.with_suffix(".json"))


@dataclass(frozen=True, slots=True)
class Strategies:
    """The strategies' process as the measuring one sees it."""

    switch: Path
    helper: Helper

    def said(self) -> dict[str, Any]:
        """What it noted last."""
        with contextlib.suppress(FileNotFoundError):
            return json.loads(self.switch.with_suffix(".json").read_text())
        return {"active": False, "runs": 0}

    async def turn(self, *, on: bool) -> None:
        """Have them asked, or not, and wait until it is so: the first run starts their processes."""
        self.switch.write_text("on" if on else "off")
        before = self.said()["runs"]
        async with asyncio.timeout(START_SECONDS):
            while self.said()["active"] is not on or (on and self.said()["runs"] == before):
                assert self.helper.process.poll() is None, "the strategies' process has ended"
                await asyncio.sleep(0.05)
        await asyncio.sleep(SETTLE_SECONDS)


async def block(bench: Bench, count: int, rng: random.Random) -> list[float]:
    """Seconds from enqueue to ack of so many orders, one at a time."""
    await clear(bench)
    taken: list[float] = []
    for number in range(count):
        await asyncio.sleep(rng.random() * SPREAD_SECONDS)
        taken += await bench.ours([bench.order(bench.markets[number % BURST])])
    return taken


async def compare(bench: Bench, strategies: Strategies, rounds: int, count: int, *, control: bool) -> dict[str, Any]:
    """Quiet blocks and others in turns; neither is always first."""
    pairs: list[tuple[float, float]] = []
    rng = random.Random(2)
    for number in range(rounds):
        taken: dict[bool, list[float]] = {}
        for beside in (True, False) if number % 2 else (False, True):
            await strategies.turn(on=beside and not control)
            taken[beside] = await block(bench, count, rng)
        pairs += zip(taken[False], taken[True], strict=True)
    return of_pairs(pairs) | tails(pairs)


def tails(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """The 99th percentiles in milliseconds, and their ratio with its 95 % interval."""

    def p99(values: Sequence[float]) -> float:
        return of_values(values)["p99_ms"]

    def ratio(some: Sequence[tuple[float, float]]) -> float:
        return p99([beside for _, beside in some]) / p99([quiet for quiet, _ in some])

    rng = random.Random(3)
    again = sorted(ratio(rng.choices(pairs, k=len(pairs))) for _ in range(RESAMPLED))
    return {
        "usual_p99_ms": p99([quiet for quiet, _ in pairs]),
        "fault_p99_ms": p99([beside for _, beside in pairs]),
        "p99_ratio": round(ratio(pairs), 3),
        "p99_ratio_95": [round(again[int(share * RESAMPLED)], 3) for share in (0.025, 0.975)],
    }


async def main(*, quick: bool) -> int:
    """Measure, print, keep; the exit code says whether it is within the bar."""
    rounds, controls, count = (2, 2, 5) if quick else (8, 3, 45)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kontor-bench-strategies-") as folder:
        switch = Path(folder) / "switch"
        switch.write_text("off")

        async def work(bench: Bench) -> dict[str, Any]:
            symbols = [market.symbol for market in bench.markets[:SYMBOLS]]
            command = ("-m", "benchmarks.strategies", "trade", str(switch), bench.url, bench.store_url, *symbols)
            async with Helper(*command) as helper:
                assert await helper.line() == "ready"
                strategies = Strategies(switch, helper)
                beside = await compare(bench, strategies, rounds, count, control=False)
                nothing = await compare(bench, strategies, controls, count, control=True)
                return {
                    "enqueue_to_ack_20_ms": beside,
                    "controls": {"nothing_changed": nothing},
                    "strategies": strategies.said(),
                }

        results = await with_bench(RTT_MS, work)
    results["seconds"] = round(time.monotonic() - began)
    text = json.dumps(results, indent=2)
    print(text)
    if results["strategies"]["strange"]:
        print("the strategies did not do what they are for, so nothing was measured", file=sys.stderr)
        return 2
    if quick:
        return 0
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(f"{text}\n")
    measured = results["enqueue_to_ack_20_ms"]
    tail_is_longer = measured["p99_ratio_95"][0] > 1
    return int(measured["ratio"] > BAR or (tail_is_longer and measured["p99_ratio"] > BAR))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", nargs="?", choices=["trade"], help=argparse.SUPPRESS)
    parser.add_argument("places", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="few repetitions, no file: shows that it works, no more")
    given = parser.parse_args()
    if given.role == "trade":
        asyncio.run(trade(*given.places))
    else:
        sys.exit(asyncio.run(main(quick=given.quick)))
