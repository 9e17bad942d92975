"""Steps of the system status: judge the updaters, tell what went down or came back, show it as an artifact."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

from prefect import task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from kontor.desk import Desk
from kontor.domain.health import UpdaterHealth, judge
from kontor.ports import Alert

KNOWN_DOWN = "updaters_down"


@task(cache_policy=NO_CACHE)
async def judge_updaters(desk: Desk, intervals: Mapping[str, timedelta]) -> tuple[UpdaterHealth, ...]:
    """Each updater's heartbeat judged against its own interval."""
    return judge(intervals, await desk.store.desk.heartbeats(desk.account), desk.clock.now())


@task(cache_policy=NO_CACHE)
async def tell_changes(desk: Desk, verdicts: Sequence[UpdaterHealth]) -> None:
    """Alert once for each updater that went down, and once when it is up again."""
    now = desk.clock.now()
    before = await desk.store.desk.attribute(desk.account, KNOWN_DOWN)
    known = set(before.value if before else ())
    down = {verdict.updater: verdict.reason for verdict in verdicts if not verdict.ok}
    for name in sorted(down.keys() - known):
        desk.notifier.notify(Alert(f"{name} is down", down[name], "critical", now, desk.account))
    for name in sorted(known - down.keys()):
        desk.notifier.notify(Alert(f"{name} is up again", "It reported a success.", "info", now, desk.account))
    await desk.store.desk.set_attribute(desk.account, KNOWN_DOWN, sorted(down), now)


@task(cache_policy=NO_CACHE)
async def send_capital_message(desk: Desk) -> dict[str, Decimal]:
    """One message with total, free and initial capital; returns the figures, empty before the first balance."""
    balance = await desk.store.account.balance(desk.account)
    if balance is None:
        return {}
    initial = await desk.store.account.initial_capital(desk.account)
    figures = {"total": balance.total, "free": balance.free, "used": balance.used}
    if initial:
        figures["initial"] = initial
    fields = tuple((name, f"{figure:,.2f} {balance.currency}") for name, figure in figures.items())
    desk.notifier.notify(
        Alert("Capital", f"as of {balance.at:%Y-%m-%d %H:%M:%S} UTC", "info", desk.clock.now(), desk.account, fields)
    )
    return figures


@task(cache_policy=NO_CACHE)
async def show_updaters(account: str, verdicts: Sequence[UpdaterHealth]) -> None:
    """The verdicts as a table in the Prefect UI, under Artifacts."""
    rows = [
        {
            "updater": verdict.updater,
            "ok": "yes" if verdict.ok else "NO",
            "age (s)": f"{verdict.age.total_seconds():.1f}" if verdict.age is not None else "never",
            "interval (s)": f"{verdict.interval.total_seconds():.0f}",
            "reason": verdict.reason,
        }
        for verdict in verdicts
    ]
    await acreate_table_artifact(
        key=f"system-status-{account}".replace("_", "-").lower(), table=rows, description=f"Updaters of {account}"
    )
