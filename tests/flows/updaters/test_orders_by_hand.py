"""Orders through Prefect: placed, filled, canceled, closed and refused, against the paper exchange's own books."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError
from prefect.runtime import flow_run as runtime

from flows.account import update_balance, update_positions
from flows.orders import track_orders
from flows.trade import cancel_orders, close_position, halt_trading, place_order, resume_trading
from kontor.domain.account import PositionSide
from kontor.domain.order import OrderState
from tests.flows.updaters.conftest import Account

SWAP, SPOT = "BTC/USD:USD", "BTC/USD"


async def run(flow: Any, account: Account, *args: Any, **parameters: Any) -> State[Any]:
    return await flow(*args, account=account.name, return_state=True, **parameters)


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
async def test_a_market_order_for_a_tenth_becomes_exactly_a_tenth(trading: Account, symbol: str) -> None:
    """Contract size 0.01 on the swap and none on spot: 0.1 is 0.1 of the base on both."""
    before = await update_balance(account=trading.name)
    state = await run(place_order, trading, symbol, "buy", Decimal("0.1"), "market")
    figures = await state.result()
    assert (figures["state"], figures["filled_quantity"]) == ("FILLED", "0.1")
    fills = await trading.store.orders.fills(trading.name, client_order_id=figures["client_order_id"])
    assert sum(fill.quantity for fill in fills) == Decimal("0.1")
    after = await update_balance(account=trading.name)
    assert Decimal(after["free"]) < Decimal(before["free"])
    await update_positions(account=trading.name)
    positions = await trading.store.account.positions(trading.name)
    assert positions is not None
    if symbol == SWAP:
        [position] = positions.value
        assert (position.symbol, position.side, position.quantity) == (SWAP, PositionSide.LONG, Decimal("0.1"))
        assert position.notional is not None
        assert position.mark_price is not None
        assert abs(position.notional - position.mark_price * Decimal("0.1")) < Decimal("0.01")
    else:
        balance = await trading.store.account.balance(trading.name)
        assert balance is not None
        # OKX takes the fee of a spot purchase in the base.
        assert Decimal("0.0998") < balance.currencies["BTC"].total <= Decimal("0.1")


async def test_an_order_that_waited_for_a_worker_for_too_long_is_denied(
    trading: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run that was queued while no worker was there arrives; the price it was meant at is not today's."""
    long_ago = datetime.now(UTC) - timedelta(minutes=10)
    monkeypatch.setitem(runtime.FIELDS, "scheduled_start_time", lambda: long_ago)
    state = await run(place_order, trading, SWAP, "buy", Decimal("0.1"), "market")
    assert state.is_failed()
    assert "DENIED: expired: good_until" in str(state.message)
    assert await update_positions(account=trading.name) == {}


async def test_a_position_is_closed_with_its_target_and_a_second_close_finds_nothing(trading: Account) -> None:
    await run(place_order, trading, SWAP, "buy", Decimal("0.1"), "market")
    tickers = await trading.store.market.tickers(trading.name)
    price = next(ticker.last for symbol, ticker in tickers.items() if symbol.startswith("BTC/USD") and ticker.last)
    far = (price * Decimal("1.05")).quantize(Decimal(1))
    target = await (
        await run(place_order, trading, SWAP, "sell", Decimal("0.1"), "limit", far, reduce_only=True)
    ).result()
    assert target["state"] == "ACCEPTED"
    closed = await (await run(close_position, trading, SWAP)).result()
    assert closed["order"]["state"] == "FILLED"
    assert (closed["residue"], closed["canceled"]) == ("0.0", [target["client_order_id"]])
    assert await update_positions(account=trading.name) == {}
    again = await (await run(close_position, trading, SWAP)).result()
    assert (again["order"], again["said"]) == (None, f"there is no position in {SWAP}")


async def test_resting_orders_are_canceled_at_the_venue(trading: Account) -> None:
    tickers = await trading.store.market.tickers(trading.name)
    price = next(ticker.last for symbol, ticker in tickers.items() if symbol.startswith("BTC/USD") and ticker.last)
    far = (price * Decimal("0.95")).quantize(Decimal(1))
    placed = await (await run(place_order, trading, SWAP, "buy", Decimal("0.1"), "limit", far)).result()
    assert placed["state"] == "ACCEPTED"
    canceled = await (await run(cancel_orders, trading, SWAP)).result()
    assert canceled == {"canceled": 1, "not_finished": [], "orders": {placed["client_order_id"]: "CANCELED"}}
    assert await (await run(cancel_orders, trading)).result() == {"canceled": 0, "not_finished": [], "orders": {}}


DENIED: list[tuple[tuple[Any, ...], str]] = [
    (("NOPE/USD", "buy", Decimal(1), "market"), "unknown_symbol: NOPE/USD is not a market of this venue"),
    ((SWAP, "buy", Decimal("0.00001"), "market"), "minimum"),
    ((SWAP, "buy", Decimal("0.1"), "limit"), "price: a limit order needs a price above 0, not None"),
    (("BNB/USD:USD", "buy", Decimal(1), "market"), "restricted_symbol: BNB/USD:USD is restricted"),
    ((SWAP, "buy", Decimal("0.1"), "limit", Decimal(10_000_000)), "price_collar"),
]


async def test_a_denied_order_fails_its_run_with_rule_and_reason_and_sends_nothing(trading: Account) -> None:
    for arguments, sentence in DENIED:
        state = await run(place_order, trading, *arguments)
        assert state.is_failed()
        assert sentence in str(state.message)
        assert "Traceback" not in str(state.message)
    assert await trading.store.orders.counts(trading.name) == {OrderState.DENIED: len(DENIED)}
    assert (await trading.requests())["accepted_by_client_id"] == {}


async def test_a_negative_quantity_is_refused_before_the_run_begins(account: Account) -> None:
    with pytest.raises(ParameterTypeError, match="greater than 0"):
        await place_order(SWAP, "buy", Decimal(-1), "market", account=account.name)


async def test_nothing_is_placed_before_initialization_and_the_run_says_so(account: Account) -> None:
    """Completed would read as if the order had been sent."""
    state = await run(place_order, account, SWAP, "buy", Decimal("0.1"), "market")
    assert state.is_failed()
    assert "is not initialized yet" in str(state.message)
    assert await account.store.orders.counts(account.name) == {}


async def test_a_halt_cancels_what_rests_and_refuses_new_risk_until_a_person_resumes(trading: Account) -> None:
    await run(place_order, trading, SWAP, "buy", Decimal("0.1"), "market")
    tickers = await trading.store.market.tickers(trading.name)
    price = next(ticker.last for symbol, ticker in tickers.items() if symbol.startswith("BTC/USD") and ticker.last)
    below = (price * Decimal("0.95")).quantize(Decimal(1))
    entry = await (await run(place_order, trading, SWAP, "buy", Decimal("0.1"), "limit", below)).result()
    halted = await (await run(halt_trading, trading, "lunch")).result()
    assert halted["cancels_asked"] == [entry["client_order_id"]]
    async with asyncio.timeout(60):
        # The executor does it, whoever asked.
        while (await trading.store.orders.get(entry["client_order_id"])).state is not OrderState.CANCELED:  # type: ignore[union-attr] # noqa: ASYNC110
            await asyncio.sleep(0.05)
    state = await run(place_order, trading, SWAP, "buy", Decimal("0.1"), "market")
    assert "halted: trading is halted (lunch)" in str(state.message)
    closed = await (await run(close_position, trading, SWAP)).result()
    assert closed["order"]["state"] == "FILLED"
    assert await (await run(resume_trading, trading)).result() == {"halted": False, "reason_was": "lunch"}
    state = await run(place_order, trading, SWAP, "buy", Decimal("0.1"), "market")
    assert state.name == "Completed", state.message


async def test_an_answer_that_never_came_is_looked_up_and_not_sent_twice(trading: Account) -> None:
    """The notebook marked such an order as failed; the venue had it."""
    await trading.fault(path="/api/v5/trade/*order*", method="POST", kind="drop_after", times=1)
    state = await run(place_order, trading, SWAP, "buy", Decimal("0.1"), "market")
    figures = await state.result()
    assert figures["state"] == "FILLED"
    await track_orders(account=trading.name)
    assert await update_positions(account=trading.name) == {SWAP: "0.1"}
    seen = (await trading.requests())["accepted_by_client_id"]
    assert seen[figures["client_order_id"]] == 1
