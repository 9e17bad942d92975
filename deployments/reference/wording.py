"""JSON Schema in words: what a value may be, within which limits, and what it is when it is left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

# Where a definition is described, put there by whoever writes the page.
LINK = "x-link"

_BOUNDS = {
    "exclusiveMinimum": "more than",
    "minimum": "at least",
    "exclusiveMaximum": "less than",
    "maximum": "at most",
}
_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
    "null": "nothing",
}


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def resolved(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """The schema itself, where it is only a reference to one of the definitions."""
    reference = schema.get("$ref")
    return definitions[reference.rpartition("/")[2]] if reference else schema


def kind(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    """What a value may be, with its limits: `whole number, at least 3, at most 120`."""
    if choices := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(kind(each, definitions) for each in choices))
    found = resolved(schema, definitions)
    if link := found.get(LINK):
        return f"[{found['title']}]({link})"
    if "enum" in found:
        return ", ".join(f"`{each}`" for each in found["enum"])
    if "const" in found:
        return f"`{found['const']}`"
    limits = [f"{words} {found[name]:g}" for name, words in _BOUNDS.items() if name in found]
    return ", ".join([_plain_kind(found, definitions), *limits])


def default(schema: Schema, *, is_required: bool) -> str:
    """What a value is when it is left out."""
    if is_required:
        return "required"
    value = schema.get("default")
    if value is None or value in ({}, []) or isinstance(value, Mapping):
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _plain_kind(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    name = _TYPES.get(str(schema.get("type", "")), "anything")
    inside = schema.get("items") or schema.get("additionalProperties")
    if name in {"list", "mapping"} and isinstance(inside, Mapping):
        return f"{name} of {kind(inside, definitions)}"
    return name


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
