"""What a strategy's process may answer with: plain values and Kontor's own, so that none of its code runs on the desk.

A pickle names classes, and whoever reads it imports their modules: a decision that holds a class of the user's would
run the user's file where keys and connections are.
"""

import io
import pickle
from collections.abc import Callable
from enum import Enum
from importlib import import_module
from typing import Any

# Orders, their fields and what a view holds; classes only, no functions.
_OURS = ("kontor.domain.", "kontor.strategies.protocol", "kontor.strategies.view")
_PLAIN = frozenset(
    {
        ("builtins", "set"),
        ("builtins", "frozenset"),
        ("builtins", "complex"),
        ("builtins", "bytearray"),
        ("builtins", "range"),
        ("collections", "OrderedDict"),
        ("collections", "deque"),
        ("datetime", "date"),
        ("datetime", "datetime"),
        ("datetime", "time"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
        ("decimal", "Decimal"),
    }
)


class Unreadable(Exception):
    """The answer holds something that the desk does not take."""


def read_answer(payload: bytes) -> tuple[str, Any]:
    """A word and what goes with it; raises Unreadable for anything else, whatever it holds."""
    try:
        answer = _Plain(io.BytesIO(payload)).load()
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(repr(error)) from error
    match answer:
        case (str() as word, result):
            return word, result
        case _:
            raise Unreadable(f"{type(answer).__name__} is no answer")


class _Plain(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) == ("builtins", "getattr"):
            # How some versions of Python write the member of an enumeration.
            return _member
        if (module_name, global_name) in _PLAIN or module_name.startswith(_OURS):
            found = getattr(import_module(module_name), global_name, None)
            # Its own, not what it has imported itself.
            if isinstance(found, type) and found.__module__ == module_name:
                return found
        raise Unreadable(f"it holds {module_name}.{global_name}; return plain values and Kontor's own")


def _member(kind: Callable[..., Any], name: str) -> Enum:
    if not isinstance(kind, type) or not issubclass(kind, Enum):
        raise Unreadable(f"it holds an attribute of {kind!r}")
    return kind[name]
