"""Reconciling: the venue's books are believed, and what they say that we did not know is reported with figures."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from kontor.domain.account import CurrencyBalance
from kontor.domain.identity import EXTERNAL, client_order_id
from kontor.domain.intent import OrderIntent
from kontor.domain.order import OrderReport, OrderState, OrderType, Side
from kontor.execution.cancel import request_cancels
from kontor.execution.closing import close_position
from kontor.execution.halt import halt, halted
from kontor.execution.reconcile import reconcile
from kontor.execution.submit import place
from tests.fakes.desk import BTC, ETH, FakeDesk
from tests.fakes.exchange import Fault
from tests.fakes.virtual_time import in_virtual_time

S = OrderState


def strangers(desk: FakeDesk, name: str | None, *, quantity: str = "1", number: str = "x1") -> OrderReport:
    """An order at the venue that did not come from this desk."""
    now = desk.clock.now()
    report = OrderReport(
        symbol=BTC,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        state=S.ACCEPTED,
        quantity=Decimal(quantity),
        filled_quantity=Decimal(0),
        venue_order_id=number,
        at=now,
        client_order_id=name,
        price=Decimal(90),
        created_at=now,
    )
    return desk.venue.put(report)


@in_virtual_time
async def test_a_clean_account_reconciles_clean() -> None:
    """No news is said as no news, with the figures of what was compared."""
    desk = FakeDesk()
    async with desk.executing():
        await desk.until_state(await desk.want(quantity="2"), S.FILLED)
        await desk.until_state(await desk.want(ETH, price="90"), S.ACCEPTED)
        assert (await reconcile(desk)).is_clean
        await desk.until_state(await desk.want(quantity="1", side=Side.SELL), S.FILLED)
        report = await reconcile(desk)
    assert report.is_clean, report
    assert report.open_orders == 1
    await desk.agree()


@in_virtual_time
async def test_cancels_of_everything_leave_the_protective_stops_unless_they_are_asked_for() -> None:
    """A person who cancels all orders wants no entries; the position must not stand naked for it."""
    desk = FakeDesk()
    async with desk.executing():
        await desk.until_state(await desk.want(quantity="2"), S.FILLED)
        await reconcile(desk)
        stop = OrderIntent(BTC, Side.SELL, OrderType.STOP, Decimal(2), reduce_only=True, trigger_price=Decimal(90))
        order = await place(desk, stop, client_order_id="s" * 32, actor="test")
        resting = await desk.want(ETH, price="90")
        await desk.until_state(order, S.ACCEPTED)
        await desk.until_state(resting, S.ACCEPTED)
        asked = await request_cancels(desk, actor="operator")
        assert [each.client_order_id for each in asked] == [resting.client_order_id]
        assert await request_cancels(desk, actor="operator", symbol=BTC) == []
        await desk.until_state(resting, S.CANCELED)
        assert (await desk.order(order)).state is S.ACCEPTED
        await request_cancels(desk, actor="operator", with_stops=True)
        assert (await desk.until_state(order)).state is S.CANCELED


@in_virtual_time
async def test_a_persons_order_is_adopted_and_never_canceled() -> None:
    """An operator's hand is normal: the order becomes ours to see, its fills are booked, nobody cancels it."""
    desk = FakeDesk()
    strangers(desk, "my-hand")
    report = await reconcile(desk, notifier=desk.alerts)
    [name] = report.adopted
    order = await desk.order(name)
    assert (order.state, order.strategy, order.actor) == (S.ACCEPTED, EXTERNAL, EXTERNAL)
    assert await request_cancels(desk, actor="shutdown") == []
    desk.venue.fill("x1", Decimal(1), desk.clock.now())
    again = await reconcile(desk)
    assert not again.adopted
    assert (await desk.order(name)).state is S.FILLED
    [fill] = await desk.store.orders.fills(desk.account, client_order_id=name)
    assert fill.quantity == 1
    assert [alert.severity for alert in desk.alerts.sent] == ["info"]


@in_virtual_time
async def test_an_adopted_order_is_canceled_when_a_person_names_it() -> None:
    """By its venue order id: our name for it means nothing to the venue."""
    desk = FakeDesk()
    strangers(desk, None)
    [name] = (await reconcile(desk)).adopted
    async with desk.executing():
        await request_cancels(desk, actor="operator", client_order_ids=[name])
        assert (await desk.until_state(await desk.order(name))).state is S.CANCELED
    assert desk.venue.orders["x1"].state is S.CANCELED


@in_virtual_time
async def test_a_trade_made_by_hand_between_two_looks_is_booked_as_external() -> None:
    """It was over before anybody saw it open; its fill tells, and the position is explained by it."""
    desk = FakeDesk()
    await reconcile(desk)
    await asyncio.sleep(5)
    strangers(desk, "my-hand", quantity="3")
    desk.venue.fill("x1", Decimal(3), desk.clock.now())
    report = await reconcile(desk)
    [name] = report.adopted
    assert (await desk.order(name)).state is S.FILLED
    assert report.new_fills == 1
    assert report.drift == ()


@in_virtual_time
async def test_missed_fills_are_booked_by_trade_id_once() -> None:
    """However often it is asked, each trade counts once."""
    desk = FakeDesk()
    async with desk.executing():
        order = await desk.want(price="90", quantity="3")
        order = await desk.until_state(order, S.ACCEPTED)
    for _ in range(2):
        desk.venue.fill(str(order.venue_order_id), Decimal(1), desk.clock.now())
    for _ in range(3):
        assert (await reconcile(desk)).is_clean
    assert (await desk.order(order)).filled_quantity == 2
    await desk.agree()


@in_virtual_time
async def test_an_order_of_another_kontor_desk_halts_trading() -> None:
    """A lease in one store cannot see a second machine; the prefix in the id can."""
    desk = FakeDesk()
    prefix = await desk.store.desk.desk_prefix()
    other = "abcd" if prefix != "abcd" else "wxyz"
    strangers(desk, client_order_id(other, "their order"))
    report = await reconcile(desk, notifier=desk.alerts)
    assert len(report.foreign) == 1
    found = await halted(desk.store.desk, desk.account)
    assert found is not None
    assert "another Kontor desk" in found.reason
    assert found.title == "Trading halted: another desk on this account"
    assert (await desk.want(ETH, price="90")).state is S.DENIED


@in_virtual_time
async def test_a_fill_of_another_kontor_desk_halts_trading() -> None:
    """Their order was over before anybody saw it open: its fill tells of them all the same."""
    desk = FakeDesk()
    await reconcile(desk)
    prefix = await desk.store.desk.desk_prefix()
    strangers(desk, client_order_id("abcd" if prefix != "abcd" else "wxyz", "their order"))
    desk.venue.fill("x1", Decimal(1), desk.clock.now())
    report = await reconcile(desk, notifier=desk.alerts)
    assert len(report.foreign) == 1
    found = await halted(desk.store.desk, desk.account)
    assert found is not None
    assert found.title == "Trading halted: another desk on this account"


@in_virtual_time
async def test_two_markets_that_number_their_orders_alike_are_not_mixed_up() -> None:
    """Some venues count each market's orders from one: a person's order is not news of ours on another market."""
    desk = FakeDesk()
    async with desk.executing():
        ours = await desk.until_state(await desk.want(ETH, price="90"), S.ACCEPTED)
        await asyncio.sleep(1)
    number = str(ours.venue_order_id)
    theirs = strangers(desk, "my-hand", quantity="7", number="their own key")
    # The same number on BTC, in the venue's own answers.
    desk.venue.orders["their own key"] = replace(
        theirs, venue_order_id=number, filled_quantity=Decimal(7), state=S.FILLED
    )
    listed = replace(desk.venue.orders["their own key"], state=S.PARTIALLY_FILLED, filled_quantity=Decimal(3))
    open_orders = desk.venue.open_orders
    desk.venue.open_orders = lambda: [*open_orders(), listed]
    report = await reconcile(desk)
    assert (await desk.order(ours)).filled_quantity == 0
    assert (await desk.order(ours)).state is S.ACCEPTED
    [name] = report.adopted
    assert (await desk.order(name)).symbol == BTC


@in_virtual_time
async def test_an_order_with_our_own_prefix_that_the_store_forgot_gets_its_name_back_and_halts() -> None:
    """A restored backup knows less than the venue: the intent must not be sent again under the same name.

    Or a copy of this desk trades the account: a person has to say which of the two it is.
    """
    desk = FakeDesk()
    name = client_order_id(await desk.store.desk.desk_prefix(), "lost in the backup")
    strangers(desk, name)
    report = await reconcile(desk, notifier=desk.alerts)
    assert report.adopted == report.forgotten == [name]
    assert not report.foreign
    found = await halted(desk.store.desk, desk.account)
    assert found is not None
    assert "older backup, or a copy of this desk" in found.reason
    assert found.title == "Trading halted: an order that this desk does not remember"
    assert [alert for alert in desk.alerts.sent if alert.severity == "critical"] == []
    assert not (await reconcile(desk)).forgotten
    async with desk.executing():
        await asyncio.sleep(30)
    assert desk.exchange.requests["create"] == 0


@in_virtual_time
async def test_a_position_that_fills_do_not_explain_is_drift_with_figures() -> None:
    """A liquidation or a transfer in kind: the report names what was expected and what was found."""
    desk = FakeDesk()
    async with desk.executing():
        await desk.until_state(await desk.want(quantity="2"), S.FILLED)
        await asyncio.sleep(1)
        await reconcile(desk)
    kept = desk.venue.fills.pop()
    desk.venue.fills.append(replace(kept, quantity=Decimal("0.5")))
    report = await reconcile(desk)
    [drift] = report.drift
    assert (drift.name, drift.expected, drift.found) == (BTC, 2, Decimal("0.5"))
    assert (await reconcile(desk)).drift == (), "once reported, the venue is believed"


@in_virtual_time
async def test_money_moved_out_is_drift_in_its_currency() -> None:
    """A withdrawal of a coin is seen; the currency that swaps settle in moves with every price and is not judged."""
    desk = FakeDesk()
    held = {"SOL": CurrencyBalance(Decimal(5), Decimal(0), Decimal(5))}
    balance = desk.venue.balance
    desk.venue.balance = lambda at: replace(balance(at), currencies={**balance(at).currencies, **held})
    await reconcile(desk)
    held["SOL"] = CurrencyBalance(Decimal(3), Decimal(0), Decimal(3))
    desk.venue.cash -= 1000
    report = await reconcile(desk)
    assert [(d.name, d.difference) for d in report.drift] == [("SOL", Decimal(-2))]


@in_virtual_time
async def test_trading_during_the_comparison_is_not_drift() -> None:
    """The position was read before a fill and the fills after it: look again instead of crying wolf."""
    desk = FakeDesk()
    async with desk.executing():
        order = await desk.until_state(await desk.want(price="90", quantity="3"), S.ACCEPTED)
        await reconcile(desk)
        positions = desk.venue.positions
        fills = iter([True, False, True, False])

        def while_trading(at: object) -> object:
            found = positions(desk.clock.now())
            if next(fills, False):
                desk.venue.fill(str(order.venue_order_id), Decimal(1), desk.clock.now())
            return found

        desk.venue.positions = while_trading  # type: ignore[method-assign,assignment]
        report = await reconcile(desk)
    assert report.drift == ()
    await desk.agree()


@in_virtual_time
async def test_an_order_we_had_closed_but_the_venue_has_open_is_reopened() -> None:
    """We believed a "not found" for too long; the order lives, so we track it again."""
    desk = FakeDesk()
    async with desk.executing():
        order = await desk.until_state(await desk.want(price="90"), S.ACCEPTED)
    report = desk.venue.orders.pop(str(order.venue_order_id))
    canceled = replace(order, state=S.CANCELED)
    await desk.store.orders.record([(await desk.order(order), canceled)], actor="test", at=desk.clock.now())
    desk.venue.put(report)
    found = await reconcile(desk)
    assert found.reopened == [order.client_order_id]
    assert (await desk.order(order)).state is S.ACCEPTED


@in_virtual_time
async def test_an_outcome_unknown_to_us_is_known_after_reconciling() -> None:
    """The executor is away; the venue's open orders name the order by our id."""
    desk = FakeDesk()
    desk.exchange.script("create", Fault.TIMEOUT_AFTER)
    desk.exchange.script("lookup", *[Fault.DROPPED_BEFORE] * 50)
    async with desk.executing():
        order = await desk.until_state(await desk.want(price="90"), S.SUBMITTED)
        await asyncio.sleep(1)
    await reconcile(desk)
    assert (await desk.order(order)).state is S.ACCEPTED


@pytest.mark.parametrize(("symbol", "bought", "left"), [(BTC, "1.5", "0"), ("BTC/USD", "1.5", "0"), (ETH, "0.3", "0")])
def test_closing_a_position_leaves_nothing(symbol: str, bought: str, left: str) -> None:
    """A reduce-only market order for all of it; asking again under the same id sends nothing more."""

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        async with desk.executing():
            await desk.until_state(await desk.want(symbol, quantity=bought), S.FILLED)
            name = client_order_id(await desk.store.desk.desk_prefix(), "close")
            result = await close_position(desk, symbol, client_order_id=name, actor="operator")
            assert result.order is not None
            assert result.order.state is S.INITIALIZED, result.order.reason
            await desk.until_state(result.order, S.FILLED)
            again = await close_position(desk, symbol, client_order_id=name, actor="operator")
            assert again.order is not None
            assert again.order.client_order_id == name
        assert desk.venue.holding(symbol) == Decimal(left)
        await desk.agree()

    scenario()


@in_virtual_time
async def test_what_is_too_small_to_sell_is_reported_as_residue() -> None:
    """Fees in the base currency leave crumbs below the venue's step: shown, never retried."""
    desk = FakeDesk()
    async with desk.executing():
        await desk.until_state(await desk.want("BTC/USD", quantity="1"), S.FILLED)
        crumbs = desk.venue.fills[-1]
        desk.venue.fills[-1] = replace(crumbs, quantity=Decimal("0.996"))
        name = client_order_id(await desk.store.desk.desk_prefix(), "close")
        result = await close_position(desk, "BTC/USD", client_order_id=name, actor="operator")
        assert result.order is not None
        assert result.order.quantity == Decimal("0.99")
        assert result.residue == Decimal("0.006")
        await desk.until_state(result.order, S.FILLED)
        name = client_order_id(await desk.store.desk.desk_prefix(), "close again")
        crumbs_left = await close_position(desk, "BTC/USD", client_order_id=name, actor="operator")
    assert crumbs_left.order is None
    assert crumbs_left.residue == Decimal("0.006")
    assert "below the venue's minimum" in crumbs_left.sentence


@in_virtual_time
async def test_closing_nothing_sends_nothing() -> None:
    """An operator may press the button twice."""
    desk = FakeDesk()
    result = await close_position(desk, BTC, client_order_id="c" * 32, actor="operator")
    assert result.order is None
    assert "no position" in result.sentence
    await asyncio.sleep(timedelta(seconds=1).total_seconds())
    assert desk.exchange.requests["create"] == 0


@in_virtual_time
async def test_another_desk_is_told_even_where_trading_is_halted_for_another_reason() -> None:
    """The halt in force keeps its reason, so nothing else would say that two desks trade one account."""
    desk = FakeDesk()
    await halt(desk.store.desk, desk.account, "holidays", actor="me", at=desk.clock.now())
    strangers(desk, client_order_id(await desk.store.desk.desk_prefix(), "lost in the backup"))
    await reconcile(desk, notifier=desk.alerts)
    told = [alert for alert in desk.alerts.sent if alert.severity == "critical"]
    assert [alert.title for alert in told] == ["An order that this desk does not remember"]
