"""`kontor doctor`: what is wrong with the desk, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployments.home import Home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployments.doctor.verdict import Verdict

STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
WIDTH = 160


def doctor(
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    account: str | None = None,
    offline: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Look the desk over, whether it runs or not; exit code 1 when something has failed.

    Parameters
    ----------
    as_json
        A JSON array on standard output: check, health, finding, remedy, account.
    account
        The account whose exchange, key and orders are looked at. Default: every account of prefect.yaml.
    offline
        Ask no exchange.

    """
    # Prefect's blocks and ccxt take seconds.
    from deployments.doctor.rounds import Rounds

    verdicts = asyncio.run(
        Rounds(Home.from_environment(), [account] if account else (), ask_exchange=not offline).run()
    )
    if as_json:
        print(json.dumps([asdict(each) for each in verdicts], indent=2))  # noqa: T201 - for a program to read
    else:
        Console(width=None if sys.stdout.isatty() else WIDTH).print(render(verdicts))
    return 1 if any(each.health == "failed" for each in verdicts) else 0


def render(verdicts: Sequence[Verdict]) -> Table:
    """The verdicts as a table, each remedy below its finding."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for each in verdicts:
        finding = Text(each.finding)
        if each.remedy:
            finding.append(f"\n-> {each.remedy}", style="bold")
        check = f"{each.check} {each.account}".rstrip()
        table.add_row(check, Text(each.health.value, style=STYLES[each.health.value]), finding)
    return table
