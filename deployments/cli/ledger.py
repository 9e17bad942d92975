"""`kontor ledger`: profit and loss of an account, and its rows for the tax adviser."""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from deployments.home import Home
from deployments.project import Project
from kontor.errors import ConfigError

if TYPE_CHECKING:
    from kontor.domain.ledger import LedgerEntry
    from kontor.domain.profit import ProfitAndLoss
    from kontor.trading.ledger import WholeLedger

UNCUT = 1000
COLUMNS = (
    "time_utc", "day", "account", "kind", "symbol", "side", "quantity", "price", "currency", "amount", "realized",
    "fee", "fee_currency", "coin_price", "strategy", "client_order_id", "source",
)  # fmt: skip


def ledger(
    *,
    account: str = "paper",
    by: Literal["day", "strategy", "symbol", "all"] = "day",
    begin: Annotated[str | None, Parameter(name="--from")] = None,
    end: Annotated[str | None, Parameter(name="--to")] = None,
    out: Annotated[Path | None, Parameter(name="--csv")] = None,
) -> None:
    """Show what was earned and paid, from the ledger: fills, fees, funding, liquidations.

    Parameters
    ----------
    account
        Whose ledger it is.
    by
        A line for each day, strategy, symbol, or for each of all three together.
    begin
        The first trading day, such as 2026-01-01.
    end
        The last trading day.
    out
        Write the ledger's rows to this file as CSV instead.

    """
    from kontor.config import load_config

    first, last = _day(begin, "--from"), _day(end, "--to")
    zone = ZoneInfo(load_config(Project.find().config_file, account).risk.trading_day_zone)
    found = asyncio.run(_read(account))
    if out is not None:
        written = write_rows(out, account, found.gains(zone), zone, first, last)
        print(f"{written} rows of {account} in {out}")  # noqa: T201
        return
    show(account, found.profit(zone), by, first, last)


def show(account: str, found: Sequence[ProfitAndLoss], by: str, first: str, last: str) -> None:
    """A table of profit and loss, and its sum."""
    lines = [line for line in found if first <= line.day <= last]
    console = Console(width=None if sys.stdout.isatty() else UNCUT)
    if not lines:
        console.print(f"the ledger of {account} has nothing there; reconcile-orders books every few minutes")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in (by if by != "all" else "day, strategy, symbol", "trades", "realized", "fees", "funding", "net"):
        table.add_column(title, justify="left" if title == by or "," in title else "right")
    groups: dict[str, list[ProfitAndLoss]] = {}
    for line in lines:
        name = f"{line.day} {line.strategy} {line.symbol}" if by == "all" else str(getattr(line, by))
        groups.setdefault(name, []).append(line)
    for name, some in sorted(groups.items()):
        table.add_row(name, *_figures(some))
    if len(groups) > 1:
        table.add_row("together", *_figures(lines))
    console.print(table)
    unvalued: dict[str, Decimal] = {}
    for line in lines:
        for coin, fee in line.unvalued.items():
            unvalued[coin] = unvalued.get(coin, Decimal(0)) + fee
    if unvalued:
        paid = ", ".join(f"{fee:f} {coin}" for coin, fee in sorted(unvalued.items()))
        console.print(f"fees and interest of {paid} had no price when they were paid and are in no sum")


def write_rows(
    out: Path,
    account: str,
    entries: Iterable[tuple[LedgerEntry, Decimal | None]],
    zone: ZoneInfo,
    first: str,
    last: str,
) -> int:
    """The ledger as CSV, a row for each entry with what it realized, exact; returns how many.

    An old file stays until the new one is whole.
    """
    written = 0
    # What is no ordinary file, such as a pipe, is written as it is.
    is_plain = not out.is_symlink() and (out.is_file() or not out.exists())
    unfinished = out.with_name(f".{out.name}.new") if is_plain else out
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(COLUMNS)
            for entry, realized in entries:
                day = entry.at.astimezone(zone).date().isoformat()
                if first <= day <= last:
                    written += 1
                    rows.writerow(_row(entry, account, day, realized))
        if is_plain:
            unfinished.replace(out)
    except OSError as error:
        if is_plain:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
        raise ConfigError(f"{out} cannot be written: {error.strerror}", where="--csv") from None
    return written


def _row(entry: LedgerEntry, account: str, day: str, realized: object) -> list[str]:
    side = "" if entry.quantity is None else "buy" if entry.quantity > 0 else "sell"
    quantity = None if entry.quantity is None else abs(entry.quantity)
    figures = (
        entry.at.isoformat(), day, account, entry.kind, entry.symbol, side, quantity, entry.price, entry.currency,
        entry.amount, realized, entry.fee, entry.fee_currency, entry.coin_price, entry.strategy, entry.client_order_id,
        entry.source_id,
    )  # fmt: skip
    return ["" if value is None else f"{value:f}" if hasattr(value, "as_tuple") else str(value) for value in figures]


def _figures(lines: Sequence[ProfitAndLoss]) -> tuple[str, ...]:
    trades = sum(line.trades for line in lines)
    sums = (sum(getattr(line, name) for line in lines) for name in ("realized", "fees", "funding", "net"))
    return (str(trades), *(f"{figure:z,.2f}" for figure in sums))


def _day(text: str | None, where: str) -> str:
    if text is None:
        return "" if where == "--from" else "9999"
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date().isoformat()
    except ValueError:
        raise ConfigError(f"{text!r} is no day such as 2026-01-31", where=where) from None


async def _read(account: str) -> WholeLedger:
    from deployments.desk_status import desk_store
    from kontor.trading.ledger import read_ledger

    async with desk_store(Home.from_environment()) as store:
        return await read_ledger(store, account)
