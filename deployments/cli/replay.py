"""`kontor replay`: strategies on recorded candles, as fast as the machine goes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


def replay(
    *,
    candles: Path,
    strategy: Annotated[list[str] | None, Parameter(negative="")] = None,
    account: str | None = None,
    begin: Annotated[datetime | None, Parameter(name="--from")] = None,
    end: Annotated[datetime | None, Parameter(name="--to")] = None,
    capital: Decimal = Decimal(100_000),
    out: Path = Path("replay"),
) -> None:
    """Replay strategies of kontor.yaml on recorded candles and write a page, the fills and the figures.

    The desk's own code decides, weighs, sends and books, against the paper exchange's engine, on a clock of its own.

    Parameters
    ----------
    candles
        A folder with one CSV a market (ts,open,high,low,close,volume), named BTC-USD-SWAP.csv or BTC-USD.csv.
    strategy
        A strategy of kontor.yaml, also one that is not enabled; repeat it for more. All enabled ones when left out.
    account
        With what kontor.yaml says for this account; with what it says for all when left out.
    begin
        Where to begin (UTC); what lies before is history. The recording's beginning when left out.
    end
        Where to end (UTC). The recording's end when left out.
    capital
        What the account is opened with, in the capital currency.
    out
        The folder for report.html, equity.png and fills.csv.

    """
    from deployments.project import Project
    from kontor.config import load_config
    from kontor.replay.desk import ReplayPlan
    from kontor.replay.desk import replay as run
    from kontor.replay.picture import equity_png
    from kontor.replay.report import fills_csv, page, statistics, told
    from kontor.replay.selection import chosen
    from kontor.store.memory import MemoryStore

    config = chosen(load_config(Project.find().config_file, account), strategy)
    plan = ReplayPlan(config, candles, _utc(begin), _utc(end), capital)
    with Progress(
        TextColumn("replay"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=Console(stderr=True)
    ) as bar:
        task = bar.add_task("replay", total=1.0)
        result = run(plan, MemoryStore(prefix="rply"), lambda done: bar.update(task, completed=done))
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.html").write_text(page(result, f"Replay of {', '.join(config.strategies)}"), encoding="utf-8")
    (out / "equity.png").write_bytes(equity_png(result, f"Replay of {', '.join(config.strategies)}"))
    (out / "fills.csv").write_text(fills_csv(result), encoding="utf-8")
    console = Console(soft_wrap=True, markup=False, highlight=False)
    for name, text in told(result, statistics(result)):
        console.print(f"{name:<16} {text}")
    console.print(f"see {out / 'report.html'}, {out / 'equity.png'} and {out / 'fills.csv'}")


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
