"""What a page tells the reader to run or to set exists: flows and their parameters, commands and options, settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployments.cli import app
from deployments.project import Project
from deployments.reference.flow_page import all_flows
from kontor.config import KontorConfig
from tests.unit.documentation.test_runbook import events_in_code

REPOSITORY = Path(__file__).parents[3]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
RUN = re.compile(r"prefect deployment run '?([a-z-]+)/[\w-]+'?([^`\n]*)")
PARAMETER = re.compile(r"-p (\w+)=")
COMMAND = re.compile(r"\bkontor ([a-z]+(?:-[a-z]+)*)\b([^`\n|]*)")
OPTION = re.compile(r"(?<!\S)\[?--([a-z-]+)")
# A section of kontor.yaml and keys in it, between backquotes.
KEY = re.compile(r"`([a-z_]+(?:\.[a-z_]+)+)`")
CODE = re.compile(r"`[^`\n]+`|^```.*?^```", re.MULTILINE | re.DOTALL)
# Not of a section although it looks like one: files and modules.
FILES = {"md", "yaml", "py", "log", "db", "json", "lock", "toml"}


def code(page: Path) -> Iterator[str]:
    """What stands in code on a page: words in sentences are not typed."""
    yield from CODE.findall(page.read_text(encoding="utf-8"))


def test_every_flow_that_is_run_by_hand_exists_with_its_parameters() -> None:
    """At three in the morning nobody guesses which of two names is right."""
    known = {each.flow.name: set(each.flow.parameters.properties) for each in all_flows()}
    found = [(page.name, *match) for page in PAGES for match in RUN.findall(page.read_text(encoding="utf-8"))]
    assert len(found) > 10
    assert [(page, flow) for page, flow, _ in found if flow not in known] == []
    wrong = [
        (page, flow, name) for page, flow, rest in found for name in PARAMETER.findall(rest) if name not in known[flow]
    ]
    assert wrong == []


def test_every_flow_that_a_page_tells_to_run_is_deployed() -> None:
    """A flow without a deployment cannot be run by name."""
    deployed = {entry.flow for entry in Project(REPOSITORY).entries()}
    found = {flow for page in PAGES for flow, _ in RUN.findall(page.read_text(encoding="utf-8"))}
    assert found <= deployed


def test_every_command_exists_with_its_options() -> None:
    """Of the command line as it is."""
    names = {name for name in app if not name.startswith("-")}
    wrong: list[Any] = []
    seen: set[str] = set()
    for page in PAGES:
        for text in code(page):
            for command, rest in COMMAND.findall(text):
                seen |= {command, *OPTION.findall(rest)}
                if command not in names:
                    wrong.append((page.name, command))
                    continue
                helped = _options(app[command])
                wrong += [(page.name, command, name) for name in OPTION.findall(rest) if name not in helped]
    assert wrong == []
    assert {"up", "status", "live", "detach", "json", "account", "once"} <= seen


def _options(command: Any) -> set[str]:
    """Every option of a command and of those below it."""
    found = {"help", "version"}
    for name in command:
        if not name.startswith("-"):
            found |= _options(command[name])
    if command.default_command is not None:
        arguments = command.assemble_argument_collection()
        found |= {name.removeprefix("--") for each in arguments for name in each.names}
    return found


def test_every_setting_that_a_page_names_is_one() -> None:
    """Under its name of today."""
    sections = set(KontorConfig.model_fields)
    schema = KontorConfig.model_json_schema()

    def exists(path: list[str], at: dict[str, Any]) -> bool:
        at = schema["$defs"][at["$ref"].rpartition("/")[2]] if "$ref" in at else at
        if not path:
            return True
        choices = [at, *at.get("anyOf", ()), *at.get("allOf", ())]
        if any("$ref" in each for each in choices[1:]):
            return any(exists(path, each) for each in choices[1:])
        if path[0] in at.get("properties", {}):
            return exists(path[1:], at["properties"][path[0]])
        more = at.get("additionalProperties")
        return exists(path[1:], more) if isinstance(more, dict) else False

    found = [
        (page.name, name)
        for page in PAGES
        for name in KEY.findall(page.read_text(encoding="utf-8"))
        if name.partition(".")[0] in sections and name.rpartition(".")[2] not in FILES and name not in events_in_code()
    ]
    assert len(found) > 10
    assert [(page, name) for page, name in found if not exists(name.split("."), schema)] == []


def test_stopping_at_once_is_the_same_everywhere() -> None:
    """Two pages that name two ways are two chances to take the one after which nothing can be canceled."""
    said = {
        page.name: RUN.findall(sentence)[0][0]
        for page in PAGES
        for sentence in re.findall(r"[Tt]o stop trading at once:[^\n]*", page.read_text(encoding="utf-8"))
    }
    assert said.keys() >= {"going-live.md", "runbook.md"}
    assert set(said.values()) == {"halt-trading"}
