"""What a ccxt error means for an order, as a table: may the same request be sent again?"""

import socket
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

import aiohttp
import ccxt

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
)
from kontor.exchange.redaction import redact
from kontor.exchange.replies import Reply, read_error
from kontor.exchange.venues import Venue
from kontor.exchange.wire import Call


class Asked(StrEnum):
    """What the request was about: the same error means different things."""

    READ = "read"
    LOOKUP = "lookup"
    CREATE = "create"
    CANCEL = "cancel"


# The nearest ancestor of an error decides. A bare ExchangeError looks like a rejection, but truncated bodies and
# redirects end in it too; so does everything ccxt could not recognize.
MEANING: Mapping[type[Exception], type[ExchangeError]] = {
    ccxt.InsufficientFunds: InsufficientFunds,
    ccxt.InvalidOrder: InvalidOrder,
    ccxt.OrderNotFound: OrderNotFound,
    ccxt.DuplicateOrderId: AlreadyPlaced,
    ccxt.BadRequest: Rejected,
    ccxt.ArgumentsRequired: Rejected,
    ccxt.InvalidAddress: Rejected,
    ccxt.OperationRejected: Rejected,
    ccxt.AuthenticationError: AuthenticationFailed,
    ccxt.NotSupported: NotSupported,
    ccxt.RateLimitExceeded: RateLimited,
    ccxt.DDoSProtection: RateLimited,
    ccxt.OnMaintenance: OnMaintenance,
    ccxt.InvalidNonce: ClockSkewed,
    ccxt.ChecksumError: OutcomeUnknown,
    ccxt.ExchangeClosedByUser: NotSent,
    ccxt.InvalidProxySettings: NotSent,
    ccxt.RequestTimeout: OutcomeUnknown,
    ccxt.ExchangeNotAvailable: OutcomeUnknown,
    ccxt.OperationFailed: OutcomeUnknown,
    ccxt.ExchangeError: OutcomeUnknown,
    ccxt.BaseError: OutcomeUnknown,
}
# Raised before a connection existed: whatever ccxt made of it, nothing has left this machine.
NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, socket.gaierror)
# What venues answer to a client order id they know already, whatever class ccxt raises for it.
ALREADY_PLACED_CODES = frozenset({"51016", "110072", "170141", "-4116"})
ALREADY_PLACED_WORDS = ("Duplicate order sent",)
TOO_MANY = frozenset({418, 429})
# Client errors that are worth another try.
PASSING = frozenset({408, 425}) | TOO_MANY


def translate(
    error: Exception,
    asked: Asked,
    operation: str,
    venue: Venue,
    *,
    secrets: Iterable[str] = (),
    call: Call | None = None,
) -> ExchangeError:
    """The error in our words; `operation` names venue, method and symbol, `call` knows the HTTP status."""
    if isinstance(error, ExchangeError):
        return error
    message = str(error)
    reply = read_error(message)
    status = call.status if call else None
    kind = for_request(meaning(error, reply, venue, status), asked, status)
    said = redact(str(reply) if not reply.is_empty else f"{type(error).__name__}: {message}", secrets)
    sentence = f"{operation}: {said}{REMEDY.get(kind, '')}"
    if issubclass(kind, NotPlaced):
        return kind(sentence, code=reply.code, retry_after=call.retry_after if call else None)
    return kind(sentence, code=reply.code)


REMEDY: Mapping[type[ExchangeError], str] = {
    NotSent: " (no connection; nothing was sent)",
    OutcomeUnknown: " (it may or may not have been done; look it up)",
    AlreadyPlaced: " (the venue knows this client order id; look it up)",
    AuthenticationFailed: " (check key, secret, passphrase and permissions of this account)",
    ClockSkewed: " (this machine's clock is off; synchronize it)",
}


def meaning(error: Exception, reply: Reply, venue: Venue, status: int | None) -> type[ExchangeError]:
    """What the error says about the request, whatever was asked."""
    if any(isinstance(cause, NEVER_CONNECTED) for cause in causes(error)):
        return NotSent
    if reply.code in venue.codes:
        return venue.codes[reply.code]
    if isinstance(error, ccxt.BaseError) and _is_duplicate(reply, str(error)):
        return AlreadyPlaced
    found = next((MEANING[kind] for kind in type(error).__mro__ if kind in MEANING), OutcomeUnknown)
    return RateLimited if found is OutcomeUnknown and status in TOO_MANY else found


def for_request(found: type[ExchangeError], asked: Asked, status: int | None) -> type[ExchangeError]:
    """The same, for what was asked: only a lookup's or cancel's "not found" is one; a read has no outcome."""
    if asked is Asked.CANCEL:
        return OrderNotFound if found in {InvalidOrder, AlreadyPlaced} else found
    if asked is Asked.CREATE:
        return InvalidOrder if found is OrderNotFound else found
    if found is not OutcomeUnknown:
        return found
    refused = asked is Asked.READ and status is not None and 400 <= status < 500 and status not in PASSING  # noqa: PLR2004
    return Rejected if refused else ExchangeError


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from.

    Only explicit causes: `__context__` also holds whatever a caller further up was handling when it tried again, and
    an old connect error there would turn a lost answer into "never sent".
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


def _is_duplicate(reply: Reply, message: str) -> bool:
    return reply.code in ALREADY_PLACED_CODES or any(words in message for words in ALREADY_PLACED_WORDS)
