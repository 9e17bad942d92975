"""The reference is written from the code: every command, setting and flow is in it, in words."""

from __future__ import annotations

import re
from pathlib import Path

from deployments.cli import app
from deployments.project import Project
from deployments.reference import command_page, flow_page, settings_page
from deployments.reference.pictures import without_mermaid
from deployments.reference.wording import default, kind, table
from kontor.config import KontorConfig

REPOSITORY = Path(__file__).parents[3]


def test_every_command_is_there() -> None:
    """Also those that are added tomorrow."""
    page = command_page.page()
    names = [name for name in app if not name.startswith("-")]
    assert len(names) > 15
    assert [name for name in names if f"## kontor {name}" not in page] == []
    assert "Table of Contents" not in page
    assert "`--detach`" in page


def test_every_section_and_key_of_kontor_yaml_is_there() -> None:
    """With its place in the file, its limits, its default, and what the source says above it."""
    page = settings_page.page()
    everything = KontorConfig.model_json_schema()["$defs"]
    definitions = {name: each for name, each in everything.items() if "properties" in each}
    assert [name for name in definitions if f"{{ #{name.lower()} }}" not in page] == []
    keys = [key for definition in definitions.values() for key in definition["properties"]]
    assert [key for key in keys if f"| `{key}` |" not in page] == []
    assert "## alerts.channels.NAME.grouping {" in page
    assert "| `lease_seconds` | whole number, at least 3, at most 120 | `10` |" in page
    assert "| `max_drawdown_percent` | number, more than 0, at most 100 or nothing |" in page
    assert "A limit price may be this many percent worse than the last price." in page


def test_every_flow_is_there_with_its_parameters_and_schedule() -> None:
    """Those of the shipped prefect.yaml."""
    page = flow_page.page(Project(REPOSITORY))
    deployed = {entry.flow for entry in Project(REPOSITORY).entries()}
    assert [flow for flow in deployed if f"## {flow}\n" not in page] == []
    assert "`flows.market_data.update_tickers`: every 10 s, queue `updates`, at most 10 s, 2 retries." in page
    assert "| `side` | `buy`, `sell` | required | buy or sell. |" in page
    assert "| `steps` | list of [Step](../updaters.md#a-step) or nothing |" in page


def test_schemas_are_said_in_words() -> None:
    """Whoever reads the page has never seen a JSON Schema."""
    optional = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}
    assert kind(optional, {}) == "whole number, at least 1 or nothing"
    assert kind({"type": "object", "additionalProperties": {"type": "number"}}, {}) == "mapping of number"
    assert kind({"type": "array", "items": {"$ref": "#/$defs/Color"}}, {"Color": {"enum": ["red"]}}) == "list of `red`"
    assert default({"default": True}, is_required=False) == "`true`"
    assert default({}, is_required=True) == "required"
    assert table(["a"], [["x | y\nz"]]).endswith("| x \\| y z |")


def test_a_state_diagram_becomes_a_table() -> None:
    """Mermaid would have to be loaded from elsewhere."""
    page = without_mermaid((REPOSITORY / "docs/order-states.md").read_text(encoding="utf-8"))
    assert "mermaid" not in page
    assert "| new | INITIALIZED | intent and client order id committed |" in page
    assert "| SUBMITTED | ACCEPTED |  |" in page


def test_links_in_the_readme_lead_somewhere() -> None:
    """The build checks those of the pages; this page is read where the repository is."""
    links = re.findall(r"\]\(([^)#]+)", (REPOSITORY / "README.md").read_text(encoding="utf-8"))
    inside = [link for link in links if not link.startswith("http")]
    assert len(inside) > 10
    assert [link for link in inside if not (REPOSITORY / link).exists()] == []


def test_the_readme_names_every_command_and_every_deployed_flow() -> None:
    """What nobody is told of is used by nobody."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    commands = [name for name in app if not name.startswith("-")]
    assert [name for name in commands if f"kontor {name}" not in readme and f"`{name}`" not in readme] == []
    assert [entry.flow for entry in Project(REPOSITORY).entries() if f"`{entry.flow}`" not in readme] == []
