"""The order queue, on every adapter."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from kontor.domain.order import FINISHED, Order, OrderState, OrderType, Side, TimeInForce
from kontor.errors import LeaseLost
from kontor.ports import Store
from tests.contract.store.builders import BTC, ETH, NOW, at, enqueued, make_order, moved

S = OrderState
# More than fit into one statement.
COUNT = 1200


async def names(store: Store, account: str = "paper", **how: int) -> list[str]:
    return [order.client_order_id for order in await store.orders.pending(account, **how)]


async def test_an_order_comes_back_as_it_was_given(store: Store) -> None:
    """Every field survives, to the last digit and microsecond."""
    order = Order(
        "full",
        "paper",
        ETH,
        Side.SELL,
        OrderType.LIMIT,
        Decimal("123456789.000000000000000001"),
        at(0.000001),
        price=Decimal("0.00000001"),
        time_in_force=TimeInForce.IOC,
        post_only=True,
        reduce_only=True,
        good_until=at(60),
        priority=-5,
        strategy="sma",
        actor="flow run 1",
        state=S.PARTIALLY_FILLED,
        venue_order_id="v",
        filled_quantity=Decimal("1E-18"),
        average_price=Decimal("1.10"),
        reason="because",
        submitted_at=at(2),
        unknown_since=at(3),
        cancel_requested_at=at(4),
        attempts=7,
        updated_at=at(5),
    )
    assert await store.orders.enqueue([order], "test") == [order]
    assert await store.orders.get("full") == order
    assert await store.orders.find("paper") == [order]


async def test_an_unknown_order_is_none(store: Store) -> None:
    """Asking for what was never wanted is no error."""
    assert await store.orders.get("nobody") is None
    assert await store.orders.events("nobody") == []


async def test_enqueueing_again_changes_nothing(store: Store) -> None:
    """A rerun of a flow derives the same id: it must find its order, not make another."""
    first = make_order("a")
    assert await store.orders.enqueue([first], "run 1") == [first]
    live = await moved(store, first, S.SUBMITTED)
    again = replace(first, quantity=Decimal(9))
    assert await store.orders.enqueue([again, again], "run 2") == [live, live]
    assert await store.orders.get("a") == live
    assert [event.actor for event in await store.orders.events("a")] == ["run 1", "test"]


async def test_one_batch_may_name_an_order_twice(store: Store) -> None:
    """The first of two equal ids is the order."""
    one, two = make_order("a"), make_order("a", quantity=Decimal(2))
    assert await store.orders.enqueue([one, two], "test") == [one, one]
    assert len(await store.orders.events("a")) == 1


async def test_nothing_to_enqueue_is_no_error(store: Store) -> None:
    """A strategy that wants nothing enqueues an empty list."""
    assert await store.orders.enqueue([], "test") == []
    assert await store.orders.record([], actor="test", at=NOW) == []
    assert await store.orders.request_cancel([], actor="test", at=NOW) == []
    assert await store.orders.save_fills("paper", []) == []
    assert await store.orders.by_venue_order_id("paper", []) == {}


async def test_pending_goes_by_priority_then_age_one_per_symbol(store: Store) -> None:
    """Orders of a symbol keep their order, symbols go in parallel."""
    await enqueued(
        store,
        make_order("btc-late", created_at=at(2)),
        make_order("btc-early", created_at=at(1)),
        make_order("eth-urgent", symbol=ETH, created_at=at(3), priority=1),
        make_order("sol", symbol="SOL/USD", created_at=at(0)),
    )
    assert await names(store) == ["eth-urgent", "sol", "btc-early"]
    assert await names(store, limit=2) == ["eth-urgent", "sol"]


async def test_priority_decides_within_a_symbol_too(store: Store) -> None:
    """A protective order may overtake one that has waited longer."""
    await enqueued(store, make_order("old"), make_order("urgent", created_at=at(9), priority=1))
    assert await names(store) == ["urgent"]


async def test_equal_orders_go_in_the_order_they_came(store: Store) -> None:
    """A batch made in one moment is sent as it was written."""
    await enqueued(store, make_order("z"), make_order("a"))
    await enqueued(store, make_order("m"))
    assert await names(store) == ["z"]
    await moved(store, make_order("z"), S.SUBMITTED)
    assert await names(store) == ["a"]


async def test_an_order_of_unknown_outcome_holds_back_its_symbol(store: Store) -> None:
    """Nobody knows whether the one ahead is at the venue: the next one on its symbol waits, other symbols do not."""
    (first, *_) = await enqueued(
        store, make_order("a"), make_order("b", created_at=at(1)), make_order("c", symbol=ETH, created_at=at(2))
    )
    submitted = await moved(store, first, S.SUBMITTED)
    assert await names(store) == ["b", "c"]
    unknown = replace(submitted, unknown_since=at(2))
    assert await store.orders.record([(submitted, unknown)], actor="test", at=at(2)) == [True]
    assert await names(store) == ["c"]
    await moved(store, unknown, S.ACCEPTED, unknown_since=None)
    assert await names(store) == ["b", "c"]


async def test_accounts_do_not_see_each_other(store: Store) -> None:
    """Two accounts share a store, not a queue."""
    await enqueued(store, make_order("a", venue_order_id="v"), make_order("b", account="other", venue_order_id="v"))
    assert await names(store) == ["a"]
    assert await names(store, "other") == ["b"]
    assert [order.client_order_id for order in await store.orders.find("other")] == ["b"]
    assert (await store.orders.by_venue_order_id("other", ["v"]))[BTC, "v"].client_order_id == "b"
    assert await store.orders.counts("other") == {S.INITIALIZED: 1}


async def test_record_commits_the_new_order_and_its_event(store: Store) -> None:
    """The history tells every step, with who and why."""
    (order,) = await enqueued(store, make_order("a"))
    new = await moved(store, order, S.SUBMITTED, attempts=1, submitted_at=at(1))
    rejected = replace(new, state=S.REJECTED, reason="price too far", updated_at=at(2))
    await store.orders.record([(new, rejected)], actor="executor", at=at(2))
    assert await store.orders.get("a") == rejected
    told = [(e.at, e.old_state, e.new_state, e.actor, e.detail) for e in await store.orders.events("a")]
    assert told == [
        (NOW, None, S.INITIALIZED, "test", ""),
        (at(1), S.INITIALIZED, S.SUBMITTED, "test", ""),
        (at(2), S.SUBMITTED, S.REJECTED, "executor", "price too far"),
    ]


async def test_a_given_detail_is_told(store: Store) -> None:
    """An operator's own words go into the history."""
    (order,) = await enqueued(store, make_order("a"))
    new = replace(order, state=S.DENIED, reason="gate")
    await store.orders.record([(order, new)], actor="operator", at=at(1), detail="resolved by hand")
    assert (await store.orders.events("a"))[-1].detail == "resolved by hand"


@pytest.mark.parametrize(
    "meanwhile",
    [
        {"state": S.SUBMITTED},
        {"filled_quantity": Decimal("0.01")},
        {"attempts": 1},
        {"unknown_since": at(1)},
        {"cancel_requested_at": at(1)},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_change_decided_on_an_old_reading_is_refused(store: Store, meanwhile: dict[str, object]) -> None:
    """Two hands on one order: the second is told to read again, and leaves no trace."""
    (order,) = await enqueued(store, make_order("a"))
    changed = replace(order, **meanwhile)  # pyright: ignore[reportArgumentType]
    assert await store.orders.record([(order, changed)], actor="one", at=at(1)) == [True]
    late = replace(order, state=S.EXPIRED)
    assert await store.orders.record([(order, late)], actor="two", at=at(2)) == [False]
    assert await store.orders.get("a") == changed
    assert len(await store.orders.events("a")) == 2


async def test_equal_numbers_written_differently_are_no_change(store: Store) -> None:
    """0.10 and 0.1 are one quantity: the comparison is by value, on a database of texts too."""
    (order,) = await enqueued(store, make_order("a", filled_quantity=Decimal("0.010")))
    same = replace(order, filled_quantity=Decimal("1E-2"))
    assert await store.orders.record([(same, replace(same, attempts=1))], actor="test", at=at(1)) == [True]


async def test_an_order_that_was_never_enqueued_is_refused(store: Store) -> None:
    """Nothing is recorded about an order whose intent was not committed."""
    ghost = make_order("ghost")
    assert await store.orders.record([(ghost, replace(ghost, attempts=1))], actor="test", at=NOW) == [False]
    assert await store.orders.get("ghost") is None


async def test_many_changes_go_in_one_transaction_each_with_its_answer(store: Store) -> None:
    """Group commit: a stale pair does not spoil its neighbours, and one order may take two steps."""
    a, b, c = await enqueued(store, make_order("a"), make_order("b"), make_order("c"))
    await moved(store, b, S.CANCELED)
    a1, b1, c1 = (replace(order, state=S.SUBMITTED) for order in (a, b, c))
    a2 = replace(a1, state=S.ACCEPTED)
    assert await store.orders.record([(a, a1), (b, b1), (c, c1), (a1, a2)], actor="x", at=at(1)) == [
        True,
        False,
        True,
        True,
    ]
    assert await store.orders.get("a") == a2
    assert [event.new_state for event in await store.orders.events("a")] == [S.INITIALIZED, S.SUBMITTED, S.ACCEPTED]
    assert await store.orders.counts("paper") == {S.ACCEPTED: 1, S.CANCELED: 1, S.SUBMITTED: 1}


async def test_a_pair_of_two_different_orders_is_a_mistake(store: Store) -> None:
    """It would give one order the life of another."""
    a, b = await enqueued(store, make_order("a"), make_order("b"))
    with pytest.raises(ValueError, match="no change of one order"):
        await store.orders.record([(a, b)], actor="test", at=NOW)


async def test_a_newer_executor_shuts_the_older_one_out(store: Store) -> None:
    """A process that was paused past its lease wakes up and must not write, not even one order of its batch."""
    a, b = await enqueued(store, make_order("a"), make_order("b", account="other"))
    changes = [(b, replace(b, state=S.SUBMITTED)), (a, replace(a, state=S.SUBMITTED))]
    old = await store.desk.acquire_lease("executor:paper", "one", timedelta(seconds=5), NOW)
    new = await store.desk.acquire_lease("executor:paper", "two", timedelta(seconds=5), at(6))
    assert old
    assert new
    with pytest.raises(LeaseLost, match="executor:paper"):
        await store.orders.record(changes, actor="one", at=at(7), fencing=old.fencing)
    assert await store.orders.get("a") == a
    assert await store.orders.get("b") == b
    assert await store.orders.record(changes, actor="two", at=at(7), fencing=new.fencing) == [True, True]


async def test_a_release_keeps_the_number_valid_until_somebody_takes_over(store: Store) -> None:
    """Fencing compares numbers; a lease that nobody has taken since has no newer one."""
    (a,) = await enqueued(store, make_order("a"))
    lease = await store.desk.acquire_lease("executor:paper", "one", timedelta(seconds=5), NOW)
    assert lease
    await store.desk.release_lease(lease)
    change = (a, replace(a, state=S.SUBMITTED))
    assert await store.orders.record([change], actor="one", at=at(1), fencing=lease.fencing) == [True]


async def test_a_cancel_before_the_send_ends_the_order(store: Store) -> None:
    """What was never sent needs no answer of the venue."""
    await enqueued(store, make_order("a"))
    (canceled,) = await store.orders.request_cancel(["a"], actor="operator", at=at(3))
    assert (canceled.state, canceled.cancel_requested_at, canceled.updated_at) == (S.CANCELED, at(3), at(3))
    assert await store.orders.get("a") == canceled
    assert await names(store) == []
    event = (await store.orders.events("a"))[-1]
    assert (event.old_state, event.new_state, event.actor) == (S.INITIALIZED, S.CANCELED, "operator")


async def test_a_cancel_of_a_live_order_is_a_durable_wish(store: Store) -> None:
    """The venue decides; the wish is kept with its first moment, and told once in the history."""
    (order,) = await enqueued(store, make_order("a"))
    live = await moved(store, order, S.SUBMITTED)
    asked = await store.orders.request_cancel(["a"], actor="operator", at=at(3))
    assert asked == [replace(live, cancel_requested_at=at(3), updated_at=at(3))]
    assert await store.orders.request_cancel(["a"], actor="operator", at=at(4)) == asked
    assert [event.detail for event in await store.orders.events("a")] == ["", "", "cancel requested"]


@pytest.mark.parametrize("state", sorted(FINISHED))
async def test_a_cancel_of_a_finished_order_changes_nothing(store: Store, state: OrderState) -> None:
    """It comes back as it ended, so that the caller sees why there is nothing to cancel."""
    (order,) = await enqueued(store, make_order("a", state=state))
    assert await store.orders.request_cancel(["a"], actor="operator", at=at(3)) == [order]
    assert len(await store.orders.events("a")) == 1


async def test_cancels_answer_in_the_order_asked_and_leave_out_strangers(store: Store) -> None:
    """An id of another desk is not ours to cancel here."""
    await enqueued(store, make_order("a"), make_order("b"))
    found = await store.orders.request_cancel(["b", "nobody", "a", "b"], actor="operator", at=at(3))
    assert [order.client_order_id for order in found] == ["b", "a"]


async def test_an_order_put_back_with_a_cancel_wish_is_not_sent(store: Store) -> None:
    """The cancel came while the send failed: pending must not offer it again, nor let it block its symbol."""
    (order, _) = await enqueued(store, make_order("a"), make_order("b", created_at=at(1)))
    submitted = await moved(store, order, S.SUBMITTED)
    (asked,) = await store.orders.request_cancel(["a"], actor="operator", at=at(2))
    assert asked.client_order_id == submitted.client_order_id
    await moved(store, asked, S.INITIALIZED)
    assert await names(store) == ["b"]
    (canceled,) = await store.orders.request_cancel(["a"], actor="operator", at=at(3))
    assert canceled.state is S.CANCELED


async def test_find_filters_and_goes_newest_first(store: Store) -> None:
    """What the status page and the reconciliation ask for."""
    await enqueued(
        store,
        make_order("old", created_at=at(1)),
        make_order("new", created_at=at(3), symbol=ETH),
        make_order("mid", created_at=at(2), state=S.FILLED),
        make_order("mid2", created_at=at(2), state=S.FILLED, symbol=ETH),
    )

    async def found(**how: object) -> list[str]:
        return [order.client_order_id for order in await store.orders.find("paper", **how)]  # pyright: ignore[reportArgumentType]

    assert await found() == ["new", "mid2", "mid", "old"]
    assert await found(limit=2) == ["new", "mid2"]
    assert await found(symbol=BTC) == ["mid", "old"]
    assert await found(states={S.FILLED}) == ["mid2", "mid"]
    assert await found(states=[]) == []
    assert await found(since=at(2)) == ["new", "mid2", "mid"]
    assert await found(states={S.INITIALIZED}, symbol=ETH, since=at(3), limit=5) == ["new"]


async def test_orders_are_found_by_the_venues_id(store: Store) -> None:
    """Two markets may share an id, as on some venues: the report of one must not be taken for news of the other."""
    await enqueued(
        store,
        make_order("a", venue_order_id="1", created_at=at(5)),
        make_order("b", venue_order_id="1", symbol=ETH),
        make_order("c", venue_order_id="2"),
        make_order("d"),
    )
    found = await store.orders.by_venue_order_id("paper", ["1", "2", "3"])
    assert {key: order.client_order_id for key, order in found.items()} == {
        (BTC, "1"): "a",
        (ETH, "1"): "b",
        (BTC, "2"): "c",
    }


async def test_thousands_of_orders_fit_into_one_call(store: Store) -> None:
    """Databases bound the parameters of a statement; callers need not know."""
    orders = [make_order(f"o{i}", venue_order_id=f"v{i}", created_at=at(i)) for i in range(COUNT)]
    assert await store.orders.enqueue(orders, "test") == orders
    assert len(await store.orders.by_venue_order_id("paper", [f"v{i}" for i in range(COUNT)])) == COUNT
    changes = [(order, replace(order, attempts=1)) for order in orders]
    assert all(await store.orders.record(changes, actor="test", at=NOW))
    assert len(await store.orders.find("paper", limit=10_000)) == COUNT


async def test_orders_whose_cancel_was_asked_for_are_found_alone(store: Store) -> None:
    """The executor looks for them before every send: hundreds of resting orders must not come along."""
    resting = make_order("resting", state=S.ACCEPTED, venue_order_id="v1")
    unwanted = make_order("unwanted", state=S.ACCEPTED, venue_order_id="v2")
    await enqueued(store, resting, unwanted)
    await store.orders.request_cancel(["unwanted"], actor="test", at=NOW)
    found = await store.orders.find("paper", states={S.ACCEPTED}, cancel_requested=True)
    assert [order.client_order_id for order in found] == ["unwanted"]
    assert len(await store.orders.find("paper", states={S.ACCEPTED})) == 2
