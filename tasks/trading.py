"""Steps of trading by rule: run the strategies, tell what went wrong, show what was done."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from prefect import task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from kontor.desk import Desk
from kontor.ports import Alert
from kontor.trading import runner
from kontor.trading.runner import StrategyRun
from tasks.resources import Resources

TROUBLE = "strategies_in_trouble"


@task(cache_policy=NO_CACHE)
async def ask_strategies(desk: Desk) -> list[StrategyRun]:
    """Ask every enabled strategy and queue what they want; one result each."""
    return await runner.run_strategies(desk, Resources.here().strategies)


@task(cache_policy=NO_CACHE)
async def tell_trouble(desk: Desk, runs: Sequence[StrategyRun]) -> None:
    """Alert once when a strategy starts to fail or fails differently, and once when it works again."""
    now = desk.clock.now()
    stored = await desk.store.desk.attribute(desk.account, TROUBLE)
    before: Mapping[str, str] = stored.value if stored and stored.value else {}
    trouble = {run.strategy: run.error for run in runs if run.error is not None}
    for name, error in trouble.items():
        if before.get(name) != error:
            desk.notifier.notify(Alert(f"Strategy {name} fails", error, "critical", now, desk.account))
    for name in sorted({run.strategy for run in runs} & before.keys() - trouble.keys()):
        desk.notifier.notify(Alert(f"Strategy {name} works again", "It decided.", "info", now, desk.account))
    if trouble != before:
        await desk.store.desk.set_attribute(desk.account, TROUBLE, trouble, now)


@task(cache_policy=NO_CACHE)
async def show_strategies(account: str, runs: Sequence[StrategyRun]) -> None:
    """What each strategy did, as a table in the Prefect UI, under Artifacts."""
    rows = [
        {
            "strategy": run.strategy,
            "placed": len(run.placed),
            "denied": "; ".join(run.denied.values()),
            "refused": "; ".join(f"{each.symbol} {each.leg}: {each.reason}" for each in run.refused),
            "canceled": len(run.canceled),
            "left out": "; ".join(f"{symbol}: {reason}" for symbol, reason in run.left_out.items()),
            "error": run.error or "",
        }
        for run in runs
    ]
    if rows:
        await acreate_table_artifact(
            key=f"strategies-{account}".replace("_", "-").lower(), table=rows, description=f"Strategies of {account}"
        )


def describe(runs: Sequence[StrategyRun]) -> dict[str, Any]:
    """The results as JSON, by strategy, without what is empty."""
    return {
        run.strategy: {name: value for name, value in asdict(run).items() if value and name != "strategy"}
        for run in runs
    }
