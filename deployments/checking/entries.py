"""The deployments of prefect.yaml, each with its flow: what is wrong with one of them alone."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, get_type_hints

from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.flows import load_flow_from_entrypoint
from pydantic import TypeAdapter, ValidationError

from deployments.checking.prefect_file import DeploymentEntry, PrefectFile
from deployments.lineup import POOL, QUEUES
from deployments.project import flow_name
from kontor.config import Document, Problem, problems_of
from kontor.updaters.naming import RUN_UPDATER, account_of, updater_of
from kontor.updaters.step import Step

TEMPLATE = "{{"
INITIALIZE = "initialize"
NEVER_BOUND = frozenset({inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD})


@dataclass
class Entry:
    """One deployment as prefect.yaml writes it, its flow loaded; `steps` are those that could be read."""

    number: int
    data: DeploymentEntry
    flow: Flow[Any, Any] | None = None
    intervals: list[tuple[tuple[str | int, ...], timedelta]] = field(default_factory=list)
    steps: Mapping[int, Step] = field(default_factory=dict)

    @property
    def path(self) -> tuple[str | int, ...]:
        """Where it is in the file."""
        return ("deployments", self.number)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its parameters, perhaps none."""
        return self.data.parameters or {}

    @property
    def flow_name(self) -> str:
        """The flow's name, guessed from the entrypoint where it cannot be loaded."""
        return self.flow.name if self.flow is not None else flow_name(self.data.entrypoint)

    @property
    def full_name(self) -> str:
        """As Prefect calls it."""
        return f"{self.flow_name}/{self.data.name}"

    @property
    def account(self) -> str:
        """The account it works for."""
        return account_of(self.flow_name, self.data.name, self.parameters)

    @property
    def updater(self) -> str:
        """The name of its lease and heartbeat."""
        return updater_of(self.flow_name, self.data.name, self.parameters)

    @property
    def timeout(self) -> timedelta | None:
        """How long a run may take."""
        if self.flow is None:
            return None
        seconds = self.flow.timeout_seconds
        if self.flow.name == RUN_UPDATER:
            default = inspect.signature(self.flow.fn).parameters["timeout_seconds"].default
            seconds = self.parameters.get("timeout_seconds", default)
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            return None
        return timedelta(seconds=seconds) if 0 < seconds < 1e9 else None  # noqa: PLR2004 - 30 years


def read_entries(document: Document) -> tuple[list[Entry], list[Problem]]:
    """Every deployment that can be read, and what is wrong with each of them alone."""
    problems = list(document.problems)
    data = document.data
    if not isinstance(data, dict):
        return [], [*problems, document.problem((), "must hold keys and values, such as 'deployments:'")]
    problems += _without_templates(document, _shape_problems(document, data))
    listed = data.get("deployments")
    entries = []
    for number, raw in enumerate(listed if isinstance(listed, list) else []):
        data = _readable_part(raw)
        if data is not None:
            entry = Entry(number, data)
            entries.append(entry)
            problems += check_entry(document, entry)
    return entries, problems


def _readable_part(raw: Any) -> DeploymentEntry | None:
    """The entry without the keys that are wrong, so that everything else of it is checked all the same."""
    try:
        return DeploymentEntry.model_validate(raw)
    except ValidationError as error:
        wrong = {each["loc"][0] for each in error.errors() if each["loc"]}
    if not isinstance(raw, dict) or not wrong:
        return None
    rest = {key: value for key, value in raw.items() if key not in wrong}
    return _readable_part(rest) if len(rest) < len(raw) else None


def check_entry(document: Document, entry: Entry) -> Iterator[Problem]:
    """What is wrong with one deployment; its flow, intervals and steps are noted on the way."""
    try:
        entry.flow = load_flow(entry.data.entrypoint)
    except LookupError as error:
        yield document.problem((*entry.path, "entrypoint"), str(error))
    yield from _check_schedules(document, entry)
    yield from _check_queue(document, entry)
    if entry.flow is not None:
        yield from _check_parameters(document, entry, entry.flow)


def load_flow(entrypoint: str) -> Flow[Any, Any]:
    """The flow an entrypoint names; raises LookupError with what is wrong with it."""
    try:
        if ":" in entrypoint:
            return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
        module, _, name = entrypoint.rpartition(".")
        found = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the module is the user's
        raise LookupError(f"{entrypoint} cannot be loaded ({type(error).__name__}: {_line(error)}); mend it") from None
    if not isinstance(found, Flow):
        raise LookupError(f"{entrypoint} is no flow; name a function with @flow")  # noqa: TRY004 - said by the caller
    return found


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _shape_problems(document: Document, data: Mapping[str, Any]) -> list[Problem]:
    try:
        PrefectFile.model_validate(data)
    except ValidationError as error:
        return problems_of(document, (), error, PrefectFile)
    return []


def _without_templates(document: Document, problems: list[Problem]) -> list[Problem]:
    """A value that Prefect fills in later cannot be judged now."""
    lines = {problem.line for problem in problems}
    templated = {
        line for path, line in document.lines.items() if line in lines and TEMPLATE in _text_at(document.data, path)
    }
    return [each for each in problems if each.line not in templated or "not a known key" in each.sentence]


def _text_at(data: Any, path: tuple[str | int, ...]) -> str:
    """The text at a place; empty where there is something else, or nothing."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return ""
    return data if isinstance(data, str) else ""


def _check_schedules(document: Document, entry: Entry) -> Iterator[Problem]:
    single = entry.data.schedule
    listed = [(("schedules", number), each) for number, each in enumerate(entry.data.schedules or [])]
    for within, each in [(("schedule",), single), *listed]:
        if each is None or isinstance(each, str):
            continue
        place = (*entry.path, *within)
        given = {key: value for key in ("interval", "cron", "rrule") if (value := getattr(each, key)) is not None}
        if len(given) != 1:
            yield document.problem(place, "needs exactly one of interval, cron and rrule")
            continue
        key, value = next(iter(given.items()))
        if TEMPLATE in str(each.model_dump()):
            continue
        extras = {"timezone": each.timezone} if each.timezone is not None else {}
        try:
            if key == "interval":
                anchor = {"anchor_date": each.anchor_date} if each.anchor_date is not None else {}
                schedule = IntervalSchedule.model_validate({"interval": value, **anchor, **extras})
                if each.active is not False:
                    entry.intervals.append(((*place, "interval"), schedule.interval))
            else:
                kind = CronSchedule if key == "cron" else RRuleSchedule
                kind.model_validate({key: value, **extras})
        except ValidationError as error:
            first = error.errors()[0]
            wrong = str(first["loc"][0]) if first["loc"] else key
            yield document.problem((*place, wrong), f"{_line(ValueError(first['msg']))}; mend it")
        except Exception as error:  # noqa: BLE001 - dates and rules are parsed by several libraries
            yield document.problem((*place, key), f"{_line(error)}; mend it")


def _check_queue(document: Document, entry: Entry) -> Iterator[Problem]:
    pool = entry.data.work_pool
    if pool is None or pool.name is None:
        yield document.problem(entry.path, f"has no work_pool; add {{name: {POOL}, work_queue_name: {QUEUES[0]}}}")
    elif pool.name == POOL and pool.work_queue_name not in QUEUES and TEMPLATE not in str(pool.work_queue_name):
        sentence = f"no worker takes from the queue {pool.work_queue_name}; use {' or '.join(QUEUES)}"
        yield document.problem((*entry.path, "work_pool", "work_queue_name"), sentence)


def _check_parameters(document: Document, entry: Entry, flow: Flow[Any, Any]) -> Iterator[Problem]:
    signature = inspect.signature(flow.fn)
    if any(each.kind in NEVER_BOUND for each in signature.parameters.values()):
        return
    try:
        hints = get_type_hints(flow.fn, include_extras=True)
    except Exception:  # noqa: BLE001 - a flow of the user's with names only type checkers see
        hints = {}
    for name, value in entry.parameters.items():
        place = (*entry.path, "parameters", str(name))
        if name not in signature.parameters:
            near = difflib.get_close_matches(str(name), signature.parameters, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(signature.parameters) or 'none'}"
            yield document.problem(place, f"{flow.name} has no such parameter{hint}")
        elif TEMPLATE not in str(value):
            try:
                TypeAdapter(hints.get(name, Any)).validate_python(value)
            except ValidationError as error:
                yield from problems_of(document, place, error, Step)
    # Others are filled in when a person runs it.
    if (entry.intervals or flow.name == RUN_UPDATER) and "steps" in signature.parameters:
        required = signature.parameters["steps"].default is inspect.Parameter.empty
        if required and "steps" not in entry.parameters:
            yield document.problem((*entry.path, "parameters"), "has no steps; add what the updater is to do")
    entry.steps = _steps(entry.parameters.get("steps"))


def _steps(raw: Any) -> Mapping[int, Step]:
    found = {}
    for number, each in enumerate(raw if isinstance(raw, list) else []):
        try:
            found[number] = Step.model_validate(each)
        except ValidationError:
            continue
    return found
