"""One logical call on its way to the venue: what the layers around ccxt tell one another about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kontor.resilience.rate_budget import Priority


@dataclass(slots=True)
class Call:
    """Made by whoever starts the call, read and written by the client below; shared by the tasks it spawns."""

    priority: Priority = Priority.MARKET_DATA
    # The venue should drop the request when it arrives later than this.
    expires_at: datetime | None = None
    # Candle rows are wanted as the venue sent them, and that is where the client puts them.
    wants_raw_candles: bool = False
    raw_candles: Any = None
    # A request has been handed to the network.
    sent: bool = False
    # Of the newest answer.
    status: int | None = None
    retry_after: timedelta | None = None


_CALL: ContextVar[Call | None] = ContextVar("kontor_exchange_call", default=None)


def current_call() -> Call:
    """The call under way in this task; a fresh one, of the lowest priority, when nobody announced any."""
    return _CALL.get() or Call()


@contextmanager
def calling(priority: Priority) -> Iterator[Call]:
    """The call under way, announced now with `priority` unless a layer further out has done so."""
    call = _CALL.get()
    if call is not None:
        yield call
        return
    call = Call(priority)
    token = _CALL.set(call)
    try:
        yield call
    finally:
        _CALL.reset(token)


@contextmanager
def part_of_call() -> Iterator[Call]:
    """A request of its own within the call under way, for requests that run side by side."""
    whole = current_call()
    part = Call(whole.priority)
    token = _CALL.set(part)
    try:
        yield part
    finally:
        _CALL.reset(token)
        whole.sent = whole.sent or part.sent
