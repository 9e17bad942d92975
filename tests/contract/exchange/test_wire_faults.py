"""Faults on a real wire: whatever a socket can do to an order, the error tells whether it may be sent again."""

import asyncio
import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest
from aiohttp import web

from kontor.errors import ExchangeError, NotSent, OutcomeUnknown
from kontor.exchange.guarded import GuardedExchange

from .conftest import Maker, Opener
from .fake_venue import BATCH, CANCEL, HTML, LOOKUP, FakeVenue, Handler, body, fine, refusal


async def drop(request: web.Request) -> web.StreamResponse:
    """The connection goes away without a word."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def half(request: web.Request) -> web.StreamResponse:
    """Fewer bytes than were promised."""
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"code":"0","data":[{"ordId":"1"')
    assert request.transport is not None
    request.transport.close()
    return response


UNKNOWN: dict[str, Handler] = {
    "html with 200": body(HTML, kind="text/html"),
    "html with 503": body(HTML, kind="text/html", status=503),
    "html with 404": body(HTML, kind="text/html", status=404),
    "html with 403": body(HTML, kind="text/html", status=403),
    "empty body": body(""),
    "truncated json": body('{"code":"0","data":[{"clOrdId":"k1","ordId":"12'),
    "null": body("null"),
    "list": body("[]"),
    "object without data": body('{"code":"0"}'),
    "empty data": fine(),
    "receipt without an id": fine({"clOrdId": "k1", "ordId": "", "sCode": "0", "sMsg": ""}),
    "unknown code": refusal("59999"),
    "server error": body('{"code":"50026","msg":"System error","data":[]}', status=500),
    "dropped": drop,
    "half an answer": half,
}


@pytest.mark.parametrize("fault", UNKNOWN)
async def test_a_create_whose_answer_is_lost_or_unreadable_is_of_unknown_fate(
    exchange: GuardedExchange, venue: FakeVenue, make_order: Maker, fault: str
) -> None:
    """The venue has seen the order each time; "rejected" or "send again" would both be wrong. It is sent once."""
    venue.answers[BATCH] = UNKNOWN[fault]
    with pytest.raises(OutcomeUnknown, match="look it up"):
        await exchange.create_order(make_order())
    assert venue.asked(BATCH) == 1


@pytest.mark.parametrize("fault", UNKNOWN)
async def test_a_batch_whose_answer_is_lost_leaves_every_order_of_it_unknown(
    exchange: GuardedExchange, venue: FakeVenue, make_order: Maker, fault: str
) -> None:
    """One value for each order, in order."""
    venue.answers[BATCH] = UNKNOWN[fault]
    results = await exchange.create_orders([make_order(), make_order()])
    assert [type(result) for result in results] == [OutcomeUnknown, OutcomeUnknown]
    assert venue.asked(BATCH) == 1


@pytest.mark.parametrize(
    "fault", [fault for fault in UNKNOWN if fault not in {"unknown code", "receipt without an id"}]
)
async def test_a_lookup_that_is_not_answered_is_no_absence(
    exchange: GuardedExchange, venue: FakeVenue, fault: str
) -> None:
    """An order is sent again after "not found": nothing but the venue's own word may say so."""
    venue.answers[LOOKUP] = UNKNOWN[fault]
    with pytest.raises(ExchangeError) as caught:
        await exchange.fetch_order("BTC/USD", client_order_id="k1")
    assert type(caught.value) is ExchangeError


@pytest.mark.parametrize("fault", [fault for fault in UNKNOWN if fault != "receipt without an id"])
async def test_a_cancel_whose_answer_is_lost_is_of_unknown_outcome(
    exchange: GuardedExchange, venue: FakeVenue, fault: str
) -> None:
    """Canceled, filled, or neither: it must be looked up."""
    venue.answers[CANCEL] = UNKNOWN[fault]
    with pytest.raises(OutcomeUnknown):
        await exchange.cancel_order("BTC/USD", client_order_id="k1")
    assert venue.asked(CANCEL) == 1


@pytest.mark.parametrize(
    "fault", ["html with 200", "empty body", "truncated json", "null", "dropped", "half an answer"]
)
@pytest.mark.parametrize(
    "method", ["fetch_balance", "fetch_positions", "fetch_open_orders", "fetch_fills", "fetch_tickers"]
)
async def test_an_unreadable_answer_to_a_read_is_an_error_and_never_an_empty_account(
    open_at: Opener, venue: FakeVenue, method: str, fault: str
) -> None:
    """Ccxt turns a page of HTML into "no positions"; a desk that believes it opens everything again."""
    exchange = open_at(venue.url, request_timeout=timedelta(seconds=1))
    await exchange.load_markets()
    exchange._limits = type(exchange._limits)(attempts=1)
    for path in ("account/balance", "account/positions", "orders-pending", "fills-history", "market/tickers"):
        venue.answers[path] = UNKNOWN[fault]
    with pytest.raises(ExchangeError):
        await getattr(exchange, method)()


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that nobody listens on, held so that nobody else takes it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def test_an_order_to_a_venue_that_is_not_there_was_never_sent(
    exchange: GuardedExchange, dead_port: int, make_order: Maker
) -> None:
    """Connection refused: send again."""
    client = exchange.inner.connection.client  # pyright: ignore[reportAttributeAccessIssue]
    client.urls["api"]["rest"] = f"http://127.0.0.1:{dead_port}"
    with pytest.raises(NotSent, match="nothing was sent"):
        await exchange.create_order(make_order())
    [result] = await exchange.create_orders([make_order()])
    assert type(result) is NotSent
    with pytest.raises(NotSent):
        await exchange.cancel_order("BTC/USD", client_order_id="k1")


async def test_an_order_whose_markets_could_not_be_loaded_was_never_sent(
    open_at: Opener, dead_port: int, make_order: Maker
) -> None:
    """What fails before the order's own request leaves nothing in doubt."""
    exchange = open_at(f"http://127.0.0.1:{dead_port}")
    with pytest.raises(NotSent, match="BTC/USD was not sent"):
        await exchange.create_order(make_order())


async def test_a_name_that_does_not_resolve_was_never_sent(exchange: GuardedExchange, make_order: Maker) -> None:
    """DNS fails before any connection."""
    client = exchange.inner.connection.client  # pyright: ignore[reportAttributeAccessIssue]
    client.urls["api"]["rest"] = "http://venue.invalid"
    with pytest.raises(NotSent):
        await exchange.create_order(make_order())


async def test_a_venue_that_hangs_ends_in_an_unknown_fate_within_the_deadline(
    open_at: Opener, venue: FakeVenue, make_order: Maker
) -> None:
    """Ten seconds in a desk, less here."""

    async def hang(_request: web.Request) -> web.StreamResponse:
        await venue.release.wait()
        return web.Response()

    exchange = open_at(venue.url, request_timeout=timedelta(seconds=0.3))
    await exchange.load_markets()
    venue.answers |= {BATCH: hang, CANCEL: hang}
    for request in (exchange.create_order(make_order()), exchange.cancel_order("BTC/USD", client_order_id="k1")):
        with pytest.raises(OutcomeUnknown):
            await asyncio.wait_for(request, 2)


async def test_a_canceled_create_stays_canceled(exchange: GuardedExchange, venue: FakeVenue, make_order: Maker) -> None:
    """The executor that is being stopped records the order as unknown itself."""
    arrived = asyncio.Event()

    async def hang(_request: web.Request) -> web.StreamResponse:
        arrived.set()
        await venue.release.wait()
        return web.Response()

    venue.answers[BATCH] = hang
    creating = asyncio.create_task(exchange.create_order(make_order()))
    await arrived.wait()
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating


async def test_one_canceled_caller_does_not_cancel_the_loading_of_markets_for_the_others(
    open_at: Opener, venue: FakeVenue
) -> None:
    """Ccxt shares one task among all who load; a canceled waiter takes it down for everybody."""
    exchange = open_at(venue.url)
    began, go_on = asyncio.Event(), asyncio.Event()
    plain = FakeVenue._handle

    async def slow(request: web.Request) -> web.StreamResponse:
        began.set()
        await go_on.wait()
        venue.answers.pop("public/instruments", None)
        return await plain(venue, request)

    venue.answers["public/instruments"] = slow
    first, second = (asyncio.create_task(exchange.load_markets()) for _ in range(2))
    await began.wait()
    first.cancel()
    go_on.set()
    assert (await second).keys() == {"BTC/USD", "BTC/USD:USD"}
    with pytest.raises(asyncio.CancelledError):
        await first
