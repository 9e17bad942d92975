"""Trading by rule: the strategies of kontor.yaml, phase by phase."""

from dataclasses import asdict
from functools import partial
from typing import Any

from prefect import flow

from flows.shell import run_named_flow
from tasks.desk import open_desk, updater
from tasks.hooks import alert
from tasks.trading import (
    ask_strategies,
    describe,
    each_phase,
    show_strategies,
    tell_trouble,
    watch_exits,
    watch_limits,
    watch_venue,
)

# So that one which hangs leaves the other its time.
PHASE_SECONDS = 13


@flow(name="run-strategies", timeout_seconds=30, on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
@updater
async def run_strategies(account: str = "paper") -> dict[str, Any]:
    """Ask each enabled strategy what to do now, and queue it through the gate.

    A strategy that fails is told of and does nothing; the others go on. A run that is repeated finds the orders it made
    by their client order ids: strategy, symbol, candle and leg. So it is never retried with another outcome.
    """
    async with open_desk(account, updater="run-strategies") as desk:
        runs = await ask_strategies(desk)
        await tell_trouble(desk, runs)
    await show_strategies(account, runs)
    return describe(runs)


@flow(name="check-exits", timeout_seconds=10, on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
@updater
async def check_exits(account: str = "paper") -> dict[str, Any]:
    """Close strategies' positions that a rule of theirs ends: stop loss, take profit, trailing stop, time stop.

    Apart from run-strategies: a strategy that fails, or was removed, still has its exits until it is flat.
    """
    async with open_desk(account, updater="check-exits") as desk:
        report = await watch_exits(desk)
    return asdict(report)


@flow(name="monitor-risk", timeout_seconds=30, on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
@updater
async def monitor_risk(account: str = "paper") -> dict[str, Any]:
    """Hold drawdown, the day's loss, exposure and order rate against kontor.yaml's limits; a breach halts trading.

    Markets that are suspended or delisted and the venue's maintenance are looked at as well: no entries there.
    Halted means: no new risk, entries that rest are canceled, what only makes positions smaller goes on, and only the
    flow resume-trading ends it. The two looks are apart: what fails in one is told after the other.
    """
    async with open_desk(account, updater="monitor-risk") as desk:
        phases = {"limits": partial(watch_limits, desk), "venue": partial(watch_venue, desk)}
        found = await each_phase(phases, seconds=PHASE_SECONDS)
    report, venue = found["limits"], found["venue"]
    figures = {name: str(getattr(report, name)) for name in ("equity", "peak", "day_start", "exposure")}
    lists = {"breaches": [breach.sentence for breach in report.breaches], "halted": report.halted}
    return figures | lists | {"canceled": report.canceled, "unpriced": report.unpriced, **venue}


if __name__ == "__main__":
    run_named_flow(globals())
