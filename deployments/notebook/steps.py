"""The subtasks of a task as steps: calls, arguments and targets in our words, or why that cannot be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from deployments.notebook import words
from kontor.errors import ConfigError
from kontor.updaters.calls import find_call
from kontor.updaters.shared import SETTINGS, TYPED, check_target
from kontor.updaters.step import NAME, Step
from tasks.updater_calls import registry

KEYS = frozenset({"type", "modul", "method", "input_args", "target_attr", "target_save_update", "return_value"})
SELF = "self."


class NotImported(Exception):
    """Something that has no meaning here; `key` is where, within its task."""

    def __init__(self, why: str, *, key: str = "") -> None:
        self.key = key
        super().__init__(why)


class Steps:
    """Takes over subtasks, knowing which shared attributes the old file defines."""

    def __init__(self, attributes: Mapping[Any, Any], tasks: Mapping[Any, Any]) -> None:
        self._known = {str(name) for name in attributes} | _targets(tasks)

    def of(self, task: Mapping[str, Any]) -> tuple[list[Step], dict[str, str]]:
        """The steps of a task, and by subtask what was changed; raises NotImported at the first that cannot be."""
        subtasks = task.get("subtasks")
        if not isinstance(subtasks, dict) or not subtasks:
            raise NotImported("has no subtasks", key="subtasks")
        steps, notes = [], {}
        for name, subtask in subtasks.items():
            try:
                step, note = self._one(subtask)
            except NotImported as error:
                key = f"subtasks.{name}" + (f".{error.key}" if error.key else "")
                raise NotImported(str(error), key=key) from None
            steps.append(step)
            notes[str(name)] = note
        return steps, notes

    def _one(self, subtask: Any) -> tuple[Step, str]:
        if not isinstance(subtask, dict):
            raise NotImported("must hold keys and values")
        for key in subtask.keys() - KEYS:
            raise NotImported("not a key of a subtask in the notebook", key=str(key))
        if subtask.get("type") not in words.SUBTASK_TYPES:
            raise NotImported(f"{subtask.get('type')!r} is neither async nor standard", key="type")
        call = _call(subtask)
        target = self._target(subtask)
        note = "type and modul are dropped: the call's name says it"
        if words.EXCHANGE in _arguments(subtask):
            note += f"; {words.EXCHANGE} too: every call has the exchange"
        if call == "get_total_balance" and target == "free_capital":
            call, note = "get_free_balance", f"get_total_balance is corrected: free capital is what is free; {note}"
        step = Step.model_validate(
            {
                "call": call,
                "args": [self._argument(each) for each in _arguments(subtask) if each != words.EXCHANGE],
                "target": target,
                "merge": _flag(subtask, "target_save_update", default=False) and target not in TYPED,
            }
        )
        found = find_call(registry()[0], call)
        try:
            found.bound(step)
        except ConfigError as error:
            raise NotImported(str(error), key="input_args") from None
        if target is not None:
            try:
                check_target(target, found.fills)
            except ConfigError as error:
                raise NotImported(str(error), key="target_attr") from None
        return step, note

    def _argument(self, given: Any) -> Any:
        if isinstance(given, list | dict) and SELF in str(given):
            raise NotImported(f"{given} hides a reference in a list or object", key="input_args")
        if isinstance(given, str) and given.startswith(SELF):
            return f"${self._name(given.removeprefix(SELF), 'input_args')}"
        return f"${given}" if isinstance(given, str) and given.startswith("$") else given

    def _target(self, subtask: Mapping[str, Any]) -> str | None:
        given = subtask.get("target_attr")
        if given is None or not _flag(subtask, "return_value", default=True):
            return None
        return self._name(str(given).removeprefix(SELF), "target_attr")

    def _name(self, old: str, key: str) -> str:
        new = words.RENAMED.get(old, old)
        if not re.match(NAME, new):
            raise NotImported(f"{old} is no name of one level: lower-case letters, digits and underscores", key=key)
        if old not in self._known and new not in TYPED and new not in SETTINGS:
            raise NotImported(f"nothing in the file defines {old}", key=key)
        return new


def _call(subtask: Mapping[str, Any]) -> str:
    method, module = subtask.get("method"), subtask.get("modul")
    if isinstance(method, str) and module in words.MODULES and method in words.METHODS:
        return words.METHODS[method]
    if isinstance(method, str) and method.startswith("fetch_") and method in registry()[0]:
        return method
    raise NotImported(
        f"{module}.{method} is nothing an updater may call; install it as an entry point, see docs/updaters.md",
        key="method",
    )


def _arguments(subtask: Mapping[str, Any]) -> list[Any]:
    given = subtask.get("input_args")
    if given is None:
        return []
    return list(given) if isinstance(given, list) else [given]


def _flag(subtask: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = subtask.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise NotImported(f"{value!r} is neither True nor False", key=key)
    return value


def _targets(tasks: Mapping[Any, Any]) -> set[str]:
    found = set()
    for task in tasks.values():
        subtasks = task.get("subtasks") if isinstance(task, dict) else None
        for subtask in subtasks.values() if isinstance(subtasks, dict) else ():
            if isinstance(subtask, dict) and isinstance(subtask.get("target_attr"), str):
                found.add(subtask["target_attr"].removeprefix(SELF))
    return found
