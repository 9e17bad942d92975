"""Funding, liquidation, modes, transfers, delisting and maintenance, as unmodified ccxt sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import ccxt
import pytest

from kontor.paper.clock import ManualClock
from kontor.paper.server import PaperServer

SWAP, SPOT, ID = "BTC/USD:USD", "BTC/USD", "BTC-USD-SWAP"
HOURS_8 = 8 * 3600


@pytest.fixture
def operate(admin: Any) -> Callable[..., Any]:
    """Calls an admin endpoint and gives its answer."""

    async def operate_(path: str, method: str = "POST", status: int = 200, **body: Any) -> dict[str, Any]:
        async with admin.session.request(method, f"{admin.url}/admin/{path}", json=body or None) as response:
            assert response.status == status, await response.text()
            return await response.json()

    return operate_


async def test_funding_comes_as_history_and_in_the_ledger(client: Any, clock: ManualClock, paper: PaperServer) -> None:
    """Paid at its time; its row has the shape ccxt reads, and the rates paid are public."""
    await client.load_markets()
    await client.create_order(SWAP, "market", "buy", 100)
    clock.advance(HOURS_8)
    paper.venue.advance()
    (paid,) = await client.fetch_funding_history(SWAP)
    assert paid["amount"] < 0
    assert (paid["symbol"], paid["code"]) == (SWAP, "USD")
    (position,) = await client.fetch_positions([SWAP])
    assert float(position["info"]["fundingFee"]) == paid["amount"]
    rates = await client.fetch_funding_rate_history(SWAP, limit=3)
    assert [row["fundingRate"] for row in rates] == [0.0001] * 3
    assert rates[-1]["timestamp"] <= paper.venue.now()


async def test_an_operator_changes_the_rate_and_has_it_paid(client: Any, operate: Any) -> None:
    """A payment of a known size at once."""
    await client.load_markets()
    await client.create_order(SWAP, "market", "buy", 100)
    answer = await operate("funding", inst_id=ID, rate="-0.002", now=True)
    assert answer == {"inst_id": ID, "rate": "-0.002", "paid": True}
    assert (await client.fetch_funding_rate(SWAP))["fundingRate"] == -0.002
    (paid,) = await client.fetch_funding_history(SWAP)
    assert paid["amount"] == pytest.approx((await client.fetch_mark_price(SWAP))["markPrice"] * 0.002)
    assert "needs the inst_id" in (await operate("funding", status=400, rate="0.1"))["error"]
    assert "doesn't exist" in (await operate("funding", status=400, inst_id="GOLD-USD-SWAP", now=True))["error"]


async def test_a_liquidation_is_an_order_and_fills_that_say_so(client: Any, admin: Any, operate: Any) -> None:
    """By price or by hand: how the desk tells it from its own closing."""
    await client.load_markets()
    await client.set_leverage(100, SWAP, {"mgnMode": "cross"})
    last = (await client.fetch_ticker(SWAP))["last"]
    size = int(40 * 100_000 / last * 100)
    for _ in range(2):
        await client.create_order(SWAP, "market", "buy", size)
    (position,) = await client.fetch_positions([SWAP])
    await admin.price(ID, str(round(position["liquidationPrice"] - 20, 1)))
    assert await client.fetch_positions([SWAP]) == []
    orders = await client.fetch_closed_orders(SWAP)
    (forced,) = [order for order in orders if order["info"]["category"] == "full_liquidation"]
    trades = await client.fetch_my_trades(SWAP, params={"ordId": forced["id"]})
    assert {trade["info"]["subType"] for trade in trades} == {"107"}
    rows = (await client.private_get_account_bills_archive({"type": "5"}))["data"]
    assert {row["ordId"] for row in rows} == {forced["id"]}
    await operate("deposit", account="paper", ccy="USD", quantity="50000")
    await client.create_order(SWAP, "market", "sell", 10)
    await operate("liquidate", account="paper", inst_id=ID)
    assert await client.fetch_positions([SWAP]) == []


async def test_position_mode_margin_mode_and_leverage(client: Any) -> None:
    """Ccxt's own methods for each, and what they read back."""
    await client.load_markets()
    await client.set_leverage(7, SWAP, {"mgnMode": "isolated", "posSide": "net"})
    leverage = await client.fetch_leverage(SWAP, {"marginMode": "isolated"})
    assert leverage["longLeverage"] == 7
    await client.create_order(SWAP, "market", "buy", 10, None, {"tdMode": "isolated"})
    (position,) = await client.fetch_positions([SWAP])
    assert (position["marginMode"], position["leverage"]) == ("isolated", 7)
    assert position["collateral"] == pytest.approx(position["notional"] / 7, rel=0.01)
    with pytest.raises(ccxt.ExchangeError, match="59000"):
        await client.set_position_mode(True)
    await client.create_order(SWAP, "market", "sell", 10, None, {"tdMode": "isolated", "reduceOnly": True})
    await client.set_position_mode(True)
    assert (await client.fetch_position_mode())["hedged"] is True
    await client.create_order(SWAP, "market", "buy", 10, None, {"hedged": True})
    await client.create_order(SWAP, "market", "sell", 5, None, {"hedged": True})
    assert {(each["side"], each["contracts"]) for each in await client.fetch_positions([SWAP])} == {
        ("long", 10),
        ("short", 5),
    }
    await client.create_order(SWAP, "market", "sell", 10, None, {"hedged": True, "reduceOnly": True})
    assert [each["side"] for each in await client.fetch_positions([SWAP])] == ["short"]


async def test_transfers_through_ccxt(client: Any, operate: Any) -> None:
    """Out of the trading account and back: bills of type 1, which is how a desk learns of them."""
    await client.load_markets()
    made = await client.transfer("USD", 500, "trading", "funding")
    assert (await client.fetch_transfer(made["id"], "USD"))["amount"] == 500
    assert (await client.fetch_balance({"type": "funding"}))["USD"]["total"] == 500
    await operate("deposit", account="paper", ccy="USD", quantity="70", to="funding")
    await client.transfer("USD", 570, "funding", "trading")
    rows = (await client.private_get_account_bills({"type": "1"}))["data"]
    assert [(row["balChg"], row["subType"], row["from"], row["to"]) for row in rows[:2]] == [
        ("570", "11", "6", "18"),
        ("-500", "12", "18", "6"),
    ]
    assert {row["amount"] for row in await client.fetch_transfers("USD")} == {100_000, 500, 570}
    with pytest.raises(ccxt.InsufficientFunds):
        await client.transfer("USD", 1_000_000, "trading", "funding")


async def test_fees_in_a_third_coin(client: Any, operate: Any) -> None:
    """As at venues that take their own coin."""
    await client.load_markets()
    await operate("deposit", account="paper", ccy="BNB", quantity="1")
    await operate("fees", account="paper", fee_ccy="BNB")
    order = await client.create_order(SPOT, "market", "buy", 0.1)
    trades = await client.fetch_my_trades(SPOT, params={"ordId": order["id"]})
    assert {trade["fee"]["currency"] for trade in trades} == {"BNB"}
    assert (await client.fetch_order(order["id"], SPOT))["fee"]["currency"] == "BNB"
    assert "'GOLD'" in (await operate("fees", status=400, account="paper", fee_ccy="GOLD"))["error"]


async def test_a_trade_by_another_hand(client: Any, operate: Any) -> None:
    """The same account, not the same client: its orders carry no client id of the desk's."""
    await client.load_markets()
    order = {"instId": ID, "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "10"}
    assert (await operate("trade", account="paper", order=order))["sCode"] == "0"
    (position,) = await client.fetch_positions([SWAP])
    assert position["contracts"] == 10
    assert (await operate("trade", account="paper", order={**order, "sz": "0"}))["sCode"] == "51000"
    await operate("trade", status=400, account="nobody", order=order)


async def test_a_suspended_and_a_delisted_instrument(client: Any, operate: Any, clock: ManualClock) -> None:
    """Suspended: not active, orders refused. Delisted: announced by expTime, then gone, its position settled."""
    await client.load_markets()
    await client.create_order(SWAP, "market", "buy", 10)
    await operate("listing", inst_id=ID, state="suspend")
    assert (await client.load_markets(reload=True))[SWAP]["active"] is False
    with pytest.raises(ccxt.ExchangeError, match="51022"):
        await client.create_order(SWAP, "market", "buy", 10)
    answer = await operate("listing", inst_id=ID, state="live", off_in=60)
    rows = (await client.public_get_public_instruments({"instType": "SWAP", "instId": ID}))["data"]
    assert rows[0]["expTime"] == str(answer["exp_time"])
    clock.advance(61)
    assert await client.fetch_positions([SWAP]) == []
    assert SWAP not in await client.load_markets(reload=True)
    # The venue settles at its next tick; what is gone is not listed any more before that.
    async with asyncio.timeout(20):
        while not (rows := (await client.private_get_account_bills({"type": "3"}))["data"]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert [row["subType"] for row in rows] == ["112"]
    await operate("listing", status=400, inst_id="GOLD-USD", state="suspend")


async def test_maintenance_is_announced_and_then_answered_with(client: Any, operate: Any, clock: ManualClock) -> None:
    """fetch_status tells of it; private calls are OnMaintenance, public ones go on, and afterwards all is well."""
    await client.load_markets()
    await operate("maintenance", begin_in=30, seconds=60, title="Trading upgrade")
    status = await client.fetch_status()
    assert (status["status"], status["info"]["data"][0]["state"]) == ("ok", "scheduled")
    clock.advance(31)
    assert (await client.fetch_status())["status"] == "maintenance"
    with pytest.raises(ccxt.OnMaintenance):
        await client.create_order(SWAP, "market", "buy", 1)
    with pytest.raises(ccxt.OnMaintenance):
        await client.fetch_balance()
    with pytest.raises(ccxt.OnMaintenance):
        await client.create_order_ws(SWAP, "market", "buy", 1)
    assert (await client.fetch_ticker(SWAP))["last"] > 0
    clock.advance(61)
    assert (await client.fetch_status())["status"] == "ok"
    await client.create_order(SWAP, "market", "buy", 1)
    await operate("maintenance", seconds=60)
    assert await operate("maintenance", method="DELETE") == {"ended": 1}
    await client.fetch_balance()


async def test_bills_of_trades_have_the_shape_of_real_ones(client: Any, paper: PaperServer) -> None:
    """One row for each currency a fill moves, with its order, price, fee and profit in it; nothing else moves cash."""
    await client.load_markets()
    await client.create_order(SPOT, "market", "buy", 0.1)
    await client.create_order(SWAP, "market", "buy", 10)
    await client.create_order(SWAP, "market", "sell", 10)
    rows = (await client.private_get_account_bills({"type": "2"}))["data"]
    swaps = [row for row in rows if row["instType"] == "SWAP"]
    for row in swaps:
        assert float(row["balChg"]) == pytest.approx(float(row["pnl"]) + float(row["fee"]))
        assert row["ordId"]
    fills = (await client.private_get_trade_fills({"instType": "SWAP"}))["data"]
    assert {row["billId"] for row in swaps} == {row["billId"] for row in fills}
    spot = {(row["ccy"], row["subType"]) for row in rows if row["instType"] == "SPOT"}
    assert spot == {("BTC", "1"), ("USD", "2")}


async def test_the_operators_endpoints_answer_this_machine_only(admin: Any) -> None:
    """A web page must not be able to liquidate anybody."""
    headers = {"Origin": "http://example.com"}
    for path in ("funding", "fees", "listing", "maintenance", "liquidate", "trade"):
        url = f"{admin.url}/admin/{path}"
        async with aiohttp.ClientSession() as session, session.post(url, json={}, headers=headers) as response:
            assert response.status == 403
