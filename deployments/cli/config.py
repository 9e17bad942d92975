"""`kontor config`: are kontor.yaml and prefect.yaml right, and the schemas by which an editor completes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console

from deployments.home import Home
from deployments.project import CONFIG_FILE, Project
from kontor.errors import ConfigError, KontorError

app = App(name="config", help="kontor.yaml and prefect.yaml: what is traded, within which limits, what runs and when.")


@app.command
def check(
    file: Annotated[Path | None, Parameter(help="One of the files, or a folder with both; else the project's.")] = None,
) -> int:
    """Read both files and say everything that is wrong with them, each mistake with file, line and remedy.

    Symbols are held against the markets the desk's store knows, once a desk has run, and positions that no strategy
    manages any more are named.
    """
    from deployments.checking.project import check_files

    config_file, deployments_file = _files(file)
    markets, remarks = _markets(deployments_file or config_file, config_file)
    found = check_files(config_file, deployments_file, markets)
    out = Console(soft_wrap=True, markup=False, highlight=False)
    complain = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    for problem in found.problems:
        complain.print(str(problem))
    for remark in [*found.remarks, *remarks]:
        complain.print(f"kontor: {remark}")
    if found.problems:
        count = len(found.problems)
        complain.print(f"kontor: {count} problem{'s' if count > 1 else ''}")
        return 1
    files = [str(each) for each in (config_file, deployments_file) if each is not None]
    out.print(f"{' and '.join(files)} {'are' if len(files) > 1 else 'is'} right")
    return 0


@app.command
def schema(file: Literal["kontor", "prefect"]) -> None:
    """Print the JSON Schema of kontor.yaml or prefect.yaml, for editors.

    Parameters
    ----------
    file
        Which file's schema.

    """
    from deployments.checking.schemas import SCHEMAS

    print(json.dumps(SCHEMAS[file](), indent=2))  # noqa: T201 - into a file, or for an editor


def _files(path: Path | None) -> tuple[Path | None, Path | None]:
    """kontor.yaml and prefect.yaml; None for the one that is not meant. Raises ConfigError when there is nothing."""
    if path is None:
        project = Project.find()
        return project.config_file, project.deployments_file
    if path.is_dir():
        project = Project(path)
        return path / CONFIG_FILE, project.deployments_file
    if not path.exists():
        raise ConfigError("there is no such file or folder; name a folder with both files, or one", where=str(path))
    return (None, path) if _has_deployments(path) else (path, None)


def _has_deployments(path: Path) -> bool:
    from kontor.config import read_yaml

    if path.name.startswith("prefect"):
        return True
    try:
        data = read_yaml(path)
    except ConfigError:
        return False
    return isinstance(data, dict) and "deployments" in data


def _markets(file: Path | None, config_file: Path | None) -> tuple[Mapping[str, Collection[str]], list[str]]:
    """The symbols of each account's venue as the desk's store has them; a remark where it has none, and for each
    position that would be without its strategy.
    """
    from deployments.desk_status import desk_store
    from kontor.config import load_config
    from kontor.trading.orphans import stored_orphans

    try:
        config = load_config(config_file) if config_file is not None else None
    except (KontorError, OSError):
        # Its mistakes are told elsewhere.
        config = None

    try:
        accounts = Project(file.parent if file else Path()).accounts()
    except KontorError:
        accounts = frozenset()

    async def read() -> tuple[Mapping[str, Collection[str]], list[str]]:
        names = sorted(accounts or {"paper"})
        async with desk_store(Home.from_environment()) as store:
            orphaned = [
                f"account {account}: {sentence}"
                for account in names
                if config is not None
                for sentence in await stored_orphans(store, account, config.of(account))
            ]
            return {account: set(await store.market.markets(account)) for account in names}, orphaned

    try:
        found, orphaned = asyncio.run(read())
    except KontorError as error:
        return {}, [f"symbols are not checked against the exchange: {error}"]
    known = {account: symbols for account, symbols in found.items() if symbols}
    remarks = [] if known else ["symbols are not checked against the exchange: no market is stored yet"]
    return known, [*remarks, *orphaned]
