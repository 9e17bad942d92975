"""What fits where: the coarse shape of a type or value, so that arguments can be checked before anything runs."""

import inspect
import types
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Union, get_args, get_origin


class Shape(StrEnum):
    """What a value looks like; the text is how a message calls it."""

    ANYTHING = "anything"
    NOTHING = "null"
    TRUTH = "true or false"
    NUMBER = "a number"
    TEXT = "a text"
    TEXTS = "a list of texts"
    LIST = "a list"
    OBJECT = "an object"


Shapes = frozenset[Shape]
ANYTHING: Shapes = frozenset({Shape.ANYTHING})
# In this order: a bool is an int, a TypedDict a dict.
PLAIN: Sequence[tuple[tuple[type, ...], Shape]] = (
    ((Mapping,), Shape.OBJECT),
    ((str,), Shape.TEXT),
    ((bool,), Shape.TRUTH),
    ((int, float, Decimal), Shape.NUMBER),
)


def shapes_of(annotation: Any) -> Shapes:
    """The shapes a type allows; ANYTHING where it does not say."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return shapes_of(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return frozenset().union(*(shapes_of(part) for part in get_args(annotation)))
    if origin is Literal:
        return frozenset().union(*(shapes_of(type(value)) for value in get_args(annotation)))
    if annotation is None or annotation is type(None):
        return frozenset({Shape.NOTHING})
    return _plain(annotation, origin or annotation)


def shapes_of_value(value: Any) -> Shapes:
    """The shape of a value that is there."""
    if isinstance(value, list | tuple):
        is_texts = all(isinstance(item, str) for item in value)
        return frozenset({Shape.TEXTS, Shape.LIST} if not value else {Shape.TEXTS if is_texts else Shape.LIST})
    return shapes_of(type(value))


def fits(produced: Shapes, wanted: Shapes) -> bool:
    """Whether a value of one of the produced shapes can be what is wanted."""
    if Shape.ANYTHING in produced or Shape.ANYTHING in wanted:
        return True
    # A list whose items nobody described may well be one of texts, and the other way round.
    lists = {Shape.LIST, Shape.TEXTS}
    return bool(produced & wanted) or bool(produced & lists and wanted & lists)


def spelled(shapes: Shapes) -> str:
    """The shapes for a sentence: `a list of texts or null`."""
    return " or ".join(shape.value for shape in Shape if shape in shapes)


def _plain(annotation: Any, kind: Any) -> Shapes:
    if annotation in {Any, inspect.Parameter.empty} or not isinstance(kind, type):
        return ANYTHING
    for kinds, shape in PLAIN:
        if issubclass(kind, kinds):
            return frozenset({shape})
    if issubclass(kind, Collection):
        items = {shapes_of(part) for part in get_args(annotation) if part is not ...}
        return frozenset({Shape.TEXTS if items == {frozenset({Shape.TEXT})} else Shape.LIST})
    return ANYTHING
