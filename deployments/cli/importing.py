"""`kontor import`: the notebook's updater_config.yaml becomes kontor.yaml and prefect.yaml."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployments.project import CONFIG_FILE, DEPLOYMENTS_FILE, Project
from kontor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployments.notebook.plan import Row
    from kontor.config import Document

WIDTH = 200


def import_(
    file: Path,
    *,
    out: Path = Path(),
    force: Annotated[bool, Parameter(negative="")] = False,
    account: str = "paper",
) -> int:
    """Turn the notebook's updater_config.yaml into kontor.yaml and prefect.yaml, and say what became of each key.

    Exit code 1 when a key has no meaning here: it is listed, and the rest is written.

    Parameters
    ----------
    file
        The old file, as it was cut out of the notebook.
    out
        The folder to write to, made when it is not there.
    force
        Overwrite files that are there.
    account
        The account to trade with: the name of its ExchangeAccount block.

    """
    from deployments.checking.project import check_texts
    from deployments.notebook.plan import make_plan
    from deployments.notebook.reading import read_notebook
    from deployments.notebook.writing import refuse_overwriting, render, write

    refuse_overwriting(out, force=force)
    document = read_notebook(file)
    plan = make_plan(document, account)
    settings, deployments = render(plan, Project.find().path)
    wrong = check_texts(settings, deployments).blocking
    if wrong:
        raise ConfigError(f"what it becomes is not right: {'; '.join(map(str, wrong))}", where=file.name)
    write(out, settings, deployments)
    _show(plan.rows, document)
    missing = [row for row in plan.rows if not row.imported]
    console = Console(soft_wrap=True, markup=False, highlight=False)
    console.print(f"{out / CONFIG_FILE} and {out / DEPLOYMENTS_FILE} are written; 'kontor up' there starts the desk")
    if missing:
        count = len(missing)
        what = "1 key was" if count == 1 else f"{count} keys were"
        Console(stderr=True, soft_wrap=True, markup=False, highlight=False).print(f"kontor: {what} not imported")
        return 1
    return 0


def _show(rows: Sequence[Row], document: Document) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("old key", "became", "dropped or changed, and why"):
        table.add_column(title, overflow="fold")
    for row in rows:
        line = document.line(row.key.split("."))
        note = row.note if row.imported else f"NOT IMPORTED (line {line}): {row.note}"
        style = "" if row.imported else "bold red"
        table.add_row(Text(row.key), Text(row.became or "-"), Text(note, style=style))
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
