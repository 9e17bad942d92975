"""Orders on the paper exchange: what the desk sends, and what becomes of it, agrees with the venue's own books."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from kontor.domain.account import PositionSide
from kontor.domain.order import OrderReport, OrderState, Side, TimeInForce, apply_report
from kontor.errors import (
    AlreadyPlaced,
    ExchangeError,
    InsufficientFunds,
    InvalidOrder,
    NotSent,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Resend,
)
from kontor.exchange.guarded import GuardedExchange
from kontor.paper.server import PaperServer

from .conftest import Maker
from .on_paper import MARKET, SPOT, SWAP, fault, resting_price


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
async def test_a_tenth_of_a_bitcoin_is_a_tenth_on_spot_and_on_a_swap(
    desk: GuardedExchange, books: Any, make_order: Maker, symbol: str
) -> None:
    """Fill, position, balance and notional match the venue's own books."""
    before = await desk.fetch_balance()
    order = make_order(symbol, order_type=MARKET)
    receipt = await desk.create_order(order)
    report = await desk.fetch_order(symbol, client_order_id=order.client_order_id)
    assert report.venue_order_id == receipt.venue_order_id
    assert (report.state, report.quantity, report.filled_quantity) == (
        OrderState.FILLED,
        Decimal("0.1"),
        Decimal("0.1"),
    )
    fills = await desk.fetch_fills(symbol, venue_order_id=receipt.venue_order_id)
    assert sum(fill.quantity for fill in fills) == Decimal("0.1")
    assert {fill.client_order_id for fill in fills} == {order.client_order_id}
    raw = await books.fetch_order("", symbol, {"clientOrderId": order.client_order_id})
    size = Decimal(1) if symbol == SPOT else Decimal("0.01")
    assert Decimal(str(raw["filled"])) * size == Decimal("0.1")
    assert Decimal(str(raw["cost"])) == sum(fill.quantity * fill.price for fill in fills)
    after = await desk.fetch_balance()
    theirs = await books.fetch_balance()
    assert after.total == Decimal(str(theirs["USD"]["total"]))
    assert after.free == Decimal(str(theirs["USD"]["free"])) < before.free
    positions = await desk.fetch_positions()
    if symbol == SPOT:
        assert positions == []
        assert after.currencies["BTC"].total == Decimal(str(theirs["BTC"]["total"]))
    else:
        [position] = positions
        assert (position.side, position.quantity) == (PositionSide.LONG, Decimal("0.1"))
        assert position.entry_price == report.average_price
        assert position.notional == Decimal("0.1") * (position.mark_price or Decimal(0))


async def test_a_contract_of_a_thousand_coins(desk: GuardedExchange, make_order: Maker) -> None:
    """The venue counts in contracts, and nobody outside the adapter knows."""
    markets = await desk.load_markets()
    market = next(found for found in markets.values() if found.contract_size == 1000)
    quantity = market.min_quantity * 3
    order = make_order(market.symbol, order_type=MARKET, side=Side.SELL, quantity=quantity)
    await desk.create_order(order)
    [position] = await desk.fetch_positions()
    assert (position.symbol, position.side, position.quantity) == (market.symbol, PositionSide.SHORT, quantity)
    closing = make_order(market.symbol, order_type=MARKET, quantity=quantity, reduce_only=True)
    await desk.create_order(closing)
    assert await desk.fetch_positions() == []


async def test_a_resting_order_is_open_until_it_is_canceled_by_our_own_id(
    desk: GuardedExchange, make_order: Maker
) -> None:
    """And canceling it twice is a question, which the lookup answers."""
    order = make_order(SWAP, price=await resting_price(desk, SWAP), post_only=True)
    receipt = await desk.create_order(order)
    [report] = await desk.fetch_open_orders()
    assert (report.client_order_id, report.venue_order_id) == (order.client_order_id, receipt.venue_order_id)
    assert (report.price, report.quantity, report.state) == (order.price, Decimal("0.1"), OrderState.ACCEPTED)
    assert await desk.fetch_open_orders(SPOT) == []
    await desk.cancel_order(SWAP, client_order_id=order.client_order_id)
    assert await desk.fetch_open_orders() == []
    with pytest.raises(OrderNotFound):
        await desk.cancel_order(SWAP, client_order_id=order.client_order_id)
    last = await desk.fetch_order(SWAP, venue_order_id=receipt.venue_order_id)
    assert (last.state, last.filled_quantity) == (OrderState.CANCELED, Decimal(0))


async def test_a_partly_filled_ioc_keeps_its_fill(desk: GuardedExchange, make_order: Maker) -> None:
    """More than the book holds at that price: canceled, with what was filled."""
    markets = await desk.load_markets()
    ask = (await desk.fetch_tickers([SWAP]))[SWAP].ask
    assert ask is not None
    quantity = markets[SWAP].max_quantity or Decimal(1000)
    await desk.set_leverage(SWAP, Decimal(100))
    order = make_order(SWAP, quantity=min(quantity, Decimal(100)), price=ask, time_in_force=TimeInForce.IOC)
    await desk.create_order(order)
    report = await desk.fetch_order(SWAP, client_order_id=order.client_order_id)
    assert report.state is OrderState.CANCELED
    assert 0 < report.filled_quantity < order.quantity


async def test_more_open_orders_than_a_page_are_all_seen(desk: GuardedExchange, make_order: Maker) -> None:
    """Okx lists a hundred at a time; an order that is not seen would be taken for gone."""
    price = await resting_price(desk, SWAP)
    orders = [make_order(SWAP, price=price, quantity=Decimal("0.001")) for _ in range(230)]
    results = await desk.create_orders(orders)
    assert [result for result in results if not isinstance(result, OrderReport)] == []
    seen = {report.client_order_id for report in await desk.fetch_open_orders()}
    assert seen == {order.client_order_id for order in orders}


async def test_more_fills_than_a_page_are_all_seen(desk: GuardedExchange, make_order: Maker) -> None:
    """With a start they are collected page by page, spot and swaps together."""
    began = datetime.now(UTC) - timedelta(minutes=1)
    symbols = [SPOT] * 130 + [SWAP] * 20
    orders = [make_order(symbol, order_type=MARKET, quantity=Decimal("0.001")) for symbol in symbols]
    results = await desk.create_orders(orders)
    assert not [result for result in results if isinstance(result, ExchangeError)]
    fills = await desk.fetch_fills(since=began)
    assert {fill.client_order_id for fill in fills} == {order.client_order_id for order in orders}
    assert len({fill.trade_id for fill in fills}) == len(fills)
    assert [fill.filled_at for fill in fills] == sorted(fill.filled_at for fill in fills)


async def test_a_batch_has_a_result_for_each_order(desk: GuardedExchange, make_order: Maker) -> None:
    """Spot and swap, good and bad, in one call and in order."""
    spot_price, swap_price = await resting_price(desk, SPOT), await resting_price(desk, SWAP)
    good = make_order(SPOT, price=spot_price)
    poor = make_order(SPOT, price=spot_price, quantity=Decimal(300))
    tiny = make_order(SWAP, price=swap_price, quantity=Decimal("0.00001"))
    also = make_order(SWAP, price=swap_price)
    first = await desk.create_orders([good, poor, tiny, also])
    kinds = [type(result) for result in first]
    assert kinds == [OrderReport, InsufficientFunds, InvalidOrder, OrderReport]
    again = await desk.create_orders([good, also])
    assert [type(result) for result in again] == [AlreadyPlaced, AlreadyPlaced]


async def test_what_the_venue_refuses_is_told_as_it_is(desk: GuardedExchange, make_order: Maker) -> None:
    """One line for each: too little money, an id that is taken, a moment that has passed."""
    price = await resting_price(desk, SPOT)
    with pytest.raises(InsufficientFunds) as poor:
        await desk.create_order(make_order(SPOT, price=price, quantity=Decimal(300)))
    assert poor.value.resend is Resend.NO
    order = make_order(SPOT, price=price)
    await desk.create_order(order)
    with pytest.raises(AlreadyPlaced) as twice:
        await desk.create_order(order)
    assert twice.value.resend is Resend.LOOK_UP
    with pytest.raises(NotSent, match="its time was over"):
        await desk.create_order(make_order(SPOT, price=price, good_until=datetime.now(UTC) - timedelta(seconds=30)))
    assert len(await desk.fetch_open_orders(SPOT)) == 1


@pytest.mark.parametrize("kind", ["drop_after", "html_200", "truncated_json", "empty_body"])
async def test_an_order_whose_answer_was_lost_is_found_by_our_id(
    desk: GuardedExchange, paper: PaperServer, make_order: Maker, kind: str
) -> None:
    """Unknown, then looked up: the order is there, once."""
    order = make_order(SWAP, price=await resting_price(desk, SWAP))
    await fault(paper, path="/api/v5/trade/batch-orders", kind=kind)
    with pytest.raises(OutcomeUnknown):
        await desk.create_order(order)
    report = await desk.fetch_order(SWAP, client_order_id=order.client_order_id)
    assert apply_report(order, report).state is OrderState.ACCEPTED
    assert len(await desk.fetch_open_orders()) == 1


async def test_an_order_dropped_before_the_venue_saw_it_is_not_found(
    desk: GuardedExchange, paper: PaperServer, make_order: Maker
) -> None:
    """The same error on the wire, the other truth: only the venue's word tells them apart."""
    order = make_order(SWAP, price=await resting_price(desk, SWAP))
    await fault(paper, path="/api/v5/trade/batch-orders", kind="drop_before")
    with pytest.raises(OutcomeUnknown):
        await desk.create_order(order)
    with pytest.raises(OrderNotFound):
        await desk.fetch_order(SWAP, client_order_id=order.client_order_id)


async def test_a_rate_limit_on_a_create_means_not_placed(
    desk: GuardedExchange, paper: PaperServer, make_order: Maker
) -> None:
    """It may be sent again once the venue wants us back."""
    order = make_order(SWAP, price=await resting_price(desk, SWAP))
    await fault(paper, path="/api/v5/trade/batch-orders", kind="http_429", seconds=0.05)
    with pytest.raises(RateLimited) as caught:
        await desk.create_order(order)
    assert caught.value.resend is Resend.YES
    await desk.create_order(order)
