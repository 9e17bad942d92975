"""More than one page: by the venue's own ids where it pages by them, else by time."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from kontor.errors import Incomplete

logger = logging.getLogger(__name__)

Entry = Mapping[str, Any]
# (since, until) in epoch milliseconds -> one page of ccxt trades.
FetchByTime = Callable[[int | None, int | None], Awaitable[Sequence[Entry]]]
# Extra parameters -> one page.
FetchById = Callable[[Mapping[str, Any]], Awaitable[Sequence[Entry]]]
MAX_PAGES = 100


async def collect_by_id(
    fetch: FetchById, parameter: str, id_of: Callable[[Entry], str], full: int, *, all_or_none: bool = False
) -> Sequence[Entry]:
    """Everything, each entry once: newest first, then what comes after the oldest id seen, until a page is not full.

    When there are more pages than MAX_PAGES, the newest of them, or Incomplete with `all_or_none`.
    """
    found: dict[str, Entry] = {}
    params: dict[str, Any] = {}
    for _ in range(MAX_PAGES):
        page = {id_of(entry): entry for entry in await fetch(params)}
        fresh = page.keys() - found.keys()
        found |= page
        if not fresh or len(page) < full:
            return list(found.values())
        params = {parameter: min(page, key=_by_number)}
    if all_or_none:
        raise Incomplete(f"more than {MAX_PAGES} pages ({len(found)} entries); ask for a shorter time")
    logger.warning("pages_incomplete pages=%s entries=%s", MAX_PAGES, len(found))
    return list(found.values())


async def collect_by_time(fetch: FetchByTime, since: int | None, full: int) -> Sequence[Entry]:
    """Every trade since a moment (None: all there are), each once, oldest first; a page of `full` trades is full.

    Some venues answer a full page with the oldest trades since then, some with the newest: both ends are tried until
    neither brings a trade that was not there yet.
    """
    found = {_key(trade): trade for trade in await fetch(since, None)}
    if len(found) < full:
        return _by_time(found)
    for _ in range(MAX_PAGES):
        known = len(found)
        ordered = _by_time(found)
        later, earlier = (_time(ordered[-1]), None), (since, _time(ordered[0]))
        for bounds in (earlier,) if since is None else (later, earlier):
            found.update({_key(trade): trade for trade in await fetch(*bounds)})
        if len(found) == known:
            return _by_time(found)
    logger.warning("pages_incomplete pages=%s entries=%s", MAX_PAGES, len(found))
    return _by_time(found)


def _key(trade: Entry) -> tuple[Any, ...]:
    # Trade ids are unique within a market only.
    return trade.get("symbol"), trade.get("id"), trade.get("order")


def _time(trade: Entry) -> int:
    return int(trade.get("timestamp") or 0)


def _by_time(found: Mapping[Any, Entry]) -> list[Entry]:
    return sorted(found.values(), key=_time)


def _by_number(venue_id: str) -> tuple[int, str]:
    return len(venue_id), venue_id
