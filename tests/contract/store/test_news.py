"""Following the history of an account, on every adapter: each event and fill once, in order, from where one stopped."""

import asyncio
from dataclasses import replace

from kontor.domain.order import OrderState
from kontor.ports import HistoryMark, Store
from tests.contract.store.builders import at, enqueued, make_fill, make_order, moved

S = OrderState


async def test_news_come_once_and_in_order(store: Store) -> None:
    """Who reads on from the mark neither misses nor repeats anything."""
    first, second = await enqueued(store, make_order("a"), make_order("b"))
    await moved(store, first, S.SUBMITTED, attempts=1)
    found = await store.orders.news("paper", HistoryMark())
    assert [(event.client_order_id, event.new_state) for event, _ in found.events] == [
        ("a", S.INITIALIZED),
        ("b", S.INITIALIZED),
        ("a", S.SUBMITTED),
    ]
    assert [order.state for _, order in found.events] == [S.SUBMITTED, S.INITIALIZED, S.SUBMITTED]
    assert (await store.orders.news("paper", found.mark)).events == []
    await moved(store, second, S.CANCELED)
    again = await store.orders.news("paper", found.mark)
    assert [(event.client_order_id, event.old_state, event.new_state) for event, _ in again.events] == [
        ("b", S.INITIALIZED, S.CANCELED)
    ]
    assert again.mark.event > found.mark.event


async def test_fills_are_news_too(store: Store) -> None:
    """A fill seen twice is news once."""
    await store.orders.save_fills("paper", [make_fill("t1"), make_fill("t2")])
    found = await store.orders.news("paper", HistoryMark())
    assert [fill.trade_id for fill in found.fills] == ["t1", "t2"]
    await store.orders.save_fills("paper", [make_fill("t2"), make_fill("t3")])
    assert [fill.trade_id for fill in (await store.orders.news("paper", found.mark)).fills] == ["t3"]


async def test_a_long_history_comes_in_pieces(store: Store) -> None:
    """A night without a teller must not be one huge read in the morning."""
    await enqueued(store, *(make_order(f"o{number}", created_at=at(number)) for number in range(5)))
    mark, seen = HistoryMark(), []
    while (found := await store.orders.news("paper", mark, limit=2)).events:
        seen += [event.client_order_id for event, _ in found.events]
        mark = found.mark
    assert seen == [f"o{number}" for number in range(5)]


async def test_another_account_is_other_news(store: Store) -> None:
    """Two accounts share one store, and each has a teller."""
    await enqueued(store, make_order("mine"), make_order("theirs", account="live"))
    await store.orders.save_fills("live", [make_fill("t1")])
    assert [event.client_order_id for event, _ in (await store.orders.news("paper", HistoryMark())).events] == ["mine"]
    assert (await store.orders.news("paper", HistoryMark())).fills == []
    assert len((await store.orders.news("live", HistoryMark())).fills) == 1


async def test_the_end_of_the_history_is_where_nothing_is_new(store: Store) -> None:
    """A teller that starts on an old store does not tell the past."""
    assert await store.orders.news("paper", await store.orders.history_end("paper")) == await store.orders.news(
        "paper", HistoryMark()
    )
    (order,) = await enqueued(store, make_order("a"))
    await store.orders.save_fills("paper", [make_fill("t1")])
    end = await store.orders.history_end("paper")
    assert (await store.orders.news("paper", end)).events == []
    assert (await store.orders.news("paper", end)).fills == []
    await store.orders.request_cancel([order.client_order_id], actor="test", at=at(2))
    assert len((await store.orders.news("paper", end)).events) == 1


async def test_nothing_is_missed_while_many_write(store: Store) -> None:
    """On PostgreSQL a smaller number could become visible after a larger one, were commits not in order."""
    mark, seen = HistoryMark(), []

    async def write(number: int) -> None:
        (order,) = await enqueued(store, make_order(f"o{number}"))
        if number % 2:
            await store.orders.request_cancel([order.client_order_id], actor="test", at=at(1))
        else:
            await store.orders.record([(order, replace(order, reason="x"))], actor="test", at=at(1))

    writers = [asyncio.create_task(write(number)) for number in range(20)]
    while True:
        over = all(writer.done() for writer in writers)
        found = await store.orders.news("paper", mark)
        seen += [event.client_order_id for event, _ in found.events]
        mark = found.mark
        if over:
            break
        await asyncio.sleep(0)
    await asyncio.gather(*writers)
    assert sorted(seen) == sorted([f"o{number}" for number in range(20)] * 2)
