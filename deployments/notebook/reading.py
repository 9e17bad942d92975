"""Reading updater_config.yaml: as it was cut out of the notebook, its indentation and its text `None` included."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from kontor.config import Document, parse_document
from kontor.errors import ConfigError

SECTIONS = ("class_attributes", "shared_attributes", "tasks")
NONE = frozenset({"None", "none", "NONE"})


def read_notebook(path: Path) -> Document:
    """The file with its lines; raises ConfigError when it is no configuration of the notebook's."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError("there is no such file; name the notebook's updater_config.yaml", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=str(path)) from None
    document = parse_document(_aligned(text), name=path.name)
    if document.problems:
        raise ConfigError("; ".join(map(str, document.problems)))
    if not isinstance(document.data, dict) or not set(document.data) & set(SECTIONS):
        raise ConfigError(
            f"holds none of {', '.join(SECTIONS)}; name the notebook's updater_config.yaml", where=path.name
        )
    return Document(document.name, without_none(document.data), document.lines)


def without_none(value: Any) -> Any:
    """The value with null where the old file has the text `None`, which its reader took for Python's."""
    if isinstance(value, dict):
        return {key: without_none(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_none(inner) for inner in value]
    return None if isinstance(value, str) and value.strip() in NONE else value


def _aligned(text: str) -> str:
    """Without a common indentation; a first line that lost its own in the cutting gets back to the others."""
    lines = text.replace("\t", "    ").splitlines()
    filled = [number for number, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    if not filled:
        return text
    first, rest = filled[0], filled[1:]
    others = [len(lines[number]) - len(lines[number].lstrip()) for number in rest]
    own = len(lines[first]) - len(lines[first].lstrip())
    # Sections all stand in one column, so with the first line cut short another section shows where that is.
    sections = [
        len(lines[number]) - len(lines[number].lstrip())
        for number in rest
        if lines[number].strip().partition(":")[0] in SECTIONS
    ]
    if sections and own < min(sections) and others and min(others) >= min(sections):
        lines[first] = " " * min(sections) + lines[first].lstrip()
    return textwrap.dedent("\n".join(line if line.strip() else "" for line in lines)) + "\n"
