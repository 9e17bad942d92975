"""`kontor status`: how the desk is, for a person or as JSON."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deployments.home import Home
from deployments.project import deployed_accounts
from kontor.errors import KontorError

if TYPE_CHECKING:
    from deployments.desk_status import DeskStatus
    from kontor.domain.account import Balance
    from kontor.domain.health import UpdaterHealth
    from kontor.resilience.breaker_state import ReportedBreaker

# Symbols that are named in one line.
MOST_NAMED = 5


PAPER = "paper"


def status(
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    account: str | None = None,
    watch: Annotated[bool, Parameter(negative="")] = False,
    every: float = 2.0,
) -> None:
    """Say how the desk is: updaters, orders, positions and balance.

    Parameters
    ----------
    as_json
        One JSON object on standard output instead of tables.
    account
        The account to look at. Default: every account of prefect.yaml; with --json one of them, paper if it is there.
    watch
        Look again and again, until Ctrl-C.
    every
        Seconds between two looks.

    """
    from deployments.desk_status import read_status

    home, accounts = Home.from_environment(), [account] if account else default_accounts()
    if watch:
        if as_json:
            raise KontorError("--watch is for a person and --json for a program: choose one")
        asyncio.run(watch_status(home, accounts, every, Console()))
        return
    if as_json:
        found = asyncio.run(read_status(home, accounts[0]))
        for remark in found.remarks:
            print(f"kontor: {remark}", file=sys.stderr)  # noqa: T201
        print(json.dumps(found.to_json(), indent=2))  # noqa: T201 - for a program to read
    else:
        Console().print(asyncio.run(_tables(home, accounts)))


def default_accounts() -> Sequence[str]:
    """Those of prefect.yaml, paper first; paper while the file cannot be read."""
    return sorted(deployed_accounts(), key=lambda name: (name != PAPER, name)) or [PAPER]


async def watch_status(
    home: Home, accounts: Sequence[str], every: float, console: Console, looks: int | None = None
) -> None:
    """Show the status in place, over and over; what cannot be read now is said, and looked at again."""
    if every <= 0:
        raise KontorError("--every must be more than 0 seconds")
    with Live(Text("looking"), console=console, auto_refresh=False, screen=console.is_terminal) as live:
        for _ in itertools.count() if looks is None else range(looks):
            try:
                shown: RenderableType = await _tables(home, accounts)
            except KontorError as error:
                shown = Text(str(error), style="bold red")
            moment = Text(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, every {every:g} s; Ctrl-C ends it", style="dim")
            live.update(Group(moment, shown), refresh=True)
            await asyncio.sleep(every)


async def show_status(home: Home, say: Callable[[str], None]) -> None:
    """Say the status once, as `kontor up` does when it is done; a desk that is up stays so when this fails."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        found = await _tables(home, default_accounts())
    except KontorError as error:
        say(f"the desk is up; its status could not be read: {error}")
        return
    with console.capture() as capture:
        console.print(found)
    say(capture.get().rstrip())


async def _tables(home: Home, accounts: Sequence[str]) -> Group:
    from deployments.desk_status import read_status

    return Group(*[render(await read_status(home, account)) for account in accounts])


def render(found: DeskStatus) -> Group:
    """The status as tables, the address of the UI first."""
    page = f"   page {found.page_url}" if found.page_url else ""
    title = Text(f"Prefect UI {found.prefect_url}{page}   account {found.account}   ", style="bold")
    parts: list[Table | Text] = [title.append(*_mode(found.mode))]
    parts += _remarks(found)
    parts.append(_updaters(found))
    counts = ", ".join(f"{count} {state}" for state, count in sorted(found.orders.items()) if count)
    parts.append(Text(f"orders    {counts or 'none yet'}"))
    if found.oldest_unknown is not None:
        parts.append(Text(f"unknown   the oldest outcome for {_seconds(found.oldest_unknown)}", style="yellow"))
    parts.append(Text(f"balance   {_balance(found.balance)}"))
    if found.equity is not None:
        parts.append(Text(f"equity    {_equity(found)}"))
    if held := _held(found.balance):
        parts.append(Text(f"held      {held}"))
    if found.streams:
        parts.append(_streams(found))
    if found.halt:
        parts.append(Text(f"HALTED    {found.halt.reason}; the flow resume-trading ends it", style="bold red"))
    if found.clock_drift:
        drift, limit = found.clock_drift["seconds"], found.clock_drift["limit_seconds"]
        parts.append(Text(f"clock     {drift:+.2f} s against the exchange, new orders up to {limit:g} s"))
    if found.dead_mans_switch:
        state = "armed" if found.dead_mans_switch["armed"] else "not armed"
        parts.append(Text(f"switch    {state}: {found.dead_mans_switch['reason']}"))
    parts += [Text(_breaker(each), style="bold red") for each in found.breakers]
    if found.units and Decimal(found.units["open_units"]):
        parts.append(Text(f"units     {_units(found.units)}"))
    if found.positions:
        parts.append(_positions(found))
    else:
        parts.append(Text("positions none"))
    return Group(*parts)


def _remarks(found: DeskStatus) -> list[Text]:
    """What is to be known before the figures."""
    said = [Text(remark, style="yellow") for remark in found.remarks]
    return said if found.initialized else [*said, Text(_closed(found), style="bold red")]


def _closed(found: DeskStatus) -> str:
    """Why nothing of this account works, and what follows."""
    noted = found.initialization or {}
    if not noted.get("problem"):
        return "NOT INITIALIZED: every updater waits for the flow initialize"
    again = f"; tried again at {noted['retry_at'][11:19]} UTC" if noted.get("retry_at") else ""
    return f"NOT INITIALIZED: {noted['problem']}{again}; {noted.get('remedy', '')}"


def _mode(mode: str | None) -> tuple[str, str]:
    """With what the account trades, and how that looks."""
    return ("LIVE, real money", "bold white on red") if mode == "live" else (mode or "never reached yet", "dim")


def _streams(found: DeskStatus) -> Text:
    fresh = ", ".join(each.channel for each in found.streams if each.is_fresh)
    stale = [f"{each.channel} stale ({each.reason}), by REST" for each in found.streams if not each.is_fresh]
    without = [
        f"{each.channel} without {len(each.left_out)} symbols, which are left to REST: {_some(each.left_out)}"
        for each in found.streams
        if each.is_fresh and each.left_out
    ]
    line = Text(f"streams   {fresh or 'none'}")
    return line.append("".join(f"\n          {each}" for each in [*stale, *without]), style="yellow")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")


def _breaker(reported: ReportedBreaker) -> str:
    status = reported.status
    return f"breaker   {status.name} is {status.state} in {reported.process}: {status.reason}"


def _updaters(found: DeskStatus) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("updater", "", "last success", "every"):
        table.add_column(title, justify="right" if title == "every" else "left")
    for each in found.updaters:
        verdict = Text("ok", style="green") if each.ok else Text("DOWN", style="bold red")
        table.add_row(each.updater, verdict, _age(each), _seconds(each.interval))
    return table


def _age(health: UpdaterHealth) -> Text:
    age = "never" if health.age is None else f"{_seconds(health.age)} ago"
    return Text(age if health.ok or not health.reason else f"{age}: {health.reason}")


def _positions(found: DeskStatus) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("position", "side", "quantity", "entry", "mark", "notional", "unrealized"):
        table.add_column(title, justify="left" if title in {"position", "side"} else "right")
    for each in found.positions:
        figures = (each.quantity, each.entry_price, each.mark_price, each.notional, each.unrealized_pnl)
        table.add_row(each.symbol, each.side.value, *(_figure(value) for value in figures))
    return table


def _balance(balance: Balance | None) -> str:
    if balance is None:
        return "not known yet"
    return f"{balance.total:,.2f} {balance.currency} in total, {balance.free:,.2f} free, {balance.used:,.2f} used"


def _equity(found: DeskStatus) -> str:
    """What the account is worth, and how that differs from what was put in."""
    from kontor.domain.capital import Change

    assert found.equity is not None  # noqa: S101 - asked for only then
    if not found.initial_capital:
        return f"{found.equity:,.2f}"
    put_in = found.initial_capital + (found.transferred or Decimal(0))
    gain = Change(found.equity - put_in, put_in).words(found.balance.currency if found.balance else "")
    return f"{found.equity:,.2f}, {gain} since the start"


def _units(units: Mapping[str, str]) -> str:
    """Units and risk capital in one line."""
    figures = {name: Decimal(figure) for name, figure in units.items()}
    return (
        f"{figures['open_units']:.0f} open, risking {figures['unit_risk']:,.2f}; free risk margin"
        f" {figures['free_risk_margin']:,.2f}, priority {figures['free_risk_margin_priority']:,.2f}; next unit"
        f" {figures['next_unit_value']:,.2f} of at most {figures['max_unit_value']:,.2f}"
    )


def _held(balance: Balance | None) -> str:
    """What is held beside the capital currency, such as coins bought on spot."""
    if balance is None:
        return ""
    others = sorted((name, held.total) for name, held in balance.currencies.items() if name != balance.currency)
    return ", ".join(f"{_figure(total)} {name}" for name, total in others if total)


def _figure(value: Decimal | None) -> str:
    return "-" if value is None else f"{value.normalize():,f}"


def _seconds(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - what reads better
