"""kontor.yaml as a page: every section, every key, with what the code says about it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import DecimalSchema, FloatSchema

from deployments.reference.wording import LINK, Schema, default, kind, table
from kontor.config import KontorConfig
from kontor.config.accounts import As

HEAD = """# Settings: kontor.yaml

Every key of `kontor.yaml` with its type, limits and default, as this version reads it. A key that is not here is a
mistake, and `kontor config check` names its line. What they are for: [configuration](../configuration.md).
"""


class _Numbers(GenerateJsonSchema):
    """A decimal is a number to a reader, although a text of digits would do as well."""

    def decimal_schema(self, schema: DecimalSchema) -> JsonSchemaValue:
        """As for a float."""
        return self.float_schema(cast("FloatSchema", schema))


def page() -> str:
    """The page in Markdown."""
    schema = KontorConfig.model_json_schema(schema_generator=_Numbers)
    definitions = schema.get("$defs", {})
    sections = _sections()
    for section, path in sections.items():
        definitions[section.__name__] |= {"title": path, LINK: f"#{_anchor(section)}"}
    parts = [HEAD, _section(KontorConfig, "## The file", schema, definitions)]
    for section, path in sections.items():
        heading = f"## {path} {{ #{_anchor(section)} }}"
        parts.append(_section(section, heading, definitions[section.__name__], definitions))
    return "\n\n".join(parts) + "\n"


def comments(section: type[BaseModel]) -> Mapping[str, str]:
    """What the source says right above each field of a section; fields without such a comment are left out."""
    lines = textwrap.dedent(inspect.getsource(section)).splitlines()
    body = ast.parse("\n".join(lines)).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - it is the source of a class
    found: dict[str, str] = {}
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above: list[str] = []
            for line in reversed(lines[: node.lineno - 1]):
                if not line.lstrip().startswith("#"):
                    break
                above.insert(0, line.strip().lstrip("# "))
            if above:
                found[node.target.id] = " ".join(above)
    return found


def _section(section: type[BaseModel], heading: str, schema: Schema, definitions: Mapping[str, Schema]) -> str:
    said = comments(section)
    required = schema.get("required", [])
    rows = [
        (
            f"`{name}`",
            kind(field, definitions),
            default(field, is_required=name in required),
            field.get("description") or said.get(name, ""),
        )
        for name, field in schema["properties"].items()
    ]
    return f"{heading}\n\n{schema.get('description', '')}\n\n{table(['key', 'value', 'default', 'meaning'], rows)}"


def _sections() -> Mapping[type[BaseModel], str]:
    """Every section, those inside others included, with its place in the file, where it comes first."""
    found: dict[type[BaseModel], str] = {}

    def walk(section: type[BaseModel], path: str) -> None:
        for name, field in section.model_fields.items():
            kinds = [field.annotation, *(each.kind for each in field.metadata if isinstance(each, As))]
            for inside, is_named in (each for one in kinds for each in _models_in(one, is_named=False)):
                if inside not in found:
                    found[inside] = f"{path}{name}{'.NAME' if is_named else ''}"
                    walk(inside, f"{found[inside]}.")

    walk(KontorConfig, "")
    return found


def _models_in(annotation: Any, *, is_named: bool) -> Iterator[tuple[type[BaseModel], bool]]:
    """The sections in a type, and whether the user gives them names, as in a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, is_named
    is_named = is_named or get_origin(annotation) is dict
    for inside in get_args(annotation):
        yield from _models_in(inside, is_named=is_named)


def _anchor(section: type[BaseModel]) -> str:
    return section.__name__.lower()
