"""`kontor config check`: is kontor.yaml right?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from deployments.project import Project

app = App(name="config", help="kontor.yaml: what is traded, and within which limits.")


@app.command
def check(file: Annotated[Path | None, Parameter(help="Another file than the project's kontor.yaml.")] = None) -> None:
    """Read the settings and say what is wrong with them, each mistake with its place."""
    from kontor.config import load_config

    path = file or Project.find().config_file
    load_config(path)
    Console(soft_wrap=True, markup=False, highlight=False).print(f"{path} is right")
