"""The runbook knows every alert that the code can make, and no other."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

from kontor.domain.order import OrderState
from kontor.notify.trades import _WORDS
from tasks.automations import watchwords

REPOSITORY = Path(__file__).parents[3]
# A digest is the others together; what each of them means stands there.
NOT_NEWS = {"alerts.digest"}
# The place of `event` in the method `alert` of a reconciliation.
EVENT_ARGUMENT = 3
EVENT = re.compile(r"[a-z]+(\.[a-z_]+)?")


def parsed(word: str) -> Iterator[tuple[Path, ast.AST]]:
    """Every node of every source file that has this word, with its file."""
    for package in ("kontor", "tasks", "flows", "deployments"):
        for file in (REPOSITORY / package).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            # What the worker calls an event is a word of its log.
            if word in text and "in_process" not in file.parts:
                yield from ((file, node) for node in ast.walk(ast.parse(text)))


@functools.cache
def events_in_code() -> frozenset[str]:
    """Every text that a parameter `event` is given, or has as its default, or that a name with `event` in it holds."""
    found = {text for word in ("event=", "_EVENTS", "report(") for _, node in parsed(word) for text in _events(node)}
    found |= {f"order.{OrderState(state).value.lower()}" for state in _WORDS}
    return frozenset({text for text in found if EVENT.fullmatch(text)} - NOT_NEWS)


def _events(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.keyword) and node.arg == "event":
        yield from _texts(node.value)
    elif isinstance(node, ast.Call) and _name(node.func) == "report" and node.args:
        # The one function that puts its event together.
        yield from (f"report.{kind}" for kind in _texts(node.args[0]))
    elif isinstance(node, ast.Call) and _name(node.func) == "alert" and len(node.args) > EVENT_ARGUMENT:
        yield from _texts(node.args[EVENT_ARGUMENT])
    elif isinstance(node, ast.arguments):
        for argument, value in zip(node.kwonlyargs, node.kw_defaults, strict=True):
            yield from _texts(value) if argument.arg == "event" and value is not None else ()
    elif isinstance(node, ast.Assign) and any("event" in (_name(each) or "").lower() for each in node.targets):
        yield from _texts(node.value)


def _name(node: ast.AST) -> str | None:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def _texts(node: ast.AST) -> Iterator[str]:
    """The texts a value can be; of a table its values, of a choice both."""
    if isinstance(node, ast.Dict):
        for value in node.values:
            yield from _texts(value)
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
    elif isinstance(node, ast.Call) and _name(node.func) == "get":
        for value in node.args[1:]:
            yield from _texts(value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def documented(page: str) -> set[str]:
    """The events in the first column of a page's tables, each of which is there once."""
    rows = re.findall(r"^\| (`[^|]+) \|", (REPOSITORY / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)?)`", row)]
    assert sorted(names) == sorted(set(names))
    return set(names)


def test_the_runbook_says_what_every_alert_means() -> None:
    """An alert at three in the morning is worth what its reader can do about it."""
    by_automation = {each.event for each in watchwords("desk")}
    assert len(by_automation) > 3
    assert documented("runbook.md") == events_in_code() | by_automation


def test_the_list_of_alerts_is_whole() -> None:
    """Filters in kontor.yaml go by these names."""
    assert documented("alerts.md") >= events_in_code()


def test_the_names_are_found_in_the_code() -> None:
    """A comparison with nothing would always hold."""
    some = {
        "order.unknown",
        "trading.halted",
        "drift",
        "flow.crashed",
        "flow.failed",
        "report.capital",
        "exit.triggered",
    }
    assert some <= events_in_code()


def test_every_alert_has_a_name() -> None:
    """One without cannot be filtered, and no entry of the runbook is about it."""
    nameless = [
        f"{file.relative_to(REPOSITORY)}:{node.lineno}"
        for file, node in parsed("Alert(")
        if isinstance(node, ast.Call) and _name(node.func) == "Alert"
        if not any(keyword.arg == "event" for keyword in node.keywords)
    ]
    assert nameless == []
