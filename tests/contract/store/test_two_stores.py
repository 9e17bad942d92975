"""Two stores on one database, as two processes have them: they see each other, and races have one winner."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from kontor.domain.account import Balance
from kontor.domain.order import OrderState
from kontor.errors import LeaseLost
from kontor.ports import Store
from tests.contract.store.builders import BTC, NOW, at, enqueued, make_candles, make_fill, make_order
from tests.contract.store.conftest import OpenStore

TTL = timedelta(seconds=10)
ROUNDS = 10


@pytest.fixture
def two(url: str, opened: OpenStore) -> tuple[Store, Store]:
    return opened(url), opened(url)


async def test_what_one_writes_the_other_reads(two: tuple[Store, Store]) -> None:
    """At once, without a cache in between."""
    one, other = two
    (order,) = await enqueued(one, make_order("a"))
    assert await other.orders.get("a") == order
    await other.orders.save_fills("paper", [make_fill("t1")])
    assert await one.orders.fills("paper") == [make_fill("t1")]
    await one.market.save_watchlist("paper", [BTC], NOW)
    found = await other.market.watchlist("paper")
    assert found
    assert found.value == (BTC,)


async def test_the_same_order_from_two_sides_is_one_order(two: tuple[Store, Store]) -> None:
    """Two runs of a flow derive the same ids at the same moment."""
    for i in range(ROUNDS):
        orders = [make_order(f"{i}-{j}", actor=f"run {j}") for j in range(5)]
        found = await asyncio.gather(two[0].orders.enqueue(orders, "one"), two[1].orders.enqueue(orders[::-1], "two"))
        assert list(found[0]) == orders
        assert list(found[1]) == orders[::-1]
    for order in await two[0].orders.find("paper"):
        assert len(await two[0].orders.events(order.client_order_id)) == 1


async def test_of_two_decisions_about_one_order_one_counts(two: tuple[Store, Store]) -> None:
    """The executor submits while an operator denies."""
    for i in range(ROUNDS):
        (order,) = await enqueued(two[0], make_order(f"{i}"))
        pairs = [(order, replace(order, state=state)) for state in (OrderState.SUBMITTED, OrderState.DENIED)]
        answers = await asyncio.gather(
            *(store.orders.record([pair], actor="x", at=NOW) for store, pair in zip(two, pairs, strict=True))
        )
        assert sorted(answer for (answer,) in answers) == [False, True]
        assert len(await two[0].orders.events(f"{i}")) == 2


async def test_the_same_fills_from_two_sides_count_once(two: tuple[Store, Store]) -> None:
    """The stream and the reconciliation book the same trades at the same moment."""
    await enqueued(two[0], make_order("a", venue_order_id="v1", filled_quantity=Decimal("0.4")))
    for i in range(ROUNDS):
        fills = [make_fill(f"{i}-{j}") for j in range(4)]
        new = await asyncio.gather(
            two[0].orders.save_fills("paper", fills), two[1].orders.save_fills("paper", fills[::-1])
        )
        assert sorted(fill.trade_id for fills in new for fill in fills) == [fill.trade_id for fill in fills]
    booked = await two[0].orders.fills("paper", client_order_id="a")
    assert len(booked) == 4 * ROUNDS
    assert await two[0].orders.short_of_fills("paper") == []


async def test_a_fill_and_its_acknowledgement_meet_however_they_cross(two: tuple[Store, Store]) -> None:
    """The fill is booked in one process while the other records the venue's order id."""
    for i in range(ROUNDS):
        (order,) = await enqueued(two[0], make_order(f"{i}", quantity=Decimal("0.04")))
        filled = replace(order, state=OrderState.FILLED, venue_order_id=f"v{i}", filled_quantity=Decimal("0.04"))
        await asyncio.gather(
            two[0].orders.record([(order, filled)], actor="x", at=NOW),
            two[1].orders.save_fills("paper", [make_fill(f"t{i}", venue_order_id=f"v{i}")]),
        )
        assert len(await two[0].orders.fills("paper", client_order_id=f"{i}")) == 1
    assert await two[0].orders.short_of_fills("paper") == []


async def test_a_takeover_and_a_late_write_never_both_succeed(two: tuple[Store, Store]) -> None:
    """If the old executor's record commits, it did so before the new one had the lease."""
    for i in range(ROUNDS):
        (order,) = await enqueued(two[0], make_order(f"{i}"))
        lease = await two[0].desk.acquire_lease("executor:paper", "one", TTL, at(100 * i))
        assert lease
        submitted = replace(order, state=OrderState.SUBMITTED)

        async def take_over_and_read(i: int = i) -> OrderState:
            assert await two[1].desk.acquire_lease("executor:paper", "two", TTL, at(100 * i + 50))
            seen = await two[1].orders.get(f"{i}")
            assert seen
            return seen.state

        recorded, seen = await asyncio.gather(
            two[0].orders.record([(order, submitted)], actor="one", at=NOW, fencing=lease.fencing),
            take_over_and_read(),
            return_exceptions=True,
        )
        final = await two[1].orders.get(f"{i}")
        assert final
        # What the new executor saw after its takeover is what there is: nothing came in behind its back.
        assert final.state is seen
        assert isinstance(recorded, LeaseLost) == (final.state is OrderState.INITIALIZED)
        newest = await two[1].desk.lease("executor:paper")
        assert newest
        await two[1].desk.release_lease(newest)


async def test_a_race_for_a_lease_has_one_winner(two: tuple[Store, Store]) -> None:
    """Two executors start together."""
    for i in range(ROUNDS):
        found = await asyncio.gather(
            *(store.desk.acquire_lease(f"l{i}", owner, TTL, NOW) for store, owner in zip(two, "ab", strict=True))
        )
        assert sum(lease is not None for lease in found) == 1


async def test_counters_merges_and_the_prefix_are_shared(two: tuple[Store, Store]) -> None:
    """Nothing is lost between two processes."""
    increments = [store.desk.increment("paper", "n", NOW) for store in two * ROUNDS]
    assert sorted(await asyncio.gather(*increments)) == list(range(1, 2 * ROUNDS + 1))
    merges = [
        store.desk.set_attribute("paper", "x", {f"{i}": i}, NOW, merge=True) for i, store in enumerate(two * ROUNDS)
    ]
    await asyncio.gather(*merges)
    found = await two[0].desk.attribute("paper", "x")
    assert found
    assert len(found.value) == 2 * ROUNDS
    prefixes = await asyncio.gather(*(store.desk.desk_prefix() for store in two))
    assert prefixes[0] == prefixes[1]


async def test_the_initial_capital_has_one_first(two: tuple[Store, Store]) -> None:
    """Whoever comes first, both then agree."""
    for store, total in zip(two, (Decimal(100), Decimal(200)), strict=True):
        balance = Balance("USD", total, total, Decimal(0), at(float(total)))
        await asyncio.gather(store.account.save_balance("paper", balance), store.account.balance("paper"))
    assert [await store.account.initial_capital("paper") for store in two] == [100, 100]


async def test_candles_written_from_two_sides_are_all_there(two: tuple[Store, Store]) -> None:
    """Two fetches of one market fall into one page."""
    for i in range(ROUNDS):
        await asyncio.gather(
            *(
                store.market.save_candles("paper", "1m", {BTC: make_candles(20 * i + 10 * j, 10)})
                for j, store in enumerate(two)
            )
        )
    assert len((await two[0].market.candles("paper", "1m", [BTC]))[BTC]) == 20 * ROUNDS
