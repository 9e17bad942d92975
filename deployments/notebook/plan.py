"""What an old configuration becomes: settings, deployments, and one row for each of its keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from deployments.notebook import words
from deployments.notebook.steps import NotImported, Steps
from kontor.config import Condition, Document, problems_of
from kontor.errors import ConfigError
from kontor.updaters.jsonable import jsonable
from kontor.updaters.shared import RESERVED
from kontor.updaters.step import NAME, UPDATER_NAME, Step

CONDITIONS, SYMBOLS = TypeAdapter(dict[str, Condition]), TypeAdapter(list[str])
# A run of an updater may take this long, where its interval is not shorter.
USUAL_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One old key: what it became, what of it was dropped or changed and why; or why it was not imported."""

    key: str
    became: str
    note: str = ""
    imported: bool = True


@dataclass(frozen=True, slots=True)
class Updater:
    """A deployment of run_updater; without an interval it runs by hand."""

    name: str
    steps: tuple[Step, ...]
    interval: float | None


@dataclass
class Plan:
    """The whole of it, before anything is written."""

    account: str
    rows: list[Row] = field(default_factory=list)
    filter: dict[str, Any] | None = None
    restricted: list[str] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    initialize: tuple[Step, ...] = ()
    updaters: list[Updater] = field(default_factory=list)
    # Entrypoint of a shipped flow to its interval.
    intervals: dict[str, float] = field(default_factory=dict)

    @property
    def most_candles(self) -> int:
        """The largest number of candles that a step asks for."""
        steps = [*self.initialize, *(step for updater in self.updaters for step in updater.steps)]
        wanted = [
            step.args[2]
            for step in steps
            if step.call == "get_ohlcv_data" and isinstance(step.args, list) and len(step.args) > 2  # noqa: PLR2004 - symbols, timeframe, limit
        ]
        return max((each for each in wanted if isinstance(each, int)), default=0)


def make_plan(document: Document, account: str) -> Plan:
    """Go through every key; raises ConfigError only where a part has not the shape the notebook's reader needs."""
    plan = Plan(account)
    data = document.data
    for section in data:
        if section not in {"class_attributes", "shared_attributes", "tasks"}:
            plan.rows.append(Row(str(section), "", "not a section of the notebook's file", imported=False))
    attributes = _mapping(document, data, "class_attributes")
    for name, value in attributes.items():
        plan.rows.append(_attribute(document, plan, str(name), value))
    for name, value in _mapping(document, data, "shared_attributes").items():
        plan.rows.append(_shared(str(name), value))
    tasks = _mapping(document, data, "tasks")
    steps = Steps(attributes, tasks)
    for key, task in tasks.items():
        _task(plan, steps, str(key), task)
    return plan


def _mapping(document: Document, data: Mapping[str, Any], key: str) -> Mapping[Any, Any]:
    value = data.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        where = f"{document.name} line {document.line((key,))}"
        raise ConfigError(f"{key} must hold keys and values", where=where)
    return value


def _attribute(document: Document, plan: Plan, name: str, value: Any) -> Row:
    key = f"class_attributes.{name}"
    if name in words.LIVE:
        return Row(key, words.LIVE[name], f"the start value {_short(value)} is dropped: it is fetched")
    if name in words.ENGINE:
        became, why = words.ENGINE[name]
        return Row(key, became, f"dropped: {why}")
    if name in {"watch_list_filter", "wl_restricted"}:
        return _watchlist(document, plan, name, value)
    if name == "subaccount":
        return Row(key, f"account {plan.account}", f"its keys are in the block; the name {value} is dropped")
    if not re.match(NAME, name) or name in RESERVED:
        return Row(key, "", "no name that shared state may have here; rename it in the file", imported=False)
    plan.attributes[name] = jsonable(value)
    return Row(key, f"kontor.yaml: attributes.{name}", f"a start value, ${name} for steps; nothing else reads it")


def _watchlist(document: Document, plan: Plan, name: str, value: Any) -> Row:
    """Filter and restricted symbols; raises ConfigError, since without them another watchlist would come out."""
    wanted = CONDITIONS if name == "watch_list_filter" else SYMBOLS
    try:
        found = wanted.validate_python(value or ({} if name == "watch_list_filter" else []))
    except ValidationError as error:
        problem = problems_of(document, ("class_attributes", name), error)[0]
        raise ConfigError(
            f"{problem.key}: {problem.sentence}; mend it", where=f"{document.name} line {problem.line}"
        ) from None
    if name == "watch_list_filter":
        plan.filter = dict(value or {})
        return Row(f"class_attributes.{name}", "kontor.yaml: watchlist.filter")
    plan.restricted = list(found)
    return Row(f"class_attributes.{name}", "kontor.yaml: watchlist.restricted")


def _shared(name: str, value: Any) -> Row:
    key = f"shared_attributes.{name}"
    if name == words.QUEUE:
        return Row(key, "the order queue in the store", "dropped: a queue in memory, which a crash loses")
    about = value.get("function") if isinstance(value, dict) else value
    return Row(key, "", f"nothing here is a {about}; let an updater write an attribute", imported=False)


def _task(plan: Plan, steps: Steps, key: str, task: Any) -> None:
    where = f"tasks.{key}"
    if not isinstance(task, dict):
        plan.rows.append(Row(where, "", "must hold keys and values", imported=False))
        return
    try:
        if key == words.INIT_TASK:
            _initialize(plan, steps, where, task)
        elif key in words.TASKS:
            _shipped(plan, key, where, task)
        elif key == words.EXECUTE_TASK:
            plan.rows.append(Row(where, "execute-orders, always at work"))
        elif key == words.SHUTDOWN_TASK:
            plan.rows.append(
                Row(where, "flow shutdown, kontor down", "no loop: it cancels and awaits everything, in order")
            )
        elif "subtasks" in task:
            _template(plan, steps, key, where, task)
        else:
            raise NotImported("neither a task of the notebook nor one with subtasks: nothing says what it does")
    except NotImported as error:
        plan.rows.append(Row(where if not error.key else f"{where}.{error.key}", "", str(error), imported=False))
        return
    plan.rows += _key_rows(key, where, task)


def _key_rows(key: str, where: str, task: Mapping[str, Any]) -> Iterator[Row]:
    """The keys of a task that was taken over, `subtasks` apart."""
    for name, value in task.items():
        place = f"{where}.{name}"
        if name == "freq":
            yield _freq_row(key, place, value)
        elif name == "name":
            is_own = key in words.TASKS or key in {words.EXECUTE_TASK, words.SHUTDOWN_TASK, words.INIT_TASK}
            note = f"{value} is dropped: the flow has a name of its own" if is_own else ""
            yield Row(place, "" if is_own else "deployment, lease and heartbeat have this name", note)
        elif name == "input_args":
            if value is None:
                yield Row(place, "", "dropped: empty, and a task has none")
            else:
                yield Row(place, "", "the notebook's tasks take none", imported=False)
        elif name == "out":
            written = words.OUTS.get(key)
            if written is not None and str(value).removeprefix("self.") == written:
                yield Row(place, f"${written}")
            else:
                yield Row(place, "", f"nothing says that the task writes {value}", imported=False)
        elif name != "subtasks":
            yield Row(place, "", "not a key of a task in the notebook", imported=False)


def _freq_row(key: str, place: str, value: Any) -> Row:
    if key == words.EXECUTE_TASK:
        return Row(place, "", "dropped: orders are taken as they come, not looked for")
    if key in {words.INIT_TASK, words.SHUTDOWN_TASK}:
        return Row(place, "", "dropped: it happens once")
    if value is None:
        return Row(place, "", "none: the shipped interval, or run by hand")
    return Row(place, f"prefect.yaml: interval {value}", "start to start; the notebook slept that long after each run")


def _initialize(plan: Plan, steps: Steps, where: str, task: Mapping[str, Any]) -> None:
    try:
        taken, notes = steps.of(task)
    except NotImported:
        # The gate needs an initialization in any case.
        plan.rows.append(Row(where, "initialize, with its standard steps", "its own steps could not be taken over"))
        raise
    plan.initialize = tuple(taken)
    plan.rows.append(Row(where, f"initialize, {len(taken)} steps", "it also loads and reconciles the account"))
    _step_rows(plan, where, taken, notes)


def _shipped(plan: Plan, key: str, where: str, task: Mapping[str, Any]) -> None:
    interval = _interval(task)
    entrypoints = words.TASKS[key]
    for entrypoint in entrypoints:
        if interval is not None:
            plan.intervals[entrypoint] = interval
    names = " and ".join(_flow(each) for each in entrypoints)
    every = f" every {interval:g} s" if interval is not None else ""
    note = "" if interval is not None else "no freq: the interval is the shipped one"
    plan.rows.append(Row(where, f"{names}{every}", note))


def _template(plan: Plan, steps: Steps, key: str, where: str, task: Mapping[str, Any]) -> None:
    interval = _interval(task)
    name = str(task.get("name") or key.removeprefix("t_")).replace("_", "-")
    if not re.match(UPDATER_NAME, name):
        raise NotImported(f"{name} is no name for an updater: letters, digits, dashes and dots", key="name")
    taken, notes = steps.of(task)
    if name in {each.name for each in plan.updaters}:
        raise NotImported(f"another task is called {name} already; rename one", key="name")
    plan.updaters.append(Updater(name, tuple(taken), interval))
    every = f"every {interval:g} s" if interval is not None else "run by hand"
    note = "" if interval is not None else "no freq, so no schedule"
    plan.rows.append(Row(where, f"run-updater/{name}, {every}", note))
    _step_rows(plan, where, taken, notes)


def _step_rows(plan: Plan, where: str, taken: list[Step], notes: Mapping[str, str]) -> None:
    for step, (name, note) in zip(taken, notes.items(), strict=True):
        target = f" -> {step.target}" if step.target else ""
        arguments = ", ".join(map(str, step.args))
        plan.rows.append(Row(f"{where}.subtasks.{name}", f"{step.call}({arguments}){target}", note))


def _interval(task: Mapping[str, Any]) -> float | None:
    freq = task.get("freq")
    if freq is None:
        return None
    if isinstance(freq, bool) or not isinstance(freq, int | float) or not 0 < freq < 1e9:  # noqa: PLR2004 - 30 years
        raise NotImported(f"{freq!r} is no number of seconds", key="freq")
    return float(freq)


def _flow(entrypoint: str) -> str:
    return entrypoint.rpartition(".")[2].replace("_", "-")


def _short(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) < 30 else f"{text[:27]}..."  # noqa: PLR2004 - fits a table
