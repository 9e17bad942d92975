"""Waiting for changes, on every adapter; across two stores on one database where there is one."""

import asyncio
from dataclasses import replace

import pytest

from kontor.domain.account import Balance
from kontor.domain.order import OrderState
from kontor.ports import Store
from tests.contract.store.builders import NOW, at, enqueued, make_candles, make_fill, make_order
from tests.contract.store.conftest import OpenStore

LONG, SHORT = 20.0, 0.05


async def waiting(store: Store, account: str = "paper") -> asyncio.Task[bool]:
    """A waiter that is really waiting: it has looked, and found nothing to do."""
    assert not await store.orders.wait_for_change(account, seconds=0)
    task = asyncio.create_task(store.orders.wait_for_change(account, seconds=LONG))
    await asyncio.sleep(0)
    return task


async def test_nothing_happens_and_the_wait_ends_with_false(store: Store) -> None:
    """The executor goes on to its other duties after the time it gave."""
    assert not await store.orders.wait_for_change("paper", seconds=SHORT)


async def test_an_order_a_cancel_a_fill_and_a_record_each_wake_the_waiter(store: Store) -> None:
    """Whatever may give the executor something to do."""
    order = make_order("a")
    commits = [
        lambda: store.orders.enqueue([order], "test"),
        lambda: store.orders.record([(order, replace(order, attempts=1))], actor="test", at=NOW),
        lambda: store.orders.request_cancel(["a"], actor="test", at=NOW),
        lambda: store.orders.save_fills("paper", [make_fill("t1")]),
    ]
    for commit in commits:
        task = await waiting(store)
        await commit()
        assert await task


async def test_what_was_committed_between_two_waits_is_not_missed(store: Store) -> None:
    """The executor works on what it found while the next order comes in."""
    assert await store.orders.pending("paper") == []
    await enqueued(store, make_order("a"))
    assert await store.orders.wait_for_change("paper", seconds=LONG)
    assert not await store.orders.wait_for_change("paper", seconds=SHORT)


async def test_repetitions_and_other_matters_wake_nobody(store: Store) -> None:
    """A known order, a known fill, a refused record, another account, candles, balances, attributes."""
    (order, *_) = await enqueued(store, make_order("a"))
    await store.orders.save_fills("paper", [make_fill("t1")])
    await store.orders.wait_for_change("paper", seconds=0)
    await store.orders.enqueue([make_order("a")], "test")
    await store.orders.save_fills("paper", [make_fill("t1")])
    stale = replace(order, state=OrderState.SUBMITTED)
    await store.orders.record([(stale, replace(stale, attempts=1))], actor="test", at=NOW)
    await store.orders.request_cancel(["nobody"], actor="test", at=NOW)
    await store.orders.enqueue([make_order("b", account="other")], "test")
    await store.market.save_candles("paper", "1m", {"BTC/USD:USD": make_candles(0, 5)})
    money = make_fill("x").price
    await store.account.save_balance("paper", Balance("USD", money, money, money, NOW))
    await store.desk.set_attribute("paper", "x", 1, NOW)
    assert not await store.orders.wait_for_change("paper", seconds=SHORT)


async def test_several_waiters_all_wake(store: Store) -> None:
    """A watcher in the CLI does not take the executor's wake-up away."""
    tasks = [await waiting(store), asyncio.create_task(store.orders.wait_for_change("paper", seconds=LONG))]
    await asyncio.sleep(0)
    await enqueued(store, make_order("a"))
    assert await asyncio.gather(*tasks) == [True, True]


async def test_a_canceled_wait_leaves_the_store_usable(store: Store) -> None:
    """Stopping the executor in mid-wait is the normal stop."""
    task = await waiting(store)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    again = await waiting(store)
    await enqueued(store, make_order("a"))
    assert await again


async def test_closing_wakes_the_waiter(store: Store) -> None:
    """A process that shuts down does not hang in a wait."""
    task = await waiting(store)
    await store.close()
    assert await asyncio.wait_for(task, LONG) is False


async def test_another_store_on_the_same_database_wakes_the_waiter(url: str, opened: OpenStore) -> None:
    """place_order commits in one process, the executor waits in another."""
    ours, theirs = opened(url), opened(url)
    task = await waiting(ours)
    await enqueued(theirs, make_order("a"))
    assert await task
    assert [order.client_order_id for order in await ours.orders.pending("paper")] == ["a"]
    task = await waiting(ours)
    await theirs.orders.request_cancel(["a"], actor="test", at=at(1))
    assert await task


async def test_what_another_store_commits_between_two_waits_is_not_missed(url: str, opened: OpenStore) -> None:
    """The same across processes."""
    ours, theirs = opened(url), opened(url)
    assert await ours.orders.pending("paper") == []
    await enqueued(theirs, make_order("a"))
    assert await ours.orders.wait_for_change("paper", seconds=LONG)


async def test_candles_written_by_another_store_wake_nobody(url: str, opened: OpenStore) -> None:
    """The updates process writes all day; the executor must not look at its queue each time."""
    ours, theirs = opened(url), opened(url)
    task = await waiting(ours)
    for first in range(5):
        await theirs.market.save_candles("paper", "1m", {"BTC/USD:USD": make_candles(first, 200)})
        done, _ = await asyncio.wait([task], timeout=0.02)
        assert not done
    assert len((await ours.market.candles("paper", "1m", ["BTC/USD:USD"]))["BTC/USD:USD"]) == 204
    await enqueued(theirs, make_order("a"))
    assert await task
