"""Every flow as a page: what it does, its parameters, and when the shipped prefect.yaml runs it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prefect import Flow

import flows
from deployments.project import Project
from deployments.reference.wording import LINK, default, kind, table

HEAD = """# Flows

Every flow with its parameters, and when the `prefect.yaml` that ships runs it. In the Prefect UI the parameters are a
form; in a shell `prefect deployment run 'FLOW/ACCOUNT' -p name=value` or `kontor run FLOW -p name=value`.
"""

# What parameters are made of, and the page that says it.
LINKS = {"Step": "../updaters.md#a-step"}


@dataclass(frozen=True, slots=True)
class Known:
    """A flow, and the module path that a deployment names it by."""

    flow: Flow[Any, Any]
    entrypoint: str


def page(project: Project) -> str:
    """The page in Markdown; what runs when is the project's."""
    deployed = {entry.entrypoint: entry.queue for entry in project.entries()}
    intervals = project.intervals("paper")
    parts = [HEAD]
    for known in all_flows():
        facts = _schedule(intervals.get(known.flow.name), deployed.get(known.entrypoint)) + _policy(known.flow)
        parts.append(_section(known, ", ".join(facts)))
    return "\n\n".join(parts) + "\n"


def all_flows() -> Sequence[Known]:
    """Every flow of the package `flows`, by name."""
    found = {
        value.name: Known(value, f"{module.__name__}.{name}")
        for each in pkgutil.iter_modules(flows.__path__)
        for module in [importlib.import_module(f"{flows.__name__}.{each.name}")]
        for name, value in vars(module).items()
        if isinstance(value, Flow)
    }
    return [found[name] for name in sorted(found)]


def _schedule(every: timedelta | None, queue: str | None) -> list[str]:
    if queue is None:
        return ["not deployed"]
    return ["no schedule" if every is None else f"every {every.total_seconds():g} s", f"queue `{queue}`"]


def _policy(flow: Flow[Any, Any]) -> list[str]:
    said = [f"at most {flow.timeout_seconds:g} s"] if flow.timeout_seconds else []
    if flow.retries:
        said.append(f"{flow.retries} {'retries' if flow.retries > 1 else 'retry'}")
    return said


def _section(known: Known, facts: str) -> str:
    # Parameters have a table of their own.
    said = (known.flow.description or "").partition("Args:")[0].strip()
    schema = known.flow.parameters.model_dump_for_openapi()
    definitions: Mapping[str, Any] = schema.get("definitions", {})
    for name, definition in definitions.items():
        definition.update({LINK: LINKS[name]} if name in LINKS else {})
    rows = [
        (
            f"`{name}`",
            kind(field, definitions),
            default(field, is_required=name in schema.get("required", [])),
            str(field.get("description", "")),
        )
        for name, field in schema["properties"].items()
    ]
    parameters = table(["parameter", "value", "default", "meaning"], rows)
    return f"## {known.flow.name}\n\n{said}\n\n`{known.entrypoint}`: {facts}.\n\n{parameters}"
