"""stream-account on a paper exchange: fills within milliseconds, and what happens in a gap is found by REST."""

import asyncio
import itertools
import json
import time
from dataclasses import replace
from decimal import Decimal

import aiohttp
import pytest

from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.errors import AuthenticationFailed
from kontor.exchange import account_streams, deaf_sockets
from kontor.exchange.opening import open_exchange, open_streams
from kontor.execution.verdicts import submitted
from kontor.paper.faults import FaultKind
from kontor.ports import ExchangeSettings
from kontor.streams.account import AccountStreamer
from kontor.streams.keeper import Stream, StreamKeeper
from tests.support.streaming import ACCOUNT, StreamingDesk, settings_of

CHANNELS = ("orders", "fills", "positions", "balance")
BTC = "BTC/USD:USD"


async def send(desk: StreamingDesk, number: int, price: Decimal | None = None, quantity: str = "0.01") -> Order:
    """An order as the executor leaves it: SUBMITTED in the store, sent, its answer not recorded."""
    now = desk.clock.now()
    order = Order(
        client_order_id=f"kt{number:06d}",
        account=ACCOUNT,
        symbol=BTC,
        side=Side.BUY,
        order_type=OrderType.MARKET if price is None else OrderType.LIMIT,
        quantity=Decimal(quantity),
        price=price,
        created_at=now,
    )
    await desk.store.orders.enqueue([order], "test")
    sent = submitted(order, now)
    await desk.store.orders.record([(order, sent)], actor="test", at=now)
    await desk.exchange.create_order(sent)
    return sent


async def stored(desk: StreamingDesk, order: Order) -> Order:
    found = await desk.store.orders.get(order.client_order_id)
    assert found is not None
    return found


def is_in(desk: StreamingDesk, order: Order, state: OrderState):  # noqa: ANN201
    async def check() -> bool:
        return (await stored(desk, order)).state is state

    return check


async def far_below(desk: StreamingDesk) -> Decimal:
    ticker = (await desk.exchange.fetch_tickers([BTC]))[BTC]
    assert ticker.last is not None
    return (ticker.last * Decimal("0.9")).quantize(Decimal("0.1"))


async def test_more_reports_at_once_than_are_kept_count_as_a_gap(
    desk: StreamingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ccxt forgets the oldest silently; nobody may believe then that every order was told of."""
    monkeypatch.setattr(account_streams, "KEPT_REPORTS", 4)
    streams = desk.streams
    price = await far_below(desk)
    # An order that is placed before the subscription stands is not told of.
    first = itertools.count(100)
    while not await streams.orders(seconds=0.1):
        await send(desk, next(first), price)
    before = streams.breaks
    for number in range(11):
        await send(desk, number, price)

    async def newest_has_arrived() -> bool:
        cache = streams._client.orders  # pyright: ignore[reportAttributeAccessIssue]
        return any(entry["clientOrderId"] == "kt000010" for entry in cache)

    await desk.until(newest_has_arrived)
    assert len(await streams.orders(seconds=5)) == 4
    assert streams.breaks == before + 1


async def test_fills_update_orders_within_milliseconds(desk: StreamingDesk) -> None:
    """The point of a stream: REST tracking looks every 30 s."""
    async with desk.streaming(AccountStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        lags = []
        for number in range(20):
            order = await send(desk, number)
            lags.append(await desk.until(is_in(desk, order, OrderState.FILLED)))
        assert sorted(lags)[10] < 0.1

        async def all_booked() -> bool:
            fills = await desk.store.orders.fills(ACCOUNT)
            return len(fills) == 20 and not await desk.store.orders.short_of_fills(ACCOUNT)

        await desk.until(all_booked)

        async def position_is_known() -> bool:
            positions = await desk.store.account.positions(ACCOUNT)
            return positions is not None and [each.quantity for each in positions.value] == [Decimal("0.2")]

        await desk.until(position_is_known)
    events = await desk.store.orders.events("kt000000")
    assert [event.new_state for event in events][-1] is OrderState.FILLED


async def test_open_orders_follow_the_stream(desk: StreamingDesk) -> None:
    """The snapshot that tracking and the gate read is as new as the venue."""

    async def open_ids() -> list[str | None]:
        snapshot = await desk.store.account.open_orders(ACCOUNT)
        return [report.client_order_id for report in snapshot.value] if snapshot else []

    async with desk.streaming(AccountStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        order = await send(desk, 1, await far_below(desk))

        async def rests() -> bool:
            return await open_ids() == [order.client_order_id]

        await desk.until(rests)
        await desk.exchange.cancel_order(BTC, client_order_id=order.client_order_id)
        await desk.until(is_in(desk, order, OrderState.CANCELED))

        async def gone() -> bool:
            return await open_ids() == []

        await desk.until(gone)


@pytest.mark.parametrize("kind", [FaultKind.WS_DROP, FaultKind.WS_CLOSE])
async def test_what_happened_in_a_gap_is_found_after_the_reconnect(desk: StreamingDesk, kind: FaultKind) -> None:
    """The venue never tells what it said to a socket that was gone; no fill may be missed for that."""
    async with desk.streaming(AccountStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        resting = await send(desk, 1, await far_below(desk))
        await desk.until(is_in(desk, resting, OrderState.ACCEPTED))
        desk.befall(FaultKind.HTTP_503, "/ws/v5/private", probability=1.0)
        desk.befall(kind, "/ws/v5/private", times=1)

        async def is_away() -> bool:
            return not await desk.is_fresh("orders")

        await desk.until(is_away)
        instrument = "BTC-USD-SWAP"
        assert resting.price is not None
        desk.paper.venue.set_price(instrument, resting.price - 1)
        desk.paper.venue.advance()
        assert (await stored(desk, resting)).state is OrderState.ACCEPTED
        desk.recover()
        took = await desk.until(lambda: desk.is_fresh(*CHANNELS))
        assert took < 5
        found = await stored(desk, resting)
        assert found.state is OrderState.FILLED
        assert sum(fill.quantity for fill in await desk.store.orders.fills(ACCOUNT)) == found.quantity


async def test_a_refused_key_ends_the_stream_with_the_venues_words(desk: StreamingDesk) -> None:
    """Trying again does not make a key valid; a person must know."""
    await desk.streams.connection.load_markets()
    wrong = settings_of(desk.paper, secret="not-the-secret")
    desk.streams._client.secret = wrong.secret
    with pytest.raises(AuthenticationFailed):
        await AccountStreamer(desk.parts).run()
    assert desk.connections() == 1


async def test_a_fill_told_twice_counts_once(desk: StreamingDesk) -> None:
    """Stream and REST tell the same fills; books must not double."""
    async with desk.streaming(AccountStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        order = await send(desk, 1)
        await desk.until(is_in(desk, order, OrderState.FILLED))
        fills = await desk.exchange.fetch_fills(BTC)
        await desk.store.orders.save_fills(ACCOUNT, fills)
        began = time.monotonic()
        while time.monotonic() - began < 0.2:
            await desk.exchange.fetch_time()
        assert len(await desk.store.orders.fills(ACCOUNT)) == 1
        assert (await stored(desk, order)).filled_quantity == order.quantity


async def test_a_fill_of_somebody_elses_order_waits_for_the_adopted_order(desk: StreamingDesk) -> None:
    """A person's order has an id of its own at the venue; under that name the fill would belong to none of ours."""
    async with desk.streaming(AccountStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        by_hand = Order(
            client_order_id="myhand1",
            account=ACCOUNT,
            symbol=BTC,
            side=Side.BUY,
            order_type=OrderType.MARKET,
            quantity=Decimal("0.01"),
            created_at=desk.clock.now(),
        )
        await desk.exchange.create_order(by_hand)

        async def told() -> bool:
            return len(await desk.store.orders.fills(ACCOUNT)) == 1

        await desk.until(told)
        [fill] = await desk.store.orders.fills(ACCOUNT)
        assert fill.client_order_id is None


async def test_a_rotated_key_is_streamed_with_from_then_on(desk: StreamingDesk) -> None:
    """Both keys are good; what happens to the new one's account must be heard, and the old socket be gone."""
    new = desk.paper.settings.accounts[1]
    secrets = {"secret": new.secret.get_secret_value(), "password": new.passphrase.get_secret_value()}
    keys = [settings_of(desk.paper), settings_of(desk.paper, api_key=new.api_key, **secrets)]
    in_use, exchange = keys[0], open_exchange(keys[1], clock=desk.clock)

    async def settings() -> ExchangeSettings:
        return in_use

    async def run(which: ExchangeSettings) -> None:
        streams = open_streams(which, clock=desk.clock, gate=desk.gate, loaded=desk.exchange)
        try:
            await AccountStreamer(replace(desk.parts, streams=streams)).run()
        finally:
            await streams.close()

    async def refused(error: AuthenticationFailed) -> None:
        raise error

    what = Stream(ACCOUNT, AccountStreamer.name, CHANNELS, needs_key=True)
    keeper = StreamKeeper(what, desk.store.desk, desk.clock, settings=settings, run=run, refused=refused)
    keeping = asyncio.create_task(keeper.keep())
    try:
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        order = await send(desk, 1)
        await desk.until(is_in(desk, order, OrderState.FILLED))
        desk.exchange = exchange
        in_use = keys[1]

        async def is_swapped() -> bool:
            return desk.connections() == 2

        await desk.until(is_swapped)
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        order = await send(desk, 2)
        await desk.until(is_in(desk, order, OrderState.FILLED))
        assert desk.connections() == 2
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await exchange.close()


@pytest.mark.parametrize(
    "code", [pytest.param("60014", id="too many requests"), pytest.param("63999", id="internal error")]
)
async def test_an_error_that_is_told_on_a_socket_leaves_no_channel_deaf(
    desk: StreamingDesk, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Ccxt takes it for the end of the login, and waits for a new one that nobody sends while the socket lives.

    Pings go on, so the socket does not count as silent: fills would come by REST only until somebody looks.
    """
    monkeypatch.setattr(deaf_sockets, "DEAF_SECONDS", 1.0)

    async def is_stale() -> bool:
        return not await desk.is_fresh(*CHANNELS)

    async with desk.streaming(AccountStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        [socket] = desk.streams._client.clients.values()
        text = json.dumps({"event": "error", "code": code, "msg": "try again later", "connId": "a4d3ae55"})
        socket.handle_message(aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, text, None))
        await desk.until(is_stale, seconds=5)
        await desk.until(lambda: desk.is_fresh(*CHANNELS), seconds=15)
        order = await send(desk, 1)
        assert await desk.until(is_in(desk, order, OrderState.FILLED)) < 1
