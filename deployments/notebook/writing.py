"""Writing kontor.yaml and prefect.yaml: the shipped files with what the plan says, their comments kept."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from deployments.checking.updaters import WRITTEN_BY
from deployments.notebook.plan import USUAL_SECONDS, Plan, Row, Updater
from deployments.project import CONFIG_FILE, DEPLOYMENTS_FILE, flow_name
from kontor.errors import ConfigError
from kontor.updaters.naming import DEFAULT_ACCOUNT, RUN_UPDATER
from kontor.updaters.step import Step

SCHEMAS = "schemas"
SHIPPED = Path(__file__).resolve().parents[2]


def refuse_overwriting(folder: Path, *, force: bool) -> None:
    """Raises ConfigError when a file to be written is there, unless that was asked for."""
    there = [str(folder / name) for name in (CONFIG_FILE, DEPLOYMENTS_FILE) if (folder / name).exists()]
    if there and not force:
        verb = "is" if len(there) == 1 else "are"
        raise ConfigError(f"{' and '.join(there)} {verb} there already; --out DIR writes elsewhere, --force overwrites")


def render(plan: Plan, template: Path) -> tuple[str, str]:
    """The text of both files; rows about what is deployed besides join the plan's."""
    return _settings(plan, template / CONFIG_FILE), _deployments(plan, template / DEPLOYMENTS_FILE)


def write(folder: Path, settings: str, deployments: str) -> None:
    """Write both files whole or not at all, and the schemas their first lines name; raises ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in ((CONFIG_FILE, settings), (DEPLOYMENTS_FILE, deployments)):
            new = folder / f".{name}.new"
            new.write_text(text, encoding="utf-8")
        for name in (CONFIG_FILE, DEPLOYMENTS_FILE):
            os.replace(folder / f".{name}.new", folder / name)  # noqa: PTH105 - overwrites on every system
        for schema in (SHIPPED / SCHEMAS).glob("*.json"):
            target = folder / SCHEMAS / schema.name
            if not target.exists():
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(schema, target)
    except OSError as error:
        raise ConfigError(f"cannot be written ({error.strerror}); name another folder", where=str(folder)) from None


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 140
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.preserve_quotes = True
    return yaml


def _settings(plan: Plan, template: Path) -> str:
    yaml = _yaml()
    data = yaml.load(template.read_text(encoding="utf-8"))
    watchlist = data.setdefault("watchlist", CommentedMap())
    if plan.filter is not None:
        watchlist["filter"] = _tidy(plan.filter, flow_below=1)
    if plan.restricted is not None:
        watchlist["restricted"] = _flow_seq(plan.restricted)
    candles = data.setdefault("candles", CommentedMap())
    candles["keep"] = max(candles.get("keep") or 0, plan.most_candles, 10)
    if plan.attributes:
        data["attributes"] = _tidy(plan.attributes, flow_below=1)
    return _dump(yaml, data)


def _deployments(plan: Plan, template: Path) -> str:
    yaml = _yaml()
    data = yaml.load(template.read_text(encoding="utf-8"))
    written = {step.target or "" for updater in plan.updaters for step in updater.steps}
    names = {updater.name for updater in plan.updaters}
    kept, kept_names, left = CommentedSeq(), [], []
    for entry in data["deployments"]:
        name = flow_name(entry["entrypoint"])
        both = sorted(written & set(WRITTEN_BY.get(name, ())))
        if both:
            left.append(Row(name, "", f"left out: {', '.join(both)} is written by what the file defines"))
            continue
        # An earlier import's updater of the same name is replaced.
        if name == RUN_UPDATER and entry["name"] in names:
            continue
        _adapt(entry, plan, name)
        kept.append(entry)
        kept_names.append(name)
    for updater in plan.updaters:
        if updater.name in kept_names:
            raise ConfigError(f"the task {updater.name} has the name of a flow; rename it in the file")
        kept.append(_updater_entry(updater, plan.account, data))
    _keep_comments(data["deployments"], kept)
    data["deployments"] = kept
    plan.rows += left
    mentioned = {flow_name(each) for each in plan.intervals} | {"initialize", "execute-orders", RUN_UPDATER}
    besides = ", ".join(name for name in kept_names if name not in mentioned)
    plan.rows.append(Row("(not in the file)", besides, "deployed too, as shipped: orders and the rest need them"))
    for named in data.get("definitions", {}).values():
        if named.anchor.value:
            named.yaml_set_anchor(named.anchor.value, always_dump=True)
    text = _dump(yaml, data)
    for updater in plan.updaters:
        text = re.sub(rf"(?<!\n)\n(  - name: {re.escape(updater.name)}\n)", r"\n\n\1", text)
    return text


def _adapt(entry: Any, plan: Plan, name: str) -> None:
    interval = plan.intervals.get(entry["entrypoint"])
    if interval is not None and entry.get("schedules"):
        entry["schedules"][0]["interval"] = _whole(interval)
    if name == "initialize":
        parameters = CommentedMap({"account": plan.account})
        if plan.initialize:
            parameters["steps"] = _steps(plan.initialize)
        entry["parameters"] = parameters
    if plan.account != DEFAULT_ACCOUNT:
        _rename(entry, plan.account)


def _updater_entry(updater: Updater, account: str, data: Any) -> CommentedMap:
    parameters = CommentedMap({"name": updater.name, "account": account})
    if updater.interval is not None and updater.interval < USUAL_SECONDS:
        parameters["timeout_seconds"] = _whole(updater.interval)
    parameters["steps"] = _steps(updater.steps)
    entry = CommentedMap({"name": updater.name, "entrypoint": "flows.updater.run_updater", "parameters": parameters})
    if updater.interval is not None:
        # Half a minute off the full one, when most others are due.
        anchor = DoubleQuotedScalarString("2026-01-01T00:00:31Z")
        schedule = CommentedMap({"interval": _whole(updater.interval), "anchor_date": anchor, "timezone": "UTC"})
        entry["schedules"] = _flow_seq([_flow_map(schedule)])
    entry["work_pool"] = data["definitions"]["updates"]
    entry["tags"] = _flow_seq(["updater"])
    return entry


def _steps(steps: tuple[Step, ...]) -> CommentedSeq:
    found = CommentedSeq()
    for step in steps:
        entry = CommentedMap({"call": step.call})
        if step.args:
            entry["args"] = _flow_seq(list(step.args))
        if step.target is not None:
            entry["target"] = step.target
        if step.merge:
            entry["merge"] = True
        found.append(_flow_map(entry))
    return found


def _rename(value: Any, account: str) -> None:
    """Put the account's name wherever the shipped file has its own, trigger names included."""
    pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for key, inner in pairs:
        if isinstance(inner, str):
            if inner == DEFAULT_ACCOUNT or f"/{DEFAULT_ACCOUNT}" in inner:
                value[key] = (
                    account if inner == DEFAULT_ACCOUNT else inner.replace(f"/{DEFAULT_ACCOUNT}", f"/{account}")
                )
        elif isinstance(inner, dict | list):
            _rename(inner, account)


def _keep_comments(old: Any, new: CommentedSeq) -> None:
    """Comments stand between the entries: each stays before the entry it was written for."""
    for number, entry in enumerate(new):
        index = next((place for place, each in enumerate(old) if each is entry), None)
        comment = old.ca.items.get(index) if index is not None else None
        if comment is not None:
            new.ca.items[number] = comment


def _tidy(value: Any, *, flow_below: int) -> Any:
    if isinstance(value, Mapping):
        found = CommentedMap({key: _tidy(inner, flow_below=flow_below - 1) for key, inner in value.items()})
        return _flow_map(found) if flow_below <= 0 else found
    if isinstance(value, list):
        return _flow_seq([_tidy(inner, flow_below=0) for inner in value])
    return value


def _flow_map(value: CommentedMap) -> CommentedMap:
    value.fa.set_flow_style()
    return value


def _flow_seq(values: list[Any]) -> CommentedSeq:
    found = CommentedSeq(values)
    found.fa.set_flow_style()
    return found


def _whole(seconds: float) -> int | float:
    return int(seconds) if seconds == int(seconds) else seconds


def _dump(yaml: YAML, data: Any) -> str:
    out = io.StringIO()
    yaml.dump(data, out)
    return out.getvalue()
