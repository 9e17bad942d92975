"""Steps of the system status: judge the updaters, tell what went down or came back, show it as an artifact."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from prefect import task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from kontor.capital import capital_of
from kontor.desk import Desk
from kontor.domain.account import Balance
from kontor.domain.capital import Capital
from kontor.domain.health import UpdaterHealth, judge
from kontor.errors import AuthenticationFailed
from kontor.execution.halt import halted
from kontor.notify import news
from kontor.ports import Alert
from kontor.streams.account import AccountStreamer
from kontor.trading.books import UNITS
from tasks.artifacts import STATUS, artifact_key

KNOWN_DOWN = "updaters_down"
CAPITAL_TOLD = "capital_told"
TOLERANCE = timedelta(seconds=30)


@task(cache_policy=NO_CACHE)
async def judge_updaters(desk: Desk, intervals: Mapping[str, timedelta]) -> tuple[UpdaterHealth, ...]:
    """Each updater's heartbeat judged against its own interval."""
    return judge(intervals, await desk.store.desk.heartbeats(desk.account), desk.clock.now())


@task(cache_policy=NO_CACHE)
async def tell_changes(desk: Desk, verdicts: Sequence[UpdaterHealth]) -> None:
    """Alert once for the updaters that went down, and once when they are up again; in between, nothing."""
    now = desk.clock.now()
    before = await desk.store.desk.attribute(desk.account, KNOWN_DOWN)
    known = set(before.value if before else ())
    by_the_key = await _down_by_the_key(desk, verdicts)
    down = {each.updater: each.reason for each in verdicts if not each.ok and each.updater not in by_the_key}
    back = sorted(known - down.keys() - by_the_key)
    if down.keys() - known:
        desk.notifier.notify(news.updaters_down(desk.account, now, reasons=down, back=back))
    elif back:
        desk.notifier.notify(news.updaters_up(desk.account, now, names=back))
    await desk.store.desk.set_attribute(desk.account, KNOWN_DOWN, sorted(down.keys() | (known & by_the_key)), now)


async def _down_by_the_key(desk: Desk, verdicts: Sequence[UpdaterHealth]) -> set[str]:
    """What is down because the exchange refuses the key: that was told when it halted the account."""
    named = {each.updater for each in verdicts if not each.ok and each.reason.startswith(AuthenticationFailed.__name__)}
    found = await halted(desk.store.desk, desk.account)
    if found is not None and found.blocked:
        # Its run ends as Blocked, and a stream reports no errors: only its silence is seen.
        named |= {each.updater for each in verdicts if not each.ok and each.updater == AccountStreamer.name}
    return named


@task(cache_policy=NO_CACHE)
async def send_capital_message(desk: Desk, every: timedelta = timedelta(0)) -> dict[str, Decimal]:
    """One message with what the account is worth, free, used and what it began with, at most once in `every`.

    Returns the figures, which are empty before the first balance.
    """
    now = desk.clock.now()
    balance = await desk.store.account.balance(desk.account)
    capital = await capital_of(desk.store, desk.account, now, ZoneInfo(desk.config.risk.trading_day_zone))
    if balance is None or capital is None:
        return {}
    figures = {"total": capital.equity, "free": balance.free, "used": balance.used}
    if capital.beginning is not None:
        figures |= {"initial": capital.beginning.equity, "transferred": capital.beginning.moved}
    last = await desk.store.desk.attribute(desk.account, CAPITAL_TOLD)
    # Runs start a little early or late: the hourly message must not slip to every second hour's run.
    if last is None or now - last.at >= every - TOLERANCE:
        await desk.store.desk.set_attribute(desk.account, CAPITAL_TOLD, True, now)
        desk.notifier.notify(await _capital_message(desk, balance, capital))
    return figures


async def _capital_message(desk: Desk, balance: Balance, capital: Capital) -> Alert:
    def money(figure: Decimal) -> str:
        return f"{figure:,.2f} {balance.currency}"

    fields = [("Total", money(capital.equity)), ("Free", money(balance.free)), ("Used", money(balance.used))]
    for name, change in (("Today", capital.day_gain), ("Since the start", capital.gain)):
        if change is not None:
            fields.append((name, change.words(balance.currency)))
    positions = await desk.store.account.positions(desk.account)
    if positions is not None:
        unrealized = sum((each.unrealized_pnl or Decimal(0) for each in positions.value), Decimal(0))
        fields.append(("Positions", f"{len(positions.value)}, {unrealized:+,.2f} unrealized"))
    fields += await _unit_fields(desk, balance.currency)
    text = f"as of {capital.at:%Y-%m-%d %H:%M:%S} UTC"
    if capital.unpriced:
        text += f"; without a price, and not counted: {', '.join(sorted(capital.unpriced))}"
    return news.report("capital", "Capital", desk.account, desk.clock.now(), fields, text)


async def _unit_fields(desk: Desk, currency: str) -> tuple[tuple[str, str], ...]:
    """Units and risk capital as the last run of the strategies left them; nothing while none is enabled."""
    found = await desk.store.desk.attribute(desk.account, UNITS)
    if found is None or not any(each.enabled for each in desk.config.strategies.values()):
        return ()
    figures = {name: Decimal(value) for name, value in found.value.items()}
    return (
        ("Free risk margin", f"{figures['free_risk_margin']:,.2f} {currency}"),
        ("Priority margin", f"{figures['free_risk_margin_priority']:,.2f} {currency}"),
        ("Open units", f"{figures['open_units']:.0f}, risking {figures['unit_risk']:,.2f} {currency}"),
        ("Next unit", f"{figures['next_unit_value']:,.2f} of at most {figures['max_unit_value']:,.2f} {currency}"),
    )


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
    await acreate_table_artifact(key=artifact_key(STATUS, account), table=rows, description=f"Updaters of {account}")
