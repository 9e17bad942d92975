"""Nobody knows whether the venue has it: what counts as proof, what is held for a person, and what waits meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from kontor.config import OrderSettings
from kontor.domain.order import OrderState
from kontor.errors import OrderError
from kontor.execution.cancel import request_cancels
from kontor.execution.holding import HELD_ORDERS, Verdict, hold, resolve_order, unhold
from kontor.execution.lookup import GONE
from kontor.execution.reconcile import reconcile
from kontor.execution.track import track
from kontor.ports import DeskState
from kontor.store.memory import MemoryStore
from tests.fakes.desk import ETH, FakeDesk
from tests.fakes.exchange import PROFILE, Fault
from tests.fakes.virtual_time import in_virtual_time

S = OrderState


@in_virtual_time
async def test_a_resend_that_is_rejected_is_looked_up_first() -> None:
    """The first attempt may have arrived after all and be what the second collides with."""
    desk = FakeDesk()
    desk.exchange.script("create", Fault.TIMEOUT_AFTER, Fault.REJECTED)
    # Long invisible: the venue says "not found" throughout the grace although it has the order.
    desk.exchange.visible_after = timedelta(seconds=9)
    async with desk.executing():
        order = await desk.want(price="90")
        order = await desk.until_state(order, S.ACCEPTED)
    assert desk.venue.accepted[order.client_order_id] == 1
    await desk.agree()


@in_virtual_time
async def test_a_resend_that_is_rejected_is_rejected_once_the_venue_is_known_not_to_have_it() -> None:
    """The refusal is believed in the end, and not sent for a third time."""
    desk = FakeDesk()
    desk.exchange.script("create", Fault.DROPPED_BEFORE, Fault.REJECTED)
    async with desk.executing():
        order = await desk.want(price="90")
        order = await desk.until_state(order)
    assert (order.state, order.reason) == (S.REJECTED, "insufficient funds")
    assert len(desk.exchange.sent) == 2


@in_virtual_time
async def test_an_order_that_shows_late_is_not_sent_twice() -> None:
    """One "not found" right after the create may only be a replica that lags."""
    desk = FakeDesk()
    desk.exchange.visible_after = timedelta(seconds=3)
    desk.exchange.script("create", Fault.TIMEOUT_AFTER)
    async with desk.executing():
        order = await desk.want(price="90")
        await desk.until_state(order, S.ACCEPTED)
    assert len(desk.exchange.sent) == 1
    await desk.agree()


@in_virtual_time
async def test_a_duplicate_id_means_it_is_there() -> None:
    """The venue knows the id: the order is looked up, neither rejected nor sent under another name."""
    desk = FakeDesk()
    desk.exchange.visible_after = timedelta(seconds=20)
    desk.exchange.script("create", Fault.TIMEOUT_AFTER)
    async with desk.executing():
        order = await desk.want(price="90")
        await desk.until(_sent(desk, 2))
        order = await desk.until_state(order, S.ACCEPTED)
    assert desk.venue.accepted[order.client_order_id] == 1
    await desk.agree()


@in_virtual_time
async def test_absence_must_last_as_long_as_the_venues_profile_says() -> None:
    """Some venues take half a minute to show an order; their profile says so."""
    desk = FakeDesk(profile=replace(PROFILE, absence_grace=timedelta(seconds=30)))
    desk.exchange.visible_after = timedelta(seconds=25)
    desk.exchange.script("create", Fault.TIMEOUT_AFTER)
    async with desk.executing():
        order = await desk.want(price="90", good_until=desk.clock.now() + timedelta(hours=1))
        await desk.until_state(order, S.ACCEPTED)
    assert len(desk.exchange.sent) == 1
    await desk.agree()


@in_virtual_time
async def test_absence_needs_several_answers_not_only_time() -> None:
    """Two answers half a minute apart, with silence between, are no "throughout"."""
    desk = FakeDesk()
    silence = [Fault.DROPPED_BEFORE] * 12
    desk.exchange.script("create", Fault.DROPPED_BEFORE)
    desk.exchange.script("lookup", None, *silence)
    answers: list[int] = []

    def count(what: str) -> None:
        if what == "create":
            answers.append(desk.exchange.requests["lookup"] - len(silence))

    desk.exchange.before_answer = count
    async with desk.executing():
        order = await desk.want(price="90", good_until=desk.clock.now() + timedelta(hours=1))
        await desk.until_state(order, S.ACCEPTED)
    assert answers[0] >= 3


@in_virtual_time
async def test_no_verdict_before_a_stopped_executor_could_have_sent_it() -> None:
    """A process stopped between its check and its socket may still send until its lease and deadline are over."""
    settings = OrderSettings(lease_seconds=20, request_timeout_seconds=15, good_for_seconds=600)
    desk = FakeDesk(profile=replace(PROFILE, absence_grace=timedelta(seconds=1)), settings=settings)
    desk.exchange.script("create", Fault.DROPPED_BEFORE)
    async with desk.executing():
        order = await desk.want(price="90")
        await desk.until_state(order, S.ACCEPTED)
    (first, _), (second, _) = desk.exchange.sent
    assert second - first >= timedelta(seconds=35)


@in_virtual_time
async def test_an_order_that_only_its_fills_still_show_is_booked_and_not_sent_again() -> None:
    """The venue forgets finished orders sooner than their fills: those are proof enough that it was placed."""
    desk = FakeDesk()
    desk.exchange.forgets_finished = True
    desk.exchange.script("create", Fault.TIMEOUT_AFTER)
    async with desk.executing():
        order = await desk.want()
        order = await desk.until_state(order, S.FILLED)
    assert len(desk.exchange.sent) == 1
    fills = await desk.store.orders.fills(desk.account)
    assert sum(fill.quantity for fill in fills) == order.filled_quantity == order.quantity


@in_virtual_time
async def test_a_part_filled_order_that_the_venue_forgets_is_closed_with_its_fills() -> None:
    """It was placed and rests no more; what was filled of it is what counts."""
    desk = FakeDesk()
    desk.exchange.forgets_finished = True
    desk.exchange.script("create", Fault.TIMEOUT_AFTER)
    desk.exchange.script("lookup", *[Fault.DROPPED_BEFORE] * 3)
    async with desk.executing():
        order = await desk.want(price="90", quantity="2")
        await desk.until(_sent(desk, 1))
        [report] = desk.venue.open_orders()
        desk.venue.fill(report.venue_order_id, Decimal("0.5"), desk.clock.now())
        desk.venue.cancel(desk.venue.find(None, report.venue_order_id), desk.clock.now())
        order = await desk.until_state(order)
    assert (order.state, order.filled_quantity, order.reason) == (S.CANCELED, Decimal("0.5"), GONE)
    assert len(desk.exchange.sent) == 1


@in_virtual_time
async def test_a_closed_order_without_its_fills_is_not_taken_for_an_empty_one() -> None:
    """The list of closed orders says that it was placed; how much was filled is not known, and not guessed."""
    desk = FakeDesk(profile=replace(PROFILE, capabilities={**PROFILE.capabilities, "fetchClosedOrders": True}))
    desk.exchange.forgets_finished = True
    desk.exchange.script("create", Fault.TIMEOUT_AFTER)

    async def closed(method: str, *_: Any) -> Any:
        assert method == "fetch_closed_orders"
        return [
            {"id": report.venue_order_id, "clientOrderId": report.client_order_id}
            for report in desk.venue.orders.values()
        ]

    desk.exchange.call = closed
    async with desk.executing():
        order = await desk.want()
        await desk.until(_sent(desk, 1))
        fills, desk.venue.fills = desk.venue.fills, []
        await asyncio.sleep(120)
        assert (await desk.order(order)).state is S.SUBMITTED
        desk.venue.fills = fills
        order = await desk.until_state(order, S.FILLED)
    assert len(desk.exchange.sent) == 1


@in_virtual_time
async def test_an_order_that_only_a_list_shows_is_found() -> None:
    """The lookup says "not found" for as long as one likes; the open orders have it: not sent again."""
    desk = FakeDesk()
    desk.exchange.lookup_is_blind = True
    desk.exchange.script("create", Fault.TIMEOUT_AFTER)
    async with desk.executing():
        order = await desk.want(price="90")
        await desk.until_state(order, S.ACCEPTED)
    assert len(desk.exchange.sent) == 1
    await desk.agree()


@in_virtual_time
async def test_an_order_that_was_answered_while_we_read_is_not_looked_up() -> None:
    """What we read of the store is a moment old; an order whose answer came meanwhile is not unknown."""
    desk = FakeDesk()
    due = desk.store.orders.due

    async def slowly(*args: Any, **kwargs: Any) -> Any:
        found = await due(*args, **kwargs)
        await asyncio.sleep(0.03)
        return found

    desk.store.orders.due = slowly
    async with desk.executing():
        for number in range(20):
            await desk.until_state(await desk.want(price=f"9{number % 10}"), S.ACCEPTED)
    # One look per order, by the follower.
    assert desk.exchange.requests["lookup"] <= 20


@in_virtual_time
async def test_an_id_that_is_known_yet_cannot_be_shown_is_held_for_a_person() -> None:
    """The venue contradicts itself: sending again would be refused, giving up would be a guess."""
    desk = FakeDesk()
    desk.exchange.visible_after = timedelta(minutes=10)
    desk.exchange.script("create", Fault.TIMEOUT_AFTER)
    async with desk.executing():
        order = await desk.want(price="90", good_until=desk.clock.now() + timedelta(hours=1))
        await asyncio.sleep(120)
        assert len(desk.exchange.sent) == 2
        assert [alert.severity for alert in desk.alerts.sent] == ["critical"]
        await desk.until_state(order, S.ACCEPTED, seconds=600)
        held = await desk.store.desk.attribute(desk.account, HELD_ORDERS)
        assert held is not None
        assert held.value == {}
    await desk.agree()


@in_virtual_time
async def test_the_list_of_held_orders_keeps_nothing_of_those_that_are_decided() -> None:
    """A null for every order ever held made the list longer for ever; nulls of earlier versions go as well."""
    state, at = MemoryStore().desk, FakeDesk().clock.now()
    await state.set_attribute("paper", HELD_ORDERS, {"old": None, "older": None, "waits": {"reason": "why"}}, at)
    await unhold(state, "paper", "another", at)
    assert await held_in(state) == {"waits": {"reason": "why"}}
    await state.set_attribute("paper", HELD_ORDERS, {"old": None}, at)
    await asyncio.gather(*(hold(state, "paper", name, {"reason": name}, at) for name in "abc"))
    await asyncio.gather(*(unhold(state, "paper", name, at) for name in "ac"))
    assert await held_in(state) == {"b": {"reason": "b"}}


@in_virtual_time
async def test_an_order_that_an_earlier_process_held_leaves_the_list_once_it_is_found() -> None:
    """The process that held it is gone; whoever finds the order at the venue ends the waiting."""
    desk = FakeDesk()
    desk.exchange.visible_after = timedelta(minutes=10)
    desk.exchange.script("create", Fault.TIMEOUT_AFTER)
    async with desk.executing():
        order = await desk.want(price="90", good_until=desk.clock.now() + timedelta(hours=1))
        await asyncio.sleep(120)
    assert order.client_order_id in await held_in(desk.store.desk)
    desk.exchange.visible_after = timedelta(0)
    async with desk.executing("two"):
        await desk.until_state(order, S.ACCEPTED)
    assert await held_in(desk.store.desk) == {}


async def held_in(state: DeskState) -> Mapping[str, Any]:
    """What waits for a person, by client order id."""
    found = await state.attribute("paper", HELD_ORDERS)
    assert found is not None
    return found.value


@in_virtual_time
async def test_an_order_that_arrives_after_we_gave_it_up_is_found_by_reconciling() -> None:
    """A packet was under way for longer than every patience: the venue is believed, and the fill booked."""
    for price, end in ((None, S.FILLED), ("90", S.ACCEPTED)):
        desk = FakeDesk()
        await reconcile(desk)
        desk.exchange.script("create", Fault.LATE)
        desk.exchange.late_after = 60
        async with desk.executing():
            order = await desk.until_state(await desk.want(price=price), S.SUBMITTED)
            await request_cancels(desk, actor="operator")
            await desk.until_state(order, S.CANCELED)
            await asyncio.sleep(60)
        await reconcile(desk)
        assert (await desk.order(order)).state is end
        await desk.agree()


@in_virtual_time
async def test_no_second_order_of_a_symbol_passes_one_of_unknown_outcome() -> None:
    """Order within a symbol is kept also when nobody knows what became of the first; other symbols go on."""
    desk = FakeDesk()
    desk.exchange.script("create", Fault.HANG_BEFORE)
    async with desk.executing():
        first = await desk.want(price="90")
        await desk.until_state(first, S.SUBMITTED)
        second = await desk.want(price="91")
        other = await desk.want(ETH, price="90")
        await desk.until_state(other, S.ACCEPTED, seconds=1)
        assert (await desk.order(second)).state is S.INITIALIZED
        await desk.until_state(second, S.ACCEPTED)
    names = [name for _, name in desk.exchange.sent if name != other.client_order_id]
    assert names == [first.client_order_id, first.client_order_id, second.client_order_id]
    await desk.agree()


@in_virtual_time
async def test_a_cancel_asked_for_while_the_outcome_is_unknown_is_carried_out() -> None:
    """Found at the venue, it is canceled there; never there, it is not sent again."""
    for fault in (Fault.HANG_AFTER, Fault.HANG_BEFORE):
        desk = FakeDesk()
        desk.exchange.script("create", fault)
        async with desk.executing():
            order = await desk.want(price="90")
            await desk.until_state(order, S.SUBMITTED)
            await request_cancels(desk, actor="operator")
            order = await desk.until_state(order)
        assert order.state is S.CANCELED
        assert len(desk.exchange.sent) == 1
        assert not desk.venue.open_orders()
        await desk.agree()


@in_virtual_time
async def test_an_accepted_order_the_venue_forgot_is_closed_only_after_the_grace() -> None:
    """Venues purge canceled orders; one "not found" must not close a live one."""
    desk = FakeDesk()
    async with desk.executing():
        order = await desk.want(price="90")
        order = await desk.until_state(order, S.ACCEPTED)
        await asyncio.sleep(2)
    del desk.venue.orders[str(order.venue_order_id)]
    await track(desk)
    assert (await desk.order(order)).state is S.ACCEPTED
    await asyncio.sleep(PROFILE.absence_grace.total_seconds() + 1)
    await track(desk)
    assert (await desk.order(order)).state is S.CANCELED


@in_virtual_time
async def test_a_venue_without_lookup_by_our_id_finds_the_order_in_its_lists() -> None:
    """Open orders, closed orders and fills name the order too."""
    for quantity, price, end in (("1", "90", S.ACCEPTED), ("1", None, S.FILLED)):
        desk = FakeDesk(profile=replace(PROFILE, lookup_by_client_order_id=False))
        desk.exchange.script("create", Fault.TIMEOUT_AFTER)
        async with desk.executing():
            order = await desk.want(quantity=quantity, price=price)
            await desk.until_state(order, end)
            await asyncio.sleep(5)
        assert len(desk.exchange.sent) == 1
        await desk.agree()


@in_virtual_time
async def test_where_absence_cannot_be_proven_a_person_decides() -> None:
    """Nothing is guessed: the order is held, an alert goes out once, and the verdict is carried out."""
    for verdict, end in ((Verdict.ABSENT, S.CANCELED), (Verdict.RESEND, S.ACCEPTED)):
        desk = FakeDesk(profile=replace(PROFILE, lookup_by_client_order_id=False))
        desk.exchange.script("create", Fault.DROPPED_BEFORE)
        async with desk.executing():
            order = await desk.want(price="90", good_until=desk.clock.now() + timedelta(hours=1))
            await desk.until_state(order, S.SUBMITTED)
            with pytest.raises(OrderError, match="may still arrive"):
                await resolve_order(desk, order.client_order_id, verdict, actor="operator")
            await asyncio.sleep(120)
            assert (await desk.order(order)).state is S.SUBMITTED
            assert len(desk.alerts.sent) == 1
            held = await desk.store.desk.attribute(desk.account, HELD_ORDERS)
            assert held is not None
            assert order.client_order_id in held.value
            await resolve_order(desk, order.client_order_id, verdict, actor="operator")
            await desk.until_state(order, end)
        assert len(desk.exchange.sent) == (2 if verdict is Verdict.RESEND else 1)
        await desk.agree()


@in_virtual_time
async def test_a_person_can_name_the_venues_order() -> None:
    """The operator found it at the venue under its own id."""
    desk = FakeDesk(profile=replace(PROFILE, lookup_by_client_order_id=False))
    desk.exchange.script("create", Fault.TIMEOUT_AFTER)
    desk.exchange.visible_after = timedelta(hours=1)
    async with desk.executing():
        order = await desk.want(price="90")
        await asyncio.sleep(30)
        desk.exchange.visible_after = timedelta(0)
        [report] = desk.venue.open_orders()
        resolved = await resolve_order(
            desk, order.client_order_id, Verdict.PLACED, actor="operator", venue_order_id=report.venue_order_id
        )
    assert resolved.state is S.ACCEPTED
    await desk.agree()


def _sent(desk: FakeDesk, count: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return len(desk.exchange.sent) >= count

    return holds
