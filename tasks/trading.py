"""Steps of trading by rule: run the strategies, tell what went wrong, show what was done."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import anyio
from prefect import get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from kontor.desk import Desk
from kontor.domain.identity import EXTERNAL
from kontor.errors import KontorError
from kontor.ports import Alert
from kontor.resilience.deadline import deadline
from kontor.trading import exits, monitor, runner, stops, venue_events
from kontor.trading.exits import ExitReport
from kontor.trading.monitor import RiskReport
from kontor.trading.positions import new_attributions
from kontor.trading.runner import StrategyRun
from tasks.artifacts import STRATEGIES, artifact_key
from tasks.resources import Resources

TROUBLE = "strategies_in_trouble"
EXITS_TOLD = "exits_told"
# What a run of the strategies keeps of its flow's timeout for what follows: alerts, artifact, result.
AFTERWARDS_SECONDS = 4.0


@task(cache_policy=NO_CACHE)
async def ask_strategies(desk: Desk) -> list[StrategyRun]:
    """Ask every enabled strategy and queue what they want; one result each, in time to tell and show them."""
    left = anyio.current_effective_deadline() - anyio.current_time() - AFTERWARDS_SECONDS
    seconds = max(min(left, runner.RUN_SECONDS), 1.0)
    return await runner.run_strategies(desk, Resources.here().strategies, seconds=seconds)


@task(cache_policy=NO_CACHE)
async def tell_trouble(desk: Desk, runs: Sequence[StrategyRun]) -> None:
    """Alert once when a strategy starts to fail or fails differently, and once when it works again."""
    now = desk.clock.now()
    stored = await desk.store.desk.attribute(desk.account, TROUBLE)
    before: Mapping[str, str] = stored.value if stored and stored.value else {}
    trouble = {run.strategy: run.error for run in runs if run.error is not None}
    for name, error in trouble.items():
        if before.get(name) != error:
            title = f"Strategy {name} fails"
            desk.notifier.notify(Alert(title, error, "critical", now, desk.account, event="strategy.failed"))
    for name in sorted({run.strategy for run in runs} & before.keys() - trouble.keys()):
        title = f"Strategy {name} works again"
        desk.notifier.notify(Alert(title, "It decided.", "info", now, desk.account, event="strategy.recovered"))
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
            key=artifact_key(STRATEGIES, account), table=rows, description=f"Strategies of {account}"
        )


@task(cache_policy=NO_CACHE)
async def watch_exits(desk: Desk) -> ExitReport:
    """Close the positions that a rule ends; tells once of each that is being closed, and of each that cannot be."""
    # The executor looks after them at once; this is for whatever that one missed, and while it does not run.
    try:
        await stops.keep_stops(desk)
    except KontorError as error:
        # Exits are looked at all the same.
        get_run_logger().error("the stops were not looked at: %s", error)
    report = await exits.check_exits(desk)
    await _tell_attributions(desk)
    now = desk.clock.now()
    stored = await desk.store.desk.attribute(desk.account, EXITS_TOLD)
    before: Mapping[str, str] = stored.value if stored and stored.value else {}
    told = {**report.closing, **{f"{key} (trouble)": text for key, text in (report.errors | report.residue).items()}}
    orphaned = {f"{key} (orphan)": text for key, text in report.orphans.items()}
    for key in sorted(orphaned.keys() - before.keys()):
        title = f"No strategy manages {key.removesuffix(' (orphan)')}"
        desk.notifier.notify(Alert(title, orphaned[key], "warning", now, desk.account, event="position.orphaned"))
    for key in sorted(told.keys() - before.keys()):
        severity = "critical" if key.endswith("(trouble)") else "warning"
        desk.notifier.notify(Alert(f"Exit: {key}", told[key], severity, now, desk.account, event="exit.triggered"))
    if (told := told | orphaned) != before:
        await desk.store.desk.set_attribute(desk.account, EXITS_TOLD, told, now)
    return report


async def _tell_attributions(desk: Desk) -> None:
    """Tell of each trade from outside that closed what a strategy held: by whom, where that is known."""
    for each in await new_attributions(desk):
        order = await desk.store.orders.get(each.client_order_id) if each.client_order_id else None
        theirs = "somebody at the exchange" if order is None or order.strategy == EXTERNAL else order.actor
        text = f"{each.quantity:+f} by {theirs} ({each.source_id})"
        title = f"Position of {each.strategy} on {each.symbol} reduced from outside"
        desk.notifier.notify(Alert(title, text, "warning", desk.clock.now(), desk.account, event="position.reduced"))


@task(cache_policy=NO_CACHE)
async def watch_limits(desk: Desk) -> RiskReport:
    """Hold the account against the portfolio's limits; a breach halts trading, which watch-desk tells at once."""
    report = await monitor.monitor_risk(desk)
    if report.unpriced:
        get_run_logger().warning("without a price, counted as nothing: %s", ", ".join(report.unpriced))
    if report.unjudged is not None:
        raise KontorError(report.unjudged)
    return report


@task(cache_policy=NO_CACHE)
async def watch_venue(desk: Desk) -> dict[str, Any]:
    """Look at what the venue does of itself: suspended and delisted markets, maintenance."""
    return asdict(await venue_events.watch_venue(desk, desk.notifier))


@task(cache_policy=NO_CACHE)
async def first_look_at_limits(desk: Desk) -> None:
    """Know what losses are counted from before the first order; an account that cannot be judged yet is no obstacle."""
    try:
        await watch_limits(desk)
    except KontorError as error:
        get_run_logger().warning("the account cannot be judged yet: %s", error)


async def each_phase(phases: Mapping[str, Callable[[], Awaitable[Any]]], *, seconds: float) -> dict[str, Any]:
    """The results of phases that run one after the other, whatever becomes of those before, each for so long at most.

    Raises KontorError at the end, with what went wrong in each, when one of them failed.
    """
    results: dict[str, Any] = {}
    failed: dict[str, Exception] = {}
    for name, phase in phases.items():
        try:
            async with deadline(name, seconds):
                results[name] = await phase()
        except KontorError as error:
            failed[name] = error
            get_run_logger().error("%s failed: %s", name, error)
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not skip the others either
            failed[name] = error
            get_run_logger().exception("%s failed", name)
    if failed:
        first, *others = failed.values()
        if not others:
            raise first
        raise KontorError("; ".join(f"{name}: {error}" for name, error in failed.items())) from first
    return results


def describe(runs: Sequence[StrategyRun]) -> dict[str, Any]:
    """The results as JSON, by strategy, without what is empty."""
    return {
        run.strategy: {name: value for name, value in asdict(run).items() if value and name != "strategy"}
        for run in runs
    }
