"""Pages: everything there is, each entry once, whatever way the venue turns them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from kontor.errors import Incomplete
from kontor.exchange.paging import MAX_PAGES, Entry, collect_by_id, collect_by_time


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("since", [0, 40, None])
async def test_more_fills_than_a_page_holds_are_all_collected(newest_first: bool, since: int | None) -> None:
    """Some venues answer a full page with the oldest, some with the newest; two share a millisecond."""
    trades = [{"id": str(number), "symbol": "BTC/USD", "timestamp": number // 2} for number in range(250)]
    calls = 0

    async def fetch(start: int | None, until: int | None) -> Sequence[Any]:
        nonlocal calls
        calls += 1
        found = [
            trade
            for trade in trades
            if (start is None or trade["timestamp"] >= start) and (until is None or trade["timestamp"] <= until)
        ]
        return found[-20:] if newest_first or start is None else found[:20]

    found = await collect_by_time(fetch, since, 20)
    wanted = [trade["id"] for trade in trades if since is None or trade["timestamp"] >= since]
    assert [trade["id"] for trade in found] == wanted
    assert calls < 60


@pytest.mark.parametrize("count", [0, 1, 20, 21, 95, 100])
async def test_pages_by_id_go_back_to_the_first_entry(count: int) -> None:
    """A hundred fills of one sweep share a millisecond: only ids tell them apart. Ids are numbers of growing length."""
    entries = [{"id": str(number)} for number in range(95, 95 + count)]
    calls = 0

    async def fetch(params: Any) -> Sequence[Any]:
        nonlocal calls
        calls += 1
        before = int(params.get("after", 10**9))
        return [entry for entry in reversed(entries) if int(entry["id"]) < before][:20]

    found = await collect_by_id(fetch, "after", lambda entry: entry["id"], 20)
    assert sorted(int(entry["id"]) for entry in found) == list(range(95, 95 + count))
    assert calls == count // 20 + 1


async def test_a_venue_that_repeats_its_page_ends_the_search() -> None:
    """It ignores the parameter; asking forever would not help."""
    page = [{"id": str(number)} for number in range(20)]

    async def fetch(_params: Any) -> Sequence[Any]:
        return page

    assert len(await collect_by_id(fetch, "after", lambda entry: entry["id"], 20)) == 20


async def test_a_list_with_too_many_pages_is_an_error_where_all_of_it_is_needed() -> None:
    """What is missing would never be asked for again."""

    async def endless(params: Mapping[str, Any]) -> Sequence[Entry]:
        last = int(params.get("after", 10_000))
        return [{"id": str(last - number)} for number in range(1, 4)]

    assert len(await collect_by_id(endless, "after", lambda entry: entry["id"], 3)) == 3 * MAX_PAGES
    with pytest.raises(Incomplete, match="300 entries"):
        await collect_by_id(endless, "after", lambda entry: entry["id"], 3, all_or_none=True)
