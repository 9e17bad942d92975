"""A YAML file with the line of every key, so that a mistake can be shown where it stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kontor.errors import ConfigError

Path_ = tuple[str | int, ...]
MERGE = "tag:yaml.org,2002:merge"
MOST_PARTS = 50_000


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a file: its place, what is wrong, and what to do about it."""

    file: str
    line: int
    key: str
    sentence: str
    # Whether a deployment with it would do something else than was meant; others only deserve a look.
    blocks: bool = True

    def __str__(self) -> str:
        place = f"{self.file} line {self.line}"
        return f"{place}: {self.key}: {self.sentence}" if self.key else f"{place}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and on which line each part of it begins."""

    name: str
    data: Any
    lines: Mapping[Path_, int]
    problems: Sequence[Problem] = field(default=())

    def line(self, path: Sequence[str | int]) -> int:
        """The line of a key, or of the nearest part around it that is in the file."""
        place = tuple(path)
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def problem(self, path: Sequence[str | int], sentence: str, *, blocks: bool = True) -> Problem:
        """A mistake at a key."""
        return Problem(self.name, self.line(path), spelled(path), sentence, blocks)


def spelled(path: Sequence[str | int]) -> str:
    """A path for a sentence: `deployments[2].parameters.steps[0].call`, on one line whatever the keys hold."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def read_document(path: Path, *, name: str = "") -> Document:
    """The file with its lines; raises ConfigError when it is missing, unreadable or not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError("there is no such file; start from the one in the repository", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=str(path)) from None
    return parse_document(text, name=name or path.name)


def parse_document(text: str, *, name: str) -> Document:
    """YAML text with its lines; raises ConfigError, with the line, when it is not YAML."""
    loader = yaml.SafeLoader(text) if _is_readable(text) else None
    if loader is None:
        raise ConfigError("holds characters that YAML does not allow; save it as plain text", where=name)
    try:
        node = loader.get_single_node()
        if node is None:
            return Document(name, None, {})
        walk = _Walk(name)
        walk.visit(node, ())
        return Document(name, loader.construct_document(node), walk.lines, walk.problems)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise ConfigError(f"{problem}; mend the YAML there", where=f"{name}{line}") from None
    except RecursionError:
        raise ConfigError("is nested too deeply, or contains itself; mend the YAML", where=name) from None
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
        # Dates and numbers that look right and are not: PyYAML lets Python's own errors through.
        line = loader.line + 1 if loader.line else 1
        raise ConfigError(
            f"a date or number cannot be read ({error}); put it in quotes", where=f"{name} line {line}"
        ) from None
    finally:
        loader.dispose()


def _is_readable(text: str) -> bool:
    return yaml.reader.Reader.NON_PRINTABLE.search(text) is None


class _Walk:
    """Notes the line of each part of a file, and finds keys that are there twice."""

    def __init__(self, name: str) -> None:
        self.lines: dict[Path_, int] = {}
        self.problems: list[Problem] = []
        self._name = name
        self._visited = 0

    def visit(self, node: yaml.Node, path: Path_, around: frozenset[int] = frozenset()) -> None:
        """Note a part and all within it; raises RecursionError for one that contains itself or never ends."""
        self._visited += 1
        # A few aliases of aliases are a billion parts.
        if id(node) in around or self._visited > MOST_PARTS:
            raise RecursionError
        around = around | {id(node)}
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self.visit(item, (*path, number), around)
        elif isinstance(node, yaml.MappingNode):
            self._visit_mapping(node, path, around)

    def _visit_mapping(self, node: yaml.MappingNode, path: Path_, around: frozenset[int]) -> None:
        seen: dict[str, int] = {}
        # Own keys first: they win over what `<<` brings in, whose lines are those where it was written.
        for key, value in sorted(node.value, key=lambda pair: pair[0].tag == MERGE):
            if key.tag == MERGE:
                for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    self.visit(part, path, around)
                continue
            word = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            line = key.start_mark.line + 1
            place = (*path, word)
            if word in seen:
                sentence = f"is there twice, on line {seen[word]} too; remove one"
                self.problems.append(Problem(self._name, line, spelled(place), sentence))
            seen[word] = line
            self.lines.setdefault(place, line)
            self.visit(value, place, around)
