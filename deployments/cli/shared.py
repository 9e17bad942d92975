"""`kontor get` and `kontor updaters`: shared state by name, and what the steps of an updater may call."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployments.home import Home
from deployments.project import Project
from kontor.errors import KontorError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kontor.domain.snapshot import Snapshot

WIDTH = 1000


def get(
    name: str | None = None,
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    account: str = "paper",
) -> None:
    """Print what is stored under a name, with its time and age; without a name, list every name.

    Parameters
    ----------
    name
        A name of shared state, such as watchlist, last_price, or the target of an updater of yours.
    as_json
        One JSON object, {name, at, age_seconds, value}, instead of a line about the age on standard error.
    account
        The account whose state it is.

    """
    if name is None:
        _list(asyncio.run(_read_all(account)), as_json=as_json)
        return
    found = asyncio.run(_read(account, name.removeprefix("$")))
    if as_json:
        print(json.dumps({"name": name.removeprefix("$"), **_described(found), "value": found.value}))  # noqa: T201
        return
    age = (datetime.now(UTC) - found.at).total_seconds()
    print(json.dumps(found.value, indent=2))  # noqa: T201 - for a person or a program to read
    print(f"as of {found.at:%Y-%m-%d %H:%M:%S} UTC, {_age(age)} old", file=sys.stderr)  # noqa: T201


def updaters(name: str | None = None, /) -> None:
    """List what the steps of an updater may call, with its parameters; with a name, one of them.

    Parameters
    ----------
    name
        A callable, such as get_ohlcv_data or fetch_funding_rates.

    """
    from kontor.updaters.calls import find_call
    from tasks.updater_calls import registry

    calls, problems = registry()
    table = Table(box=None, pad_edge=False, header_style="dim")
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for title in ("call", "from", "does"):
        table.add_column(title, overflow="fold")
    for each in calls.values() if name is None else [find_call(calls, name)]:
        table.add_row(Text(each.signature), each.origin, Text(each.about))
    console.print(table)
    for problem in problems:
        print(f"kontor: {problem}", file=sys.stderr)  # noqa: T201


async def _read(account: str, name: str) -> Snapshot[Any]:
    """The value as JSON; raises KontorError when nothing is stored under the name."""
    from deployments.desk_status import desk_store
    from kontor.config import load_config
    from kontor.domain.snapshot import Snapshot
    from kontor.updaters.jsonable import jsonable
    from kontor.updaters.shared import TYPED, nearest, read_shared

    config = load_config(Project.find().config_file, account)
    async with desk_store(Home.from_environment()) as store:
        found = await read_shared(store, config, account, name)
        if found is None:
            names = {**TYPED, **await store.desk.attributes(account)}
            hint = nearest(name, names) if name not in names else ""
            hint = hint or "'kontor get' lists every name that has something"
            raise KontorError(f"nothing is stored under {name} for {account}; {hint}")
    return Snapshot(jsonable(found.value), found.at)


async def _read_all(account: str) -> Mapping[str, Snapshot[Any]]:
    """Every name that has something, with what there is to say about it instead of the value."""
    from deployments.desk_status import desk_store
    from kontor.config import load_config
    from kontor.domain.snapshot import Snapshot
    from kontor.updaters.shared import RESERVED, TYPED, read_shared

    config = load_config(Project.find().config_file, account)
    async with desk_store(Home.from_environment()) as store:
        found: dict[str, Snapshot[Any]] = {}
        for name, typed in TYPED.items():
            known = await read_shared(store, config, account, name)
            if known is not None:
                found[name] = Snapshot(typed.about, known.at)
        for name, known in (await store.desk.attributes(account)).items():
            if name not in RESERVED and name not in TYPED:
                found[name] = Snapshot(_summary(known.value), known.at)
    return found


def _list(found: Mapping[str, Snapshot[Any]], *, as_json: bool) -> None:
    now = datetime.now(UTC)
    if as_json:
        print(json.dumps({name: _described(each) for name, each in found.items()}))  # noqa: T201
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("name", "age", "what"):
        table.add_column(title, overflow="fold", justify="right" if title == "age" else "left")
    for name, each in sorted(found.items()):
        table.add_row(name, _age((now - each.at).total_seconds()), Text(str(each.value)))
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def _described(found: Snapshot[Any]) -> dict[str, Any]:
    age = max((datetime.now(UTC) - found.at).total_seconds(), 0.0)
    return {"at": found.at.isoformat(), "age_seconds": round(age, 3)}


def _summary(value: Any) -> str:
    from kontor.updaters.shared import CANDLES, is_candles

    if is_candles(value):
        about = value[CANDLES]
        return f"{about['limit']} candles of {about['timeframe']} of {len(about['symbols'])} symbols"
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = json.dumps(value)
    return text if len(text) < 60 else f"{text[:57]}..."  # noqa: PLR2004 - fits a line


def _age(seconds: float) -> str:
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{max(seconds, 0) / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
