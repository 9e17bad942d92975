"""OKX's pages: newest first, older than `after`, newer than `before`, between `begin` and `end`, at most `limit`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TypeVar

from kontor.paper.replies import wrong

T = TypeVar("T")
MAX_ROWS = 100


def row_limit(params: Mapping[str, str], most: int = MAX_ROWS, default: int = MAX_ROWS) -> int:
    """The `limit` parameter, capped as OKX caps it."""
    return max(1, min(most, whole(params, "limit", default)))


def whole(params: Mapping[str, str], name: str, default: int) -> int:
    """A whole number among the parameters, or the default when it is absent."""
    text = params.get(name, "")
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise wrong(name) from None


def optional(params: Mapping[str, str], name: str) -> int | None:
    """A whole number among the parameters, or None when it is absent."""
    return whole(params, name, 0) if params.get(name) else None


def page(
    rows: Iterable[T],
    params: Mapping[str, str],
    *,
    number: Callable[[T], str],
    at_ms: Callable[[T], int],
) -> list[T]:
    """The asked-for page of `rows`, which come newest first; `number` is the id pages are counted by."""
    after, before = optional(params, "after"), optional(params, "before")
    begin, end = optional(params, "begin"), optional(params, "end")
    chosen = (
        row
        for row in rows
        if (after is None or int(number(row)) < after)
        and (before is None or int(number(row)) > before)
        and (begin is None or at_ms(row) >= begin)
        and (end is None or at_ms(row) <= end)
    )
    return list(islice(chosen, row_limit(params)))
