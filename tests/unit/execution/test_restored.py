"""A desk from a backup that was made in the middle of its work: what went on meanwhile is learned from the venue."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from kontor.domain.order import Order, OrderState, advance
from kontor.execution.halt import halt
from kontor.execution.reconcile import reconcile
from kontor.trading.ledger import book_ledger
from tests.fakes.desk import BTC, ETH, FakeDesk
from tests.fakes.virtual_time import in_virtual_time

S = OrderState


async def as_backed_up(desk: FakeDesk, *orders: Order) -> FakeDesk:
    """A second desk at the same venue, with the books of a moment at which these orders were as they are given here."""
    other = FakeDesk()
    other.venue, other.clock = desk.venue, desk.clock
    other.exchange = type(desk.exchange)(desk.venue, desk.clock, profile=desk.exchange.profile)
    for order in orders:
        wanted = replace(order, state=S.INITIALIZED, submitted_at=None, attempts=0, updated_at=order.created_at)
        (stored,) = await other.store.orders.enqueue([wanted], order.actor)
        if order.state is S.SUBMITTED:
            at = order.submitted_at or order.created_at
            sent = advance(stored, S.SUBMITTED, at, submitted_at=at, attempts=1)
            assert await other.store.orders.record([(stored, sent)], actor="executor", at=at) == [True]
    await halt(other.store.desk, other.account, "restored from a backup", actor="kontor restore", at=desk.clock.now())
    return other


async def both_agree(desk: FakeDesk, restored: FakeDesk, *names: Order) -> None:
    """The same fate of each order, the same fills, the same rows of the ledger; and nothing was sent twice."""
    for each in (desk, restored):
        await reconcile(each)
        await book_ledger(each)
    for order in names:
        ours, theirs = await desk.order(order), await restored.order(order)
        facts = [(o.state, o.filled_quantity, o.average_price, o.venue_order_id) for o in (ours, theirs)]
        assert facts[0] == facts[1]
    fills = [{f.trade_id: f.quantity for f in await each.store.orders.fills(each.account)} for each in (desk, restored)]
    assert fills[0] == fills[1]
    ledgers = [
        {
            (e.source_id, e.kind, e.at, e.symbol, e.quantity, e.price, e.fee)
            for e in await each.store.account.ledger("paper")
        }
        for each in (desk, restored)
    ]
    assert ledgers[0] == ledgers[1]
    assert ledgers[0]
    assert set(desk.venue.accepted.values()) == {1}


@pytest.mark.parametrize("state", [S.INITIALIZED, S.SUBMITTED])
def test_an_order_that_was_filled_after_the_backup_is_filled_and_not_sent_again(state: OrderState) -> None:
    """In the copy it waits, or is on its way; at the venue it is long done. Halted or not, it must not go out again."""

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        async with desk.executing():
            first = await desk.want(BTC, quantity="2")
            second = await desk.want(ETH, price="90")
            done = await desk.until_state(first, S.FILLED)
            live = await desk.until_state(second, S.ACCEPTED)
        copies = [replace(order, state=state) for order in (done, live)]
        restored = await as_backed_up(desk, *copies)
        await reconcile(restored)
        async with restored.executing("restored"):
            await asyncio.sleep(120)
        await both_agree(desk, restored, first, second)
        assert (await restored.order(first)).filled_quantity == Decimal(2)

    scenario()


@in_virtual_time
async def test_what_was_traded_after_the_backup_is_booked_under_another_name_and_changes_no_sum() -> None:
    """The copy has never heard of it: the fills and the ledger are the venue's all the same."""
    desk = FakeDesk()
    async with desk.executing():
        before = await desk.until_state(await desk.want(BTC, quantity="2"), S.FILLED)
    restored = await as_backed_up(desk, replace(before, state=S.SUBMITTED))
    async with desk.executing():
        await desk.until_state(await desk.want(ETH, quantity="3"), S.FILLED)
    await asyncio.sleep(600)
    await both_agree(desk, restored, before)
