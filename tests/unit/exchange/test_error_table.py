"""The error table: may the same request be sent again? Wrong answers here cost money."""

import asyncio
from datetime import timedelta

import aiohttp
import ccxt
import pytest
from aiohttp.client_reqrep import ConnectionKey

from kontor.errors import (
    AlreadyPlaced,
    AuthenticationFailed,
    ClockSkewed,
    ExchangeError,
    InsufficientFunds,
    InvalidOrder,
    NotPlaced,
    NotSent,
    NotSupported,
    OnMaintenance,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Resend,
)
from kontor.exchange.error_table import Asked, translate
from kontor.exchange.redaction import MAX_LENGTH, redact
from kontor.exchange.venues import BINANCE, OKX, ORDINARY, venue_of
from kontor.exchange.wire import Call

KEY = ConnectionKey("127.0.0.1", 1, is_ssl=False, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)
REFUSED = aiohttp.ClientConnectorError(KEY, OSError(111, "Connection refused"))
NO_DNS = aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "Name or service not known"))


def raised(error: Exception, cause: BaseException | None = None) -> Exception:
    """The error as ccxt raises it from its cause."""
    error.__cause__ = cause
    return error


def create(error: Exception, call: Call | None = None) -> ExchangeError:
    """What it means for a create on okx."""
    return translate(error, Asked.CREATE, "okx create_order BTC/USD k1", OKX, call=call)


@pytest.mark.parametrize(
    ("error", "meaning", "resend"),
    [
        # Never sent.
        (raised(ccxt.ExchangeNotAvailable("okx POST"), REFUSED), NotSent, Resend.YES),
        (raised(ccxt.ExchangeNotAvailable("okx POST"), NO_DNS), NotSent, Resend.YES),
        (raised(ccxt.RequestTimeout("okx POST"), aiohttp.ConnectionTimeoutError()), NotSent, Resend.YES),
        (raised(ccxt.RequestTimeout("okx"), raised(TimeoutError(), REFUSED)), NotSent, Resend.YES),
        (ccxt.ExchangeClosedByUser("closed"), NotSent, Resend.YES),
        # Rejected.
        (ccxt.InsufficientFunds("no"), InsufficientFunds, Resend.NO),
        (ccxt.InvalidOrder("no"), InvalidOrder, Resend.NO),
        (ccxt.OrderImmediatelyFillable("post only"), InvalidOrder, Resend.NO),
        (ccxt.ContractUnavailable("suspended"), InvalidOrder, Resend.NO),
        (ccxt.OrderNotFound("odd for a create"), InvalidOrder, Resend.NO),
        (ccxt.BadSymbol("no"), Rejected, Resend.NO),
        (ccxt.BadRequest("no"), Rejected, Resend.NO),
        (ccxt.ArgumentsRequired("no"), Rejected, Resend.NO),
        (ccxt.OperationRejected("no"), Rejected, Resend.NO),
        (ccxt.MarketClosed("no"), Rejected, Resend.NO),
        (ccxt.AuthenticationError("no"), AuthenticationFailed, Resend.NO),
        (ccxt.PermissionDenied("no"), AuthenticationFailed, Resend.NO),
        (ccxt.AccountSuspended("no"), AuthenticationFailed, Resend.NO),
        (ccxt.NotSupported("no"), NotSupported, Resend.NO),
        # Not placed: back off.
        (ccxt.RateLimitExceeded("slow"), RateLimited, Resend.YES),
        (ccxt.DDoSProtection("slow"), RateLimited, Resend.YES),
        (ccxt.OnMaintenance("later"), OnMaintenance, Resend.YES),
        (ccxt.InvalidNonce("clock"), ClockSkewed, Resend.YES),
        (ccxt.ExchangeError('okx {"code":"1","data":[{"sCode":"50061","sMsg":"limit"}]}'), RateLimited, Resend.YES),
        (ccxt.ExchangeError('okx {"code":"1","data":[{"sCode":"50036","sMsg":"expired"}]}'), NotPlaced, Resend.YES),
        # Already there.
        (ccxt.DuplicateOrderId("known"), AlreadyPlaced, Resend.LOOK_UP),
        (
            ccxt.InvalidOrder('okx {"code":"1","data":[{"sCode":"51016","sMsg":"known"}]}'),
            AlreadyPlaced,
            Resend.LOOK_UP,
        ),
        (ccxt.InvalidOrder('bybit {"retCode":110072,"retMsg":"duplicate"}'), AlreadyPlaced, Resend.LOOK_UP),
        (ccxt.InvalidOrder('bybit {"retCode":170141,"retMsg":"Duplicate"}'), AlreadyPlaced, Resend.LOOK_UP),
        (
            ccxt.InvalidOrder('binance {"code":-4116,"msg":"ClientOrderId is duplicated."}'),
            AlreadyPlaced,
            Resend.LOOK_UP,
        ),
        (ccxt.InvalidOrder('binance {"code":-2010,"msg":"Duplicate order sent."}'), AlreadyPlaced, Resend.LOOK_UP),
        # Unknown.
        (ccxt.RequestTimeout("okx POST"), OutcomeUnknown, Resend.LOOK_UP),
        (raised(ccxt.RequestTimeout("okx"), aiohttp.SocketTimeoutError()), OutcomeUnknown, Resend.LOOK_UP),
        (raised(ccxt.ExchangeNotAvailable("okx"), aiohttp.ServerDisconnectedError()), OutcomeUnknown, Resend.LOOK_UP),
        (
            raised(ccxt.ExchangeNotAvailable("okx"), aiohttp.ClientOSError(32, "Broken pipe")),
            OutcomeUnknown,
            Resend.LOOK_UP,
        ),
        (ccxt.OperationFailed("?"), OutcomeUnknown, Resend.LOOK_UP),
        (ccxt.BadResponse("?"), OutcomeUnknown, Resend.LOOK_UP),
        (ccxt.NullResponse("?"), OutcomeUnknown, Resend.LOOK_UP),
        (ccxt.NetworkError("?"), OutcomeUnknown, Resend.LOOK_UP),
        (raised(ccxt.ExchangeError("okx POST"), aiohttp.ClientPayloadError()), OutcomeUnknown, Resend.LOOK_UP),
        (
            ccxt.ExchangeError('okx {"code":"1","data":[{"sCode":"59999","sMsg":"new"}]}'),
            OutcomeUnknown,
            Resend.LOOK_UP,
        ),
        (TypeError("'NoneType' object is not subscriptable"), OutcomeUnknown, Resend.LOOK_UP),
        (KeyError("id"), OutcomeUnknown, Resend.LOOK_UP),
        (ValueError("?"), OutcomeUnknown, Resend.LOOK_UP),
        (asyncio.IncompleteReadError(b"", 3), OutcomeUnknown, Resend.LOOK_UP),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_an_error_means_for_a_create(error: Exception, meaning: type[ExchangeError], resend: Resend) -> None:
    """The table of the design, line by line."""
    found = create(error)
    assert type(found) is meaning
    assert found.resend is resend


def test_every_error_of_ccxt_has_a_meaning() -> None:
    """A new class in ccxt falls to its nearest ancestor, and to "unknown" when it has none in the table."""

    def below(kind: type[Exception]) -> set[type[Exception]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    for kind in below(ccxt.BaseError):
        assert isinstance(create(kind("okx says")), ExchangeError)
    unheard_of = type("Unheard", (ccxt.BaseError,), {})
    assert type(create(unheard_of("?"))) is OutcomeUnknown


def test_an_old_connect_error_further_out_does_not_make_a_lost_answer_never_sent() -> None:
    """A create tried again inside an `except` has the first error as its context; sending twice would follow."""

    def try_again() -> None:
        try:
            raise REFUSED
        except aiohttp.ClientConnectorError:
            raise ccxt.RequestTimeout("okx POST the second try") from None

    with pytest.raises(ccxt.RequestTimeout) as caught:
        try_again()
    assert caught.value.__context__ is REFUSED
    assert type(create(caught.value)) is OutcomeUnknown


@pytest.mark.parametrize("status", [418, 429])
def test_a_429_without_a_readable_body_is_a_rate_limit(status: int) -> None:
    """For okx ccxt makes ExchangeNotAvailable of it, which would be unknown."""
    found = create(ccxt.ExchangeNotAvailable("okx POST 429"), Call(status=status, retry_after=timedelta(seconds=7)))
    assert isinstance(found, RateLimited)
    assert found.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 500, 502, 503])
def test_other_unreadable_statuses_leave_a_create_unknown(status: int) -> None:
    """A proxy's 404 says nothing about what the venue did."""
    assert type(create(ccxt.ExchangeNotAvailable("okx POST"), Call(status=status))) is OutcomeUnknown


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (ccxt.OrderNotFound("gone"), OrderNotFound),
        (ccxt.InvalidOrder("cannot be canceled"), OrderNotFound),
        (ccxt.InvalidOrder('okx {"code":"1","data":[{"sCode":"51016","sMsg":"odd"}]}'), OrderNotFound),
        (ccxt.RequestTimeout("?"), OutcomeUnknown),
        (ccxt.ExchangeError("?"), OutcomeUnknown),
        (ccxt.BadResponse("?"), OutcomeUnknown),
        (raised(ccxt.ExchangeNotAvailable("?"), REFUSED), NotSent),
        (ccxt.RateLimitExceeded("?"), RateLimited),
        (ccxt.AuthenticationError("?"), AuthenticationFailed),
        (ccxt.BadRequest("?"), Rejected),
    ],
)
def test_what_an_error_means_for_a_cancel(error: Exception, meaning: type[ExchangeError]) -> None:
    """A refused cancel is a question, not an answer: the order may be filled."""
    assert type(translate(error, Asked.CANCEL, "okx cancel_order", OKX)) is meaning


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (ccxt.OrderNotFound("none"), OrderNotFound),
        (ccxt.RequestTimeout("?"), ExchangeError),
        (ccxt.ExchangeNotAvailable("404 page"), ExchangeError),
        (ccxt.ExchangeError("?"), ExchangeError),
        (ccxt.BadResponse("?"), ExchangeError),
        (KeyError("id"), ExchangeError),
        (AttributeError("'NoneType' object has no attribute 'get'"), ExchangeError),
    ],
)
def test_only_the_venue_itself_says_that_an_order_does_not_exist(
    error: Exception, meaning: type[ExchangeError]
) -> None:
    """Everything else leaves the question open: an order is sent again after "not found" only."""
    found = translate(error, Asked.LOOKUP, "okx fetch_order", OKX, call=Call(status=404))
    assert type(found) is meaning


def test_a_read_refused_for_good_is_not_worth_another_try() -> None:
    """Unrecognized 4xx become ExchangeNotAvailable in ccxt: "retry every NetworkError" never ends."""
    error = ccxt.ExchangeNotAvailable("okx GET 404 Not Found")
    assert type(translate(error, Asked.READ, "okx fetch_balance", OKX, call=Call(status=404))) is Rejected
    assert type(translate(error, Asked.READ, "okx fetch_balance", OKX, call=Call(status=503))) is ExchangeError
    assert type(translate(error, Asked.READ, "okx fetch_balance", OKX, call=Call(status=408))) is ExchangeError
    assert type(translate(error, Asked.READ, "okx fetch_balance", OKX)) is ExchangeError


def test_an_error_of_ours_stays_what_it_is() -> None:
    """It has been translated once, further in."""
    error = InvalidOrder("order k1: too small")
    assert create(error) is error


def test_the_sentence_names_the_call_and_repeats_the_venue() -> None:
    """One reads it in a log line at night."""
    body = (
        '{"code":"1","data":[{"clOrdId":"k1","ordId":"","sCode":"51008","sMsg":"Insufficient USD balance"}],"msg":""}'
    )
    found = create(ccxt.InsufficientFunds(f"okx {body}"))
    assert str(found) == "okx create_order BTC/USD k1: 51008 Insufficient USD balance"
    assert found.code == "51008"


def test_no_secret_is_left_in_a_sentence() -> None:
    """URLs are signed, bodies repeat what was sent."""
    url = "https://api.binance.com/api/v3/order?symbol=BTCUSDT&signature=deadbeef"
    error = ccxt.RequestTimeout(f"binance POST {url} key-123 said my-secret")
    found = translate(error, Asked.CREATE, "binance create_order", BINANCE, secrets=("key-123", "my-secret", ""))
    assert "deadbeef" not in str(found)
    assert "key-123" not in str(found)
    assert "my-secret" not in str(found)
    assert "https://api.binance.com/api/v3/order?***" in str(found)


def test_a_page_of_html_is_cut_short() -> None:
    """An error is a sentence, not a document."""
    text = redact("okx GET <html>\n" + "<p>blocked</p>\n" * 1000, ())
    assert len(text) == MAX_LENGTH
    assert "\n" not in text


def test_venues_without_an_entry_behave_as_ccxt_says() -> None:
    """Most of them."""
    assert venue_of("kraken") is ORDINARY
    assert venue_of("okx") is venue_of("myokx") is OKX
