"""A day of three strategies at once on the paper exchange's engine, in one process on one virtual clock.

`python -m tests.chaos.trading_day --hours 24`: trend, range and grid on swaps and spot, limits and stops. At the end
our ledger equals the exchange's account statement to the cent, funding included, the strategies' positions sum to what
the exchange holds, no limit was breached, and the exchange has refused nothing that the gate should have caught.
"""

import argparse
import math
import random
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from kontor.config import KontorConfig
from kontor.replay.desk import ReplayPlan, ReplayResult, replay
from kontor.replay.report import statistics, told
from kontor.store.memory import MemoryStore

START = datetime(2026, 1, 5, tzinfo=UTC)
# Before the day begins: ranges want a history.
HISTORY = timedelta(hours=20)
MARKETS = {"BTC-USD-SWAP": 60_000.0, "ETH-USD-SWAP": 3_000.0, "SOL-USD": 150.0}


def record(folder: Path, hours: float, seed: int) -> Path:
    """Candles of a market that swings, drifts and jitters."""
    rng = random.Random(seed)
    minutes = int(HISTORY.total_seconds() / 60 + hours * 60) + 1
    folder.mkdir(exist_ok=True)
    for name, base in MARKETS.items():
        drift, price = 0.0, base
        lines = ["ts,open,high,low,close,volume"]
        for minute in range(minutes):
            drift += rng.gauss(0, 0.0004)
            swing = 0.012 * math.sin(minute / 37) + 0.02 * math.sin(minute / 211)
            before, price = price, round(base * math.exp(drift + swing + rng.gauss(0, 0.0006)), 2)
            high, low = max(before, price) * (1 + rng.random() / 900), min(before, price) * (1 - rng.random() / 900)
            ts = int((START + timedelta(minutes=minute)).timestamp() * 1000)
            lines.append(f"{ts},{before:.2f},{high:.2f},{low:.2f},{price:.2f},{rng.uniform(20, 90):.1f}")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder


def settings() -> KontorConfig:
    """Three strategies with their shares, exits and limits."""
    return KontorConfig.model_validate(
        {
            "strategies": {
                "trend": {
                    "use": "sma_cross",
                    "symbols": ["BTC/USD:USD"],
                    "capital_share_percent": 40,
                    "parameters": {"timeframe": "5m", "fast": 3, "slow": 9, "short": True},
                    "exits": {"stop_loss_percent": 1.5, "trailing_percent": 1},
                },
                "ranges": {
                    "use": "range_reversion",
                    "symbols": ["ETH/USD:USD", "BTC/USD:USD"],
                    "capital_share_percent": 30,
                    "exits": {"stop_loss_percent": 3, "max_hours": 6},
                },
                "lines": {
                    "use": "grid",
                    "symbols": ["SOL/USD"],
                    "capital_share_percent": 30,
                    "parameters": {"lower": 120, "upper": 180, "lines": 25},
                },
            },
            "risk": {
                "max_order_value": 45_000,
                "max_position_value": 60_000,
                "max_exposure": 95_000,
                "max_open_orders": 100,
                "max_orders_per_minute": 60,
                "max_drawdown_percent": 40,
            },
        }
    )


def run(folder: Path, hours: float, seed: int) -> ReplayResult:
    """The day."""
    begin = START + HISTORY
    plan = ReplayPlan(settings(), record(folder, hours, seed), begin, begin + timedelta(hours=hours))
    return replay(plan, MemoryStore(prefix="tday"))


def problems(result: ReplayResult) -> list[str]:
    """What must not be."""
    found = [f"error, {count} times: {error}" for error, count in result.errors.items()]
    if result.apart:
        found.append(f"our ledger and the exchange's bills differ: {result.apart}")
    if result.positions_apart:
        found.append(f"the strategies' positions do not sum to what the exchange holds: {result.positions_apart}")
    # Paid every eight hours to whom holds a swap then; in a longer day somebody does.
    if result.end - result.begin > timedelta(hours=8) and not result.booked.get("funding"):
        found.append("the ledger has no funding")
    if result.halted:
        found.append(f"a limit was breached: {result.halted}")
    if result.orders.get("REJECTED"):
        found.append(f"the exchange refused {result.orders['REJECTED']} orders that the gate had passed")
    traders = {name for name, _ in result.fills}
    found += [f"{name} never traded" for name in ("trend", "ranges", "lines") if name not in traders]
    # What was realized, and what is open at the end, is what the equity says.
    if not result.fills or statistics(result).final_equity == result.capital + Decimal(0):
        found.append("nothing happened")
    return found


def main() -> int:
    """Run a day and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder) / "candles", given.hours, given.seed)
    for name, text in told(result, statistics(result)):
        sys.stdout.write(f"{name:<18} {text}\n")
    found = problems(result)
    sys.stdout.write(
        f"{given.hours:g} hours in {time.monotonic() - began:.0f} s; {'; '.join(found) or 'all is well'}\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
