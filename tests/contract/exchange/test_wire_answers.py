"""Answers on a real wire: what a venue says is understood, believed where it may be, and obeyed."""

import asyncio
import json
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from kontor.domain.order import OrderReport, OrderState
from kontor.errors import (
    AlreadyPlaced,
    AuthenticationFailed,
    ClockSkewed,
    ConfigError,
    ExchangeError,
    InsufficientFunds,
    NotPlaced,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
)
from kontor.exchange.guarded import GuardedExchange

from .conftest import Maker, Opener
from .fake_venue import BATCH, CANCEL, HTML, LOOKUP, FakeVenue, Handler, body, fine, refusal

SOON = {"Retry-After": "0.02"}


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (refusal("51008"), InsufficientFunds),
        (refusal("51000"), Rejected),
        (refusal("51016"), AlreadyPlaced),
        (refusal("50036"), NotPlaced),
        (refusal("50061", headers=SOON), RateLimited),
        (body('{"code":"50011","msg":"Too Many Requests","data":[]}', status=429, headers=SOON), RateLimited),
        (body(HTML, kind="text/html", status=429, headers=SOON), RateLimited),
        (body('{"code":"50113","msg":"Invalid Sign","data":[]}', status=401), AuthenticationFailed),
        (body('{"code":"50102","msg":"Timestamp request expired","data":[]}', status=401), ClockSkewed),
    ],
)
async def test_what_the_venue_says_of_an_order_is_understood_alone_and_in_a_batch(
    exchange: GuardedExchange, venue: FakeVenue, make_order: Maker, answer: Handler, meaning: type[ExchangeError]
) -> None:
    """A plain answer has one meaning, whichever way the order was sent."""
    venue.answers[BATCH] = answer
    with pytest.raises(ExchangeError) as caught:
        await exchange.create_order(make_order())
    assert type(caught.value) is meaning
    [result] = await exchange.create_orders([make_order()])
    assert type(result) is meaning


async def test_each_order_of_a_failed_batch_has_its_own_error(
    exchange: GuardedExchange, venue: FakeVenue, make_order: Maker
) -> None:
    """Okx refuses the whole and tells each order's reason inside."""

    async def answer(request: web.Request) -> web.StreamResponse:
        codes = iter(("51008", "51016", "59999"))
        items = [
            {"clOrdId": order["clOrdId"], "ordId": "", "sCode": next(codes), "sMsg": "x"}
            for order in await request.json()
        ]
        return web.json_response({"code": "1", "data": items, "msg": "All operations failed"})

    venue.answers[BATCH] = answer
    results = await exchange.create_orders([make_order(), make_order(), make_order()])
    assert [type(result) for result in results] == [InsufficientFunds, AlreadyPlaced, OutcomeUnknown]


async def test_a_batch_answered_in_another_order_is_put_right_by_our_ids(
    exchange: GuardedExchange, venue: FakeVenue, make_order: Maker
) -> None:
    """And an order the answer leaves out is of unknown fate."""

    async def answer(request: web.Request) -> web.StreamResponse:
        sent = await request.json()
        items = [
            {"clOrdId": order["clOrdId"], "ordId": f"v-{order['clOrdId']}", "sCode": "0", "sMsg": ""}
            for order in reversed(sent[1:])
        ]
        items[0] |= {"sCode": "51008", "sMsg": "no funds", "ordId": ""}
        return web.json_response({"code": "2", "data": items, "msg": ""})

    venue.answers[BATCH] = answer
    orders = [make_order() for _ in range(3)]
    first, second, third = await exchange.create_orders(orders)
    assert type(first) is OutcomeUnknown
    assert isinstance(second, OrderReport)
    assert second.venue_order_id == f"v-{orders[1].client_order_id}"
    assert type(third) is InsufficientFunds


async def test_forty_five_orders_go_out_in_three_requests(
    exchange: GuardedExchange, venue: FakeVenue, make_order: Maker
) -> None:
    """Twenty is okx's limit for one; an order refused here does not hold up the others."""

    async def answer(request: web.Request) -> web.StreamResponse:
        items = [
            {"clOrdId": order["clOrdId"], "ordId": "1", "sCode": "0", "sMsg": ""} for order in await request.json()
        ]
        return web.json_response({"code": "0", "data": items, "msg": ""})

    venue.answers[BATCH] = answer
    orders: list[Any] = [make_order() for _ in range(45)]
    orders.insert(7, make_order(quantity=orders[0].quantity / 10**9))
    results = await exchange.create_orders(orders)
    assert [at for at, result in enumerate(results) if isinstance(result, ExchangeError)] == [7]
    assert sorted(len(json.loads(text)) for _, path, text in venue.requests if path.endswith(BATCH)) == [5, 20, 20]


async def test_an_order_says_when_it_stops_being_wanted(
    exchange: GuardedExchange, venue: FakeVenue, make_order: Maker
) -> None:
    """A process stopped between its check and its send must not order late: okx drops it by this header."""
    venue.answers[BATCH] = fine({"clOrdId": "k1", "ordId": "1", "sCode": "0", "sMsg": ""})
    until = datetime.now(UTC) + timedelta(seconds=2)
    await exchange.create_order(make_order(good_until=until))
    assert abs(int(venue.headers[-1]["expTime"]) - until.timestamp() * 1000) < 500
    await exchange.create_order(make_order())
    assert int(venue.headers[-1]["expTime"]) <= (datetime.now(UTC).timestamp() + 5) * 1000 + 500
    await exchange.fetch_balance()
    assert "expTime" not in venue.headers[-1]


async def test_an_expiry_is_told_in_the_venues_time(open_at: Opener, venue: FakeVenue, make_order: Maker) -> None:
    """A machine half a minute behind its venue would otherwise never place an order."""
    ahead = timedelta(seconds=40)
    venue.answers["public/time"] = fine({"ts": str(int((datetime.now(UTC) + ahead).timestamp() * 1000))})
    venue.answers[BATCH] = fine({"clOrdId": "k1", "ordId": "1", "sCode": "0", "sMsg": ""})
    exchange = open_at(venue.url)
    await exchange.load_markets()
    await exchange.create_order(make_order())
    left = int(venue.headers[-1]["expTime"]) / 1000 - (datetime.now(UTC) + ahead).timestamp()
    assert 0 < left < 5.5


async def test_after_an_order_that_came_too_late_the_clock_is_measured_again(
    exchange: GuardedExchange, venue: FakeVenue, make_order: Maker
) -> None:
    """The refusal tells that ours is behind; the next order goes out with the venue's time."""
    ahead = datetime.now(UTC) + timedelta(seconds=40)
    venue.answers |= {BATCH: refusal("50036"), "public/time": fine({"ts": str(int(ahead.timestamp() * 1000))})}
    with pytest.raises(NotPlaced):
        await exchange.create_order(make_order())
    venue.answers[BATCH] = fine({"clOrdId": "k1", "ordId": "1", "sCode": "0", "sMsg": ""})
    await exchange.create_order(make_order())
    assert int(venue.headers[-1]["expTime"]) / 1000 > ahead.timestamp()


async def test_a_venues_word_on_an_order_it_does_not_know_is_believed(
    exchange: GuardedExchange, venue: FakeVenue
) -> None:
    """That is the proof of absence."""
    venue.answers[LOOKUP] = body('{"code":"51603","msg":"Order does not exist","data":[]}')
    with pytest.raises(OrderNotFound, match="51603 Order does not exist"):
        await exchange.fetch_order("BTC/USD", client_order_id="k1")


async def test_an_answer_about_another_order_is_not_believed(exchange: GuardedExchange, venue: FakeVenue) -> None:
    """A proxy that mixes up answers must not book somebody else's fill."""
    found = {"instType": "SPOT", "instId": "BTC-USD", "ordId": "9", "clOrdId": "other", "side": "buy", "sz": "1"}
    venue.answers[LOOKUP] = fine({**found, "ordType": "limit", "px": "1", "state": "live", "accFillSz": "0"})
    with pytest.raises(ExchangeError, match="another order"):
        await exchange.fetch_order("BTC/USD", client_order_id="k1")
    assert (await exchange.fetch_order("BTC/USD", venue_order_id="9")).state is OrderState.ACCEPTED


@pytest.mark.parametrize(("code", "meaning"), [("51400", OrderNotFound), ("51403", OrderNotFound)])
async def test_a_refused_cancel_is_a_question(
    exchange: GuardedExchange, venue: FakeVenue, code: str, meaning: type[ExchangeError]
) -> None:
    """It may be filled."""
    venue.answers[CANCEL] = refusal(code)
    with pytest.raises(meaning):
        await exchange.cancel_order("BTC/USD", venue_order_id="1")


async def test_a_cancel_already_under_way_is_fine(exchange: GuardedExchange, venue: FakeVenue) -> None:
    """It was asked for, which is all a cancel does."""
    venue.answers[CANCEL] = refusal("51410")
    await exchange.cancel_order("BTC/USD", venue_order_id="1")


async def test_a_rate_limit_stops_everybody_until_the_venue_wants_us_back(
    exchange: GuardedExchange, venue: FakeVenue
) -> None:
    """The Retry-After of one call holds for the account; the read itself comes back by itself."""
    answered = 0

    async def once_too_many(request: web.Request) -> web.StreamResponse:
        nonlocal answered
        answered += 1
        if answered == 1:
            headers = {"Retry-After": "0.3"}
            return web.json_response(
                {"code": "50011", "msg": "Too Many Requests", "data": []}, status=429, headers=headers
            )
        return await fine({"details": [{"ccy": "USD", "eq": "5", "availEq": "5"}], "uTime": "1"})(request)

    arrived = venue.seen["account/balance"]
    venue.answers["account/balance"] = once_too_many
    began = asyncio.get_running_loop().time()
    reading = asyncio.create_task(exchange.fetch_balance())
    await asyncio.wait_for(arrived.wait(), 5)
    await exchange.fetch_positions()
    assert asyncio.get_running_loop().time() - began >= 0.3
    assert (await reading).total == 5


async def test_a_cancel_passes_a_crowd_of_candle_polls(open_at: Opener, venue: FakeVenue, make_order: Maker) -> None:
    """All within the rate; behind ccxt's own throttle the cancel waited for every one of them."""
    exchange = open_at(venue.url, requests_per_second=20.0, request_timeout=timedelta(seconds=30))
    await exchange.load_markets()
    venue.answers |= {CANCEL: fine({"clOrdId": "k1", "ordId": "1", "sCode": "0", "sMsg": ""})}
    first = venue.seen["market/candles"]
    polls = [asyncio.create_task(exchange.fetch_candles("BTC/USD", "1m", limit=10)) for _ in range(60)]
    await asyncio.wait_for(first.wait(), 5)
    await exchange.cancel_order("BTC/USD", client_order_id="k1")
    before = venue.asked("market/candles")
    assert before < 30
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)


async def test_a_clock_that_is_off_is_set_right_for_the_next_call(exchange: GuardedExchange, venue: FakeVenue) -> None:
    """Not placed: resynchronize, then try again; the read does both by itself."""
    answered = 0

    async def skewed(request: web.Request) -> web.StreamResponse:
        nonlocal answered
        answered += 1
        if answered == 1:
            return web.json_response({"code": "50102", "msg": "Timestamp request expired", "data": []}, status=401)
        return await fine({"details": [{"ccy": "USD", "eq": "5", "availEq": "5"}], "uTime": "1"})(request)

    ahead = datetime.now(UTC) + timedelta(hours=1)
    venue.answers |= {"account/balance": skewed, "public/time": fine({"ts": str(int(ahead.timestamp() * 1000))})}
    assert (await exchange.fetch_balance()).total == 5
    stamp = datetime.fromisoformat(venue.headers[-1]["OK-ACCESS-TIMESTAMP"])
    assert abs(stamp - ahead) < timedelta(minutes=1)


async def test_no_secret_appears_in_an_error_or_its_traceback(
    exchange: GuardedExchange, venue: FakeVenue, make_order: Maker
) -> None:
    """A venue may repeat what it was sent."""
    venue.answers[BATCH] = refusal("51000", "bad key key-123 with secret-456 and pass-789")
    with pytest.raises(Rejected) as caught:
        await exchange.create_order(make_order())
    text = "".join(traceback.format_exception(caught.value))
    assert not any(secret in text for secret in ("key-123", "secret-456", "pass-789"))
    assert "bad key *** with *** and ***" in text


async def test_a_capital_currency_nobody_trades_in_is_a_clear_error(open_at: Opener, venue: FakeVenue) -> None:
    """A typo in the block would otherwise show as an empty account."""
    exchange = open_at(venue.url, capital_currency="USDX")
    with pytest.raises(ConfigError, match=r"account paper: okx trades nothing in USDX; .* such as USD"):
        await exchange.load_markets()


async def test_a_balance_is_as_old_as_the_question(exchange: GuardedExchange, venue: FakeVenue) -> None:
    """The gate adds the fills that are newer than it; one that happened while the answer was under way must be."""
    answered_at: list[datetime] = []

    async def slowly(request: web.Request) -> web.StreamResponse:
        answered_at.append(datetime.now(UTC))
        return await fine({"details": [], "uTime": "1"})(request)

    venue.answers["account/balance"] = slowly
    balance = await exchange.fetch_balance()
    assert balance.at < answered_at[0]
