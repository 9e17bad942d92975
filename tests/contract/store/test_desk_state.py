"""Attributes, heartbeats, leases and the desk's prefix, on every adapter."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from kontor.domain.snapshot import Snapshot
from kontor.errors import LeaseLost, StoreError
from kontor.ports import Heartbeat, Lease, Store
from tests.contract.store.builders import NOW, at

TTL = timedelta(seconds=10)


@pytest.mark.parametrize("value", [None, True, 7, 0.1, "text", [1, None], {"a": {"b": []}}, {}], ids=repr)
async def test_an_attribute_is_any_json_value(store: Store, value: Any) -> None:
    """With the moment it was set; null is a value, absence is not."""
    assert await store.desk.attribute("paper", "x") is None
    await store.desk.set_attribute("paper", "x", value, NOW)
    assert await store.desk.attribute("paper", "x") == Snapshot(value, NOW)
    assert await store.desk.attributes("paper") == {"x": Snapshot(value, NOW)}
    assert await store.desk.attributes("other") == {}


async def test_a_stored_value_is_nobodys_to_change(store: Store) -> None:
    """What a caller does to its own object later does not reach the store, nor the other way round."""
    given = {"a": [1]}
    await store.desk.set_attribute("paper", "x", given, NOW)
    given["a"].append(2)
    found = await store.desk.attribute("paper", "x")
    assert found
    found.value["a"].append(3)
    assert await store.desk.attribute("paper", "x") == Snapshot({"a": [1]}, NOW)


async def test_what_json_cannot_say_is_refused(store: Store) -> None:
    """Silently turning it into text would change its type on the way back."""
    with pytest.raises(StoreError, match="JSON"):
        await store.desk.set_attribute("paper", "x", {"a": Decimal(1)}, NOW)
    assert await store.desk.attribute("paper", "x") is None


async def test_merge_updates_key_by_key(store: Store) -> None:
    """One level deep, null included; without merge the value is replaced."""
    await store.desk.set_attribute("paper", "x", {"a": 1, "b": {"c": 2}}, NOW, merge=True)
    await store.desk.set_attribute("paper", "x", {"b": None, "d": 3}, at(1), merge=True)
    assert await store.desk.attribute("paper", "x") == Snapshot({"a": 1, "b": None, "d": 3}, at(1))
    await store.desk.set_attribute("paper", "x", {"e": 4}, at(2))
    assert await store.desk.attribute("paper", "x") == Snapshot({"e": 4}, at(2))


async def test_only_objects_merge(store: Store) -> None:
    """Otherwise a step of an updater would lose what another one stored."""
    await store.desk.set_attribute("paper", "x", [1], NOW)
    with pytest.raises(StoreError, match="attribute x"):
        await store.desk.set_attribute("paper", "x", {"a": 1}, NOW, merge=True)
    with pytest.raises(StoreError, match="attribute y"):
        await store.desk.set_attribute("paper", "y", [1], NOW, merge=True)
    assert await store.desk.attribute("paper", "x") == Snapshot([1], NOW)


async def test_concurrent_merges_and_increments_lose_nothing(store: Store) -> None:
    """Two updaters of one process write into one object."""
    merges = [store.desk.set_attribute("paper", "x", {str(i): i}, NOW, merge=True) for i in range(10)]
    counts = [store.desk.increment("paper", "generation", NOW) for _ in range(10)]
    done = await asyncio.gather(*merges, *counts)
    assert sorted(done[10:]) == list(range(1, 11))  # pyright: ignore[reportArgumentType]
    found = await store.desk.attributes("paper")
    assert found["x"].value == {str(i): i for i in range(10)}
    assert found["generation"].value == 10


async def test_a_counter_is_a_number(store: Store) -> None:
    """Counting on somebody's text is refused."""
    await store.desk.set_attribute("paper", "x", "seven", NOW)
    with pytest.raises(StoreError, match="no counter"):
        await store.desk.increment("paper", "x", NOW)
    await store.desk.set_attribute("paper", "y", 41, NOW)
    assert await store.desk.increment("paper", "y", at(1)) == 42
    assert await store.desk.attribute("paper", "y") == Snapshot(42, at(1))


async def test_heartbeats_tell_success_and_failure_apart(store: Store) -> None:
    """A failure leaves the last success alone, a success leaves the last failure readable."""
    assert await store.desk.heartbeats("paper") == {}
    second = timedelta(seconds=1.5)
    await store.desk.beat("paper", "tickers", at(1), duration=second)
    assert await store.desk.heartbeats("paper") == {"tickers": Heartbeat("tickers", at(1), None, None, second)}
    await store.desk.beat("paper", "tickers", at(2), error="venue down")
    failed = Heartbeat("tickers", at(1), at(2), "venue down", second)
    assert (await store.desk.heartbeats("paper"))["tickers"] == failed
    await store.desk.beat("paper", "tickers", at(3), duration=2 * second)
    succeeded = replace(failed, last_success_at=at(3), duration=2 * second)
    assert (await store.desk.heartbeats("paper"))["tickers"] == succeeded


async def test_an_updater_that_never_succeeded_shows_it(store: Store) -> None:
    """Never True on success was one of the notebook's mistakes; never-succeeded must be visible."""
    await store.desk.beat("paper", "a", at(1), error="no")
    await store.desk.beat("other", "b", at(1))
    assert await store.desk.heartbeats("paper") == {"a": Heartbeat("a", None, at(1), "no", None)}


async def test_a_free_lease_is_given_and_then_held(store: Store) -> None:
    """The second executor waits."""
    assert await store.desk.lease("l") is None
    lease = await store.desk.acquire_lease("l", "one", TTL, NOW)
    assert lease == Lease("l", "one", 1, at(10))
    assert await store.desk.acquire_lease("l", "two", TTL, at(9.999999)) is None
    assert await store.desk.lease("l") == lease
    assert await store.desk.acquire_lease("another", "two", TTL, NOW) == Lease("another", "two", 1, at(10))


async def test_the_owner_may_ask_again(store: Store) -> None:
    """Same number, later expiry: nothing happened in between."""
    await store.desk.acquire_lease("l", "one", TTL, NOW)
    assert await store.desk.acquire_lease("l", "one", TTL, at(5)) == Lease("l", "one", 1, at(15))


async def test_a_lapsed_lease_is_taken_over_with_a_higher_number(store: Store) -> None:
    """The first holder is out for good, whatever it tries."""
    old = await store.desk.acquire_lease("l", "one", TTL, NOW)
    assert old
    new = await store.desk.acquire_lease("l", "two", TTL, at(10))
    assert new == Lease("l", "two", 2, at(20))
    with pytest.raises(LeaseLost, match="lost it to two with number 2"):
        await store.desk.renew_lease(old, TTL, at(11))
    await store.desk.release_lease(old)
    assert await store.desk.lease("l") == new
    assert await store.desk.acquire_lease("l", "one", TTL, at(12)) is None


async def test_a_lease_from_before_the_clock_was_set_back_keeps_nobody_waiting(store: Store) -> None:
    """Its holder died; by our clock it would last for another hour. One that lives is fenced off, and asks again."""
    old = await store.desk.acquire_lease("l", "one", TTL, at(3600))
    assert old
    new = await store.desk.acquire_lease("l", "two", TTL, NOW)
    assert new == Lease("l", "two", 2, at(10))
    with pytest.raises(LeaseLost, match="lost it to two with number 2"):
        await store.desk.renew_lease(old, TTL, at(1))
    # Clocks of two machines differ by less than a lease: then it is held.
    await store.desk.acquire_lease("m", "one", TTL, at(9))
    assert await store.desk.acquire_lease("m", "two", TTL, NOW) is None


async def test_a_lapsed_lease_of_its_own_gets_a_new_number_too(store: Store) -> None:
    """Somebody may have written in between and released: what was started under the old number is void."""
    await store.desk.acquire_lease("l", "one", TTL, NOW)
    assert await store.desk.acquire_lease("l", "one", TTL, at(11)) == Lease("l", "one", 2, at(21))


async def test_a_renewal_moves_the_expiry(store: Store) -> None:
    """As long as it comes in time."""
    lease = await store.desk.acquire_lease("l", "one", TTL, NOW)
    assert lease
    renewed = await store.desk.renew_lease(lease, TTL, at(8))
    assert renewed == replace(lease, expires_at=at(18))
    assert await store.desk.acquire_lease("l", "two", TTL, at(12)) is None
    with pytest.raises(LeaseLost, match="let it lapse"):
        await store.desk.renew_lease(renewed, TTL, at(18))


async def test_a_lease_that_was_never_given_cannot_be_renewed(store: Store) -> None:
    """A store restored from an old backup knows nothing of it."""
    with pytest.raises(LeaseLost, match="lost it to nobody"):
        await store.desk.renew_lease(Lease("l", "one", 1, at(10)), TTL, NOW)


async def test_numbers_grow_across_releases(store: Store) -> None:
    """A released lease is free at once, and its number never comes back."""
    numbers: list[int] = []
    for second, owner in enumerate(["one", "two", "one"]):
        lease = await store.desk.acquire_lease("l", owner, TTL, at(second))
        assert lease
        numbers.append(lease.fencing)
        await store.desk.release_lease(lease)
        last = await store.desk.lease("l")
        assert last
        assert (last.owner, last.expires_at <= at(second)) == (owner, True)
        with pytest.raises(LeaseLost):
            await store.desk.renew_lease(lease, TTL, at(second))
    assert numbers == [1, 2, 3]


async def test_a_race_for_a_lease_has_one_winner(store: Store) -> None:
    """Ten start at once."""
    found = await asyncio.gather(*(store.desk.acquire_lease("l", f"o{i}", TTL, NOW) for i in range(10)))
    assert [lease.fencing for lease in found if lease] == [1]


async def test_the_desk_prefix_is_made_once(store: Store) -> None:
    """Four lower-case letters, the same for every caller."""
    prefixes = await asyncio.gather(*(store.desk.desk_prefix() for _ in range(5)))
    assert len(set(prefixes)) == 1
    assert len(prefixes[0]) == 4
    assert prefixes[0].isalpha()
    assert prefixes[0].islower()


async def test_an_attribute_is_changed_by_what_it_is_and_nothing_comes_between(store: Store) -> None:
    """Two processes that each read, decide and write would both take what one of them has left."""

    def take(value: Any) -> Any:
        left, taken = value or (10, 0)
        return [left - 1, taken + 1] if left > 0 else value

    assert await store.desk.update_attribute("paper", "x", take, NOW) == [9, 1]
    took = await asyncio.gather(
        *(store.desk.update_attribute("paper", "x", take, at(1), durable=False) for _ in range(12))
    )
    assert sorted(taken for _, taken in took) == [*range(2, 11), 10, 10, 10]
    assert await store.desk.attribute("paper", "x") == Snapshot([0, 10], at(1))

    def fail(_: Any) -> Any:
        raise ValueError("no")

    with pytest.raises((ValueError, StoreError)):
        await store.desk.update_attribute("paper", "x", fail, at(2))
    assert await store.desk.attribute("paper", "x") == Snapshot([0, 10], at(1))
