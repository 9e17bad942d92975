"""Stops through unmodified ccxt: what its unified methods and its streams really send and understand."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ccxt
import ccxt.pro
import pytest

from kontor.paper.server import PaperServer

SWAP, SPOT, ID = "BTC/USD:USD", "BTC/USD", "BTC-USD-SWAP"
PATIENCE = 10.0


def last_of(paper: PaperServer, inst_id: str = ID) -> float:
    return float(paper.venue.ticker(inst_id).last)


async def stop(client: Any, paper: PaperServer, away: float = -500, **params: Any) -> dict[str, Any]:
    """A reduce-only stop loss `away` from the last price."""
    given = {"stopLossPrice": last_of(paper) + away, "reduceOnly": True, **params}
    return await client.create_order(SWAP, "market", "sell", 10, None, given)


async def test_a_stop_loss_is_placed_found_and_fires(client: Any, paper: PaperServer, admin: Any) -> None:
    """The whole life of a protective stop: by our own id throughout, and the order it placed leads back to it."""
    await client.load_markets()
    await client.create_order(SWAP, "market", "buy", 10)
    name = uuid.uuid4().hex
    made = await stop(client, paper, clientOrderId=name)
    assert made["id"]
    assert made["clientOrderId"] == name
    for found in (
        await client.fetch_order(made["id"], SWAP, {"trigger": True}),
        await client.fetch_order("", SWAP, {"trigger": True, "clientOrderId": name}),
        (await client.fetch_open_orders(SWAP, params={"trigger": True, "ordType": "conditional"}))[0],
    ):
        assert (found["id"], found["clientOrderId"], found["status"]) == (made["id"], name, "open")
        assert found["stopLossPrice"] == pytest.approx(last_of(paper) - 500)
        assert (found["type"], found["side"], found["amount"], found["reduceOnly"]) == ("conditional", "sell", 10, True)
    assert await client.fetch_open_orders(SWAP) == []
    await admin.price(ID, str(last_of(paper) - 600))
    assert await client.fetch_positions([SWAP]) == []
    fired = await client.fetch_order(made["id"], SWAP, {"trigger": True})
    assert fired["status"] == "closed"
    (done,) = await client.fetch_closed_orders(SWAP, params={"trigger": True, "ordType": "conditional"})
    assert done["id"] == made["id"]
    placed = await client.fetch_order(fired["info"]["ordId"], SWAP)
    assert placed["info"]["algoId"] == placed["id"] == made["id"]  # ccxt names such an order by its algo order
    assert (placed["filled"], placed["info"]["source"]) == (10, "7")
    trades = await client.fetch_my_trades(SWAP, params={"ordId": fired["info"]["ordId"]})
    assert sum(trade["amount"] for trade in trades) == 10


async def test_stops_are_canceled_one_by_one_and_together(client: Any, paper: PaperServer) -> None:
    """cancel_order and cancel_orders, by the venue's id and by ours; what is gone is OrderNotFound."""
    await client.load_markets()
    await client.create_order(SWAP, "market", "buy", 10)
    names = [uuid.uuid4().hex for _ in range(2)]
    first, second = await stop(client, paper), await stop(client, paper)
    for name in names:
        await stop(client, paper, clientOrderId=name)
    gone = await client.cancel_order(first["id"], SWAP, {"trigger": True})
    assert gone["id"] == first["id"]
    with pytest.raises(ccxt.OrderNotFound):
        await client.cancel_order(first["id"], SWAP, {"trigger": True})
    await client.cancel_orders([second["id"]], SWAP, {"trigger": True})
    await client.cancel_orders([], SWAP, {"trigger": True, "clientOrderId": names})
    assert await client.fetch_open_orders(SWAP, params={"trigger": True, "ordType": "conditional"}) == []
    canceled = await client.fetch_canceled_orders(SWAP, params={"trigger": True, "ordType": "conditional"})
    assert {order["status"] for order in canceled} == {"canceled"}
    assert len(canceled) == 4


async def test_a_stop_is_moved_and_resized(client: Any, paper: PaperServer) -> None:
    """edit_order as ccxt words it for algo orders."""
    await client.load_markets()
    await client.create_order(SWAP, "market", "buy", 10)
    made, last = await stop(client, paper), last_of(paper)
    await client.edit_order(made["id"], SWAP, "conditional", "sell", 4)
    change = {"stopLossPrice": last - 100, "newSlOrdPx": -1}
    await client.edit_order(made["id"], SWAP, "conditional", "sell", None, None, change)
    moved = await client.fetch_order(made["id"], SWAP, {"trigger": True})
    assert (moved["amount"], moved["stopLossPrice"]) == (4, pytest.approx(last - 100))
    above = {"stopLossPrice": last + 100, "newSlOrdPx": -1}
    with pytest.raises(ccxt.InvalidOrder, match="51280"):
        await client.edit_order(made["id"], SWAP, "conditional", "sell", None, None, above)


async def test_the_other_kinds(client: Any, paper: PaperServer, admin: Any) -> None:
    """oco, trigger, trailing, and the stops of spot, each by its unified parameters."""
    await client.load_markets()
    await client.create_order(SWAP, "market", "buy", 30)
    last = last_of(paper)
    both = {"stopLossPrice": last - 500, "takeProfitPrice": last + 500, "reduceOnly": True}
    oco = await client.create_order(SWAP, "market", "sell", 10, None, both)
    trigger = await client.create_order(SWAP, "limit", "sell", 10, last + 5, {"triggerPrice": last + 5})
    trailing = await client.create_order(SWAP, "market", "sell", 10, None, {"trailingPercent": "5", "reduceOnly": True})
    (found,) = await client.fetch_open_orders(SWAP, params={"trigger": True, "ordType": "oco"})
    assert (found["id"], found["takeProfitPrice"]) == (oco["id"], pytest.approx(last + 500))
    (found,) = await client.fetch_open_orders(SWAP, params={"trigger": True})
    assert (found["id"], found["triggerPrice"], found["price"]) == (trigger["id"], last + 5, last + 5)
    (found,) = await client.fetch_open_orders(SWAP, params={"trailing": True})
    assert (found["id"], found["triggerPrice"]) == (trailing["id"], pytest.approx(last * 0.95, rel=1e-4))
    await admin.price(ID, str(round(last + 600, 1)))
    closed = await client.fetch_closed_orders(SWAP, params={"trigger": True, "ordType": "oco"})
    assert closed[0]["info"]["actualSide"] == "tp"
    await client.cancel_order(trailing["id"], SWAP, {"trailing": True})
    await client.create_order(SPOT, "market", "buy", 0.1)
    under = last_of(paper, "BTC-USD") - 500
    spot = await client.create_order(SPOT, "market", "sell", 0.1, None, {"stopLossPrice": under})
    assert (await client.fetch_order(spot["id"], SPOT, {"trigger": True}))["status"] == "open"


async def test_an_entry_brings_its_stop_along_alone_and_in_a_batch(client: Any, paper: PaperServer) -> None:
    """StopLoss in params becomes attachAlgoOrds, on create_order and on create_orders."""
    await client.load_markets()
    last = last_of(paper)
    exits = {"stopLoss": {"triggerPrice": last - 500}, "takeProfit": {"triggerPrice": last + 500}}
    made = await client.create_order(SWAP, "market", "buy", 10, None, exits)
    order = await client.fetch_order(made["id"], SWAP)
    assert (order["stopLossPrice"], order["takeProfitPrice"]) == (pytest.approx(last - 500), pytest.approx(last + 500))
    (guard,) = await client.fetch_open_orders(SWAP, params={"trigger": True, "ordType": "oco"})
    assert (guard["amount"], guard["side"], guard["reduceOnly"]) == (10, "sell", True)
    entry = {"symbol": SWAP, "type": "market", "side": "buy", "amount": 5, "params": {"stopLoss": exits["stopLoss"]}}
    await client.create_orders([entry, entry])
    guards = await client.fetch_open_orders(SWAP, params={"trigger": True, "ordType": "conditional"})
    assert [guard["amount"] for guard in guards] == [5, 5]


async def test_refusals_arrive_as_ccxt_errors(client: Any, paper: PaperServer) -> None:
    """Which exceptions the desk's error table will see for stops."""
    await client.load_markets()
    await client.create_order(SWAP, "market", "buy", 10)
    with pytest.raises(ccxt.InvalidOrder, match="51280"):
        await stop(client, paper, away=500)
    params = {"triggerPrice": last_of(paper) - 500, "reduceOnly": True}
    with pytest.raises(ccxt.InvalidOrder, match="51205"):
        await client.create_order(SWAP, "market", "sell", 10, None, params)
    with pytest.raises(ccxt.OrderNotFound):
        await client.fetch_order("1", SWAP, {"trigger": True})
    name = uuid.uuid4().hex
    await stop(client, paper, clientOrderId=name)
    with pytest.raises(ccxt.ExchangeError, match="51068"):
        await stop(client, paper, clientOrderId=name)


async def test_the_stream_tells_of_stops(client: Any, paper: PaperServer, admin: Any) -> None:
    """watch_orders with trigger listens on the business address."""
    await client.load_markets()
    await client.create_order(SWAP, "market", "buy", 10)
    watching = asyncio.create_task(client.watch_orders(SWAP, params={"trigger": True}))
    async with asyncio.timeout(PATIENCE):
        while ("orders-algo", "paper") not in paper._hub._topics:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.002)
    made = await stop(client, paper)
    (seen,) = await asyncio.wait_for(watching, PATIENCE)
    assert (seen["id"], seen["status"], seen["stopLossPrice"]) == (
        made["id"],
        "open",
        pytest.approx(last_of(paper) - 500),
    )
    firing = asyncio.ensure_future(client.watch_orders(SWAP, params={"trigger": True}))
    await admin.price(ID, str(last_of(paper) - 600))
    assert (await asyncio.wait_for(firing, PATIENCE))[-1]["status"] == "closed"


@pytest.mark.parametrize(("kind", "placed"), [("drop_before", False), ("drop_after", True), ("html_200", True)])
async def test_faults_befall_stops_like_orders(
    client: Any, admin: Any, paper: PaperServer, kind: str, *, placed: bool
) -> None:
    """An unanswered stop may stand or not; its client id tells, and a second try of one that stands is refused."""
    await client.load_markets()
    await client.create_order(SWAP, "market", "buy", 10)
    await admin.fault(path="/api/v5/trade/order-algo", method="POST", kind=kind)
    name = uuid.uuid4().hex
    try:
        answer = await stop(client, paper, clientOrderId=name)
    except (ccxt.NetworkError, ccxt.ExchangeError, AttributeError):
        answer = {"id": None}
    assert answer["id"] is None
    await admin.clear()
    found = await client.fetch_open_orders(SWAP, params={"trigger": True, "ordType": "conditional"})
    assert [order["clientOrderId"] for order in found] == [name] * placed
    assert (await admin.stats())["accepted_algos_by_client_id"] == ({name: 1} if placed else {})


async def test_stops_survive_the_exchange(open_paper: Any, connect: Callable[..., Any], tmp_path: Path) -> None:
    """Acknowledged over the wire, there after a restart."""
    path = tmp_path / "paper.sqlite3"
    paper = await open_paper(path=path)
    client = connect(to=paper)
    await client.load_markets()
    await client.create_order(SWAP, "market", "buy", 10)
    made = await stop(client, paper)
    paper.venue._engine._journal.close()
    paper.venue._engine._journal = None
    await paper.stop()
    again = await open_paper(path=path)
    found = await connect(to=again).fetch_open_orders(SWAP, params={"trigger": True, "ordType": "conditional"})
    assert [order["id"] for order in found] == [made["id"]]


async def test_stops_have_limits_of_their_own(open_paper: Any, connect: Callable[..., Any]) -> None:
    """Twenty in two seconds, apart from the limit of orders."""
    paper = await open_paper(rate_limit_factor=1)
    client = connect(to=paper)
    await client.load_markets()
    await client.create_order(SWAP, "market", "buy", 10)
    for _ in range(20):
        await stop(client, paper)
    with pytest.raises(ccxt.RateLimitExceeded):
        await stop(client, paper)
    await client.create_order(SWAP, "market", "buy", 10)
