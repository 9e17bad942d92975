"""What moves the account from outside: recognized for what it is, booked once, and no alarm unless it is one."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontor.domain.account import CurrencyBalance
from kontor.domain.fill import Fill, FillCause
from kontor.domain.identity import client_order_id
from kontor.domain.order import OrderReport, OrderState, OrderType, Side
from kontor.domain.outside import OutsideKind, OutsideMove, Transfer, moves_of_fills
from kontor.execution.reconcile import reconcile
from tests.fakes.desk import BTC, FakeDesk
from tests.fakes.venue import MARKETS
from tests.fakes.virtual_time import START, in_virtual_time

K = OutsideKind
S = OrderState
SPOT = "BTC/USD"


def by_hand(
    desk: FakeDesk, number: str, quantity: str, *, symbol: str = BTC, cause: FillCause | None = None, name: str = ""
) -> Fill:
    """A person's market order at the venue, filled at once; a negative quantity sells."""
    signed, now = Decimal(quantity), desk.clock.now()
    side = Side.BUY if signed > 0 else Side.SELL
    report = OrderReport(
        symbol, side, OrderType.MARKET, S.ACCEPTED, abs(signed), Decimal(0), number, now, client_order_id=name or None
    )
    desk.venue.put(replace(report, created_at=now))
    desk.venue.fill(number, abs(signed), now)
    desk.venue.fills[-1] = replace(desk.venue.fills[-1], cause=cause)
    return desk.venue.fills[-1]


async def moves(desk: FakeDesk) -> list[tuple[OutsideKind, Decimal, str | None]]:
    booked = await desk.store.account.outside_moves(desk.account)
    return [(move.kind, move.quantity, move.symbol or move.currency) for move in booked]


@in_virtual_time
async def test_trades_by_hand_are_told_apart_by_what_they_did_to_the_position() -> None:
    """An operator closes a part, then the rest, then turns around: four rows, no drift, no alarm."""
    desk = FakeDesk()
    async with desk.executing():
        await desk.until_state(await desk.want(quantity="2"), S.FILLED)
    await reconcile(desk)
    for number, quantity in enumerate(["1", "-0.5", "-2.5", "-1"]):
        by_hand(desk, f"h{number}", quantity)
        await asyncio.sleep(1)
    report = await reconcile(desk, notifier=desk.alerts)
    assert report.drift == ()
    assert not report.needs_a_look
    assert await moves(desk) == [
        (K.TRADE, Decimal(1), BTC),
        (K.PARTIAL_CLOSE, Decimal("-0.5"), BTC),
        (K.CLOSE, Decimal("-2.5"), BTC),
        (K.TRADE, Decimal(-1), BTC),
    ]
    [first, *_] = await desk.store.account.outside_moves(desk.account)
    assert (first.price, first.source_id) == (100, f"fill:{BTC}:t2")
    assert [alert.severity for alert in desk.alerts.sent] == ["info"]
    assert (await reconcile(desk)).is_clean


@in_virtual_time
async def test_our_own_fills_are_never_moves_from_outside() -> None:
    """Not even when the store had forgotten the order: the prefix in its id is ours."""
    desk = FakeDesk()
    await reconcile(desk)
    by_hand(desk, "v1", "1", name=client_order_id(await desk.store.desk.desk_prefix(), "lost in the backup"))
    async with desk.executing():
        await desk.until_state(await desk.want(quantity="2"), S.FILLED)
    report = await reconcile(desk)
    assert report.outside == ()
    assert report.drift == ()
    assert await moves(desk) == []


@pytest.mark.parametrize("cause", list(FillCause))
def test_a_liquidation_is_booked_as_one_and_is_an_emergency(cause: FillCause) -> None:
    """The venue marks such a trade; whoever sees only the smaller position would call it a trade by hand."""

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        async with desk.executing():
            await desk.until_state(await desk.want(quantity="2"), S.FILLED)
        await reconcile(desk)
        by_hand(desk, "liq", "-2", cause=cause)
        report = await reconcile(desk, notifier=desk.alerts)
        assert report.drift == ()
        assert await moves(desk) == [(OutsideKind(cause.value), Decimal(-2), BTC)]
        assert [alert.severity for alert in desk.alerts.sent] == ["critical"]

    scenario()


@in_virtual_time
async def test_a_transfer_that_the_venue_lists_is_booked_and_is_no_drift() -> None:
    """Also in the currency that swaps settle in, which no comparison of balances could tell from profit."""
    desk = FakeDesk()
    desk.venue.transfers = []
    await reconcile(desk)
    for number, (quantity, pause) in enumerate([("500", 0), ("-200", 400)]):
        desk.venue.transfers.append(Transfer(f"b{number}", "USD", Decimal(quantity), desk.clock.now()))
        desk.venue.cash += Decimal(quantity)
        report = await reconcile(desk)
        assert [str(move) for move in report.outside] == [f"transfer {Decimal(quantity):+f} USD (transfer:b{number})"]
        assert report.drift == ()
        assert (await reconcile(desk)).is_clean
        await asyncio.sleep(pause)
    assert await moves(desk) == [(K.TRANSFER, Decimal(500), "USD"), (K.TRANSFER, Decimal(-200), "USD")]


def holding(desk: FakeDesk, held: dict[str, CurrencyBalance]) -> None:
    """Let the venue hold coins that no trade brought."""
    balance = desk.venue.balance
    desk.venue.balance = lambda at: replace(balance(at), currencies={**balance(at).currencies, **held})


@pytest.mark.parametrize("transfers", [None, []])
def test_what_nobody_explains_is_booked_with_its_figures(transfers: list[Transfer] | None) -> None:
    """Only transfers and trades move a coin: without a list it was a transfer, with one it is a riddle. Booked once."""

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        desk.venue.transfers = transfers
        held = {"SOL": CurrencyBalance(Decimal(5), Decimal(0), Decimal(5))}
        holding(desk, held)
        await reconcile(desk)
        held["SOL"] = CurrencyBalance(Decimal(3), Decimal(0), Decimal(3))
        [drift] = (await reconcile(desk)).drift
        assert (drift.name, drift.expected, drift.found) == ("SOL", 5, 3)
        assert (await reconcile(desk)).is_clean
        kind = K.TRANSFER if transfers is None else K.ADJUSTMENT
        assert await moves(desk) == [(kind, Decimal(-2), "SOL")]

    scenario()


@in_virtual_time
async def test_a_position_that_no_fill_explains_is_an_adjustment() -> None:
    """A liquidation at a venue that lists no trades of its own making: the row has the figures, a person the cause."""
    desk = FakeDesk()
    async with desk.executing():
        await desk.until_state(await desk.want(quantity="2"), S.FILLED)
        await asyncio.sleep(1)
    await reconcile(desk)
    desk.venue.fills[-1] = replace(desk.venue.fills[-1], quantity=Decimal("0.5"))
    report = await reconcile(desk, notifier=desk.alerts)
    assert len(report.drift) == 1
    assert await moves(desk) == [(K.ADJUSTMENT, Decimal("-1.5"), BTC)]
    assert [alert.severity for alert in desk.alerts.sent] == ["critical"]


@in_virtual_time
async def test_two_reconciliations_at_once_book_everything_once() -> None:
    """One after a reconnect and one by schedule: the slower one finds that the holdings were compared already."""
    desk = FakeDesk()
    desk.venue.transfers = []
    await reconcile(desk)
    by_hand(desk, "h1", "1")
    desk.venue.transfers.append(Transfer("b1", "USD", Decimal(7), desk.clock.now()))
    desk.venue.cash += 7
    desk.exchange.latency = 0.1
    await asyncio.gather(*(reconcile(desk) for _ in range(3)))
    assert sorted(await moves(desk)) == sorted([(K.TRADE, Decimal(1), BTC), (K.TRANSFER, Decimal(7), "USD")])
    assert (await reconcile(desk)).is_clean


@in_virtual_time
async def test_a_crash_before_the_booking_loses_no_move() -> None:
    """Fills are committed as they come, the moves they are with the new baseline: whoever comes next finds both."""
    desk = FakeDesk()
    await reconcile(desk)
    by_hand(desk, "h1", "1")
    settle = desk.store.account.settle

    async def crash(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("killed here")

    desk.store.account.settle = crash
    with pytest.raises(RuntimeError):
        await reconcile(desk)
    assert len(await desk.store.orders.fills(desk.account)) == 1
    desk.store.account.settle = settle
    await reconcile(desk)
    assert await moves(desk) == [(K.TRADE, Decimal(1), BTC)]


@in_virtual_time
async def test_a_fill_of_an_order_that_the_venue_has_forgotten_is_still_ours() -> None:
    """Its client order id names it; taken for somebody else's it would be counted as a trade by hand."""
    desk = FakeDesk()
    async with desk.executing():
        order = await desk.until_state(await desk.want(price="90"), S.ACCEPTED)
        await asyncio.sleep(1)
    await reconcile(desk)
    desk.venue.fill(str(order.venue_order_id), Decimal(1), desk.clock.now())
    # The venue names it otherwise now, and cannot be asked for it any more.
    desk.venue.fills[-1] = replace(desk.venue.fills[-1], venue_order_id="archived")
    del desk.venue.orders[str(order.venue_order_id)]
    report = await reconcile(desk)
    assert report.outside == ()
    assert not report.unowned_fills
    assert (await desk.order(order)).filled_quantity == 1


@given(st.lists(st.tuples(st.integers(-5, 5).filter(bool), st.booleans()), max_size=12), st.integers(-5, 5))
def test_the_moves_are_exactly_the_fills_from_outside(trades: list[tuple[int, bool]], held: int) -> None:
    """Whatever was traded in between: each fill from outside is one row with its own quantity."""
    desk_fills = [(_fill(number, quantity), is_outside) for number, (quantity, is_outside) in enumerate(trades)]
    booked = moves_of_fills({BTC: Decimal(held)}, desk_fills, MARKETS)
    expected = [(fill.signed_quantity, f"fill:{BTC}:t{n:02}") for n, (fill, out) in enumerate(desk_fills) if out]
    assert [(move.quantity, move.source_id) for move in booked] == expected
    position = Decimal(held)
    by_source: dict[str, OutsideMove] = {move.source_id: move for move in booked}
    for fill, is_outside in desk_fills:
        after = position + fill.signed_quantity
        if is_outside:
            kind = by_source[f"fill:{BTC}:{fill.trade_id}"].kind
            assert (kind is K.CLOSE) == (position != 0 and after == 0)
            assert (kind is K.PARTIAL_CLOSE) == (position * after > 0 and abs(after) < abs(position))
        position = after


@in_virtual_time
async def test_a_spot_sale_by_hand_closes_what_the_currency_held() -> None:
    """On spot the holding is the base currency, whoever bought it."""
    desk = FakeDesk()
    async with desk.executing():
        await desk.until_state(await desk.want(SPOT, quantity="2"), S.FILLED)
    await reconcile(desk)
    by_hand(desk, "h1", "-0.5", symbol=SPOT)
    await asyncio.sleep(1)
    by_hand(desk, "h2", "-1.5", symbol=SPOT)
    report = await reconcile(desk)
    assert report.drift == ()
    assert [kind for kind, _, _ in await moves(desk)] == [K.PARTIAL_CLOSE, K.CLOSE]


def _fill(number: int, quantity: int) -> Fill:
    return Fill(
        trade_id=f"t{number:02}",
        symbol=BTC,
        side=Side.BUY if quantity > 0 else Side.SELL,
        quantity=Decimal(abs(quantity)),
        price=Decimal(100),
        filled_at=START,
        venue_order_id=f"v{number}",
    )
