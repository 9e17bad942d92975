"""GuardedExchange: circuit breakers, deadlines, priorities and retries around any Exchange.

Nesting, from the outside: breaker, deadline, retries (reads only), then the rate budget each request passes in the
client. The breaker sees one logical call once, however often it was tried, and sees a deadline that ran out.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.ledger import Bill
from kontor.domain.market import TIMEFRAMES, Candles, Market, Ticker
from kontor.domain.order import Order, OrderReport
from kontor.domain.outside import Transfer
from kontor.domain.venue_profile import VenueProfile
from kontor.errors import ExchangeError, NotPlaced, NotSent, OutcomeUnknown
from kontor.exchange.breakers import Breakers, NeverSent, verdict_on, verdict_on_results
from kontor.exchange.wire import calling
from kontor.ports import Clock, Exchange
from kontor.resilience.backoff import Backoff
from kontor.resilience.circuit_breaker import Verdict
from kontor.resilience.deadline import DeadlineExceeded, deadline
from kontor.resilience.rate_budget import Priority

logger = logging.getLogger(__name__)

# More candles than these are history, which waits for everything else.
RECENT_CANDLES = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long one logical call may take, its waits and retries included, and how often a read is tried."""

    write: timedelta = timedelta(seconds=10)
    read: timedelta = timedelta(seconds=30)
    attempts: int = 4


class GuardedExchange:
    """Any exchange, made safe to call: reads come back within a deadline or fail; writes are sent once."""

    def __init__(
        self,
        inner: Exchange,
        *,
        clock: Clock,
        limits: Limits | None = None,
        backoff: Backoff | None = None,
        breakers: Breakers | None = None,
    ) -> None:
        self.inner = inner
        self.breakers = breakers or Breakers(inner.profile.exchange_id, clock=clock)
        self._clock = clock
        self._limits = limits or Limits()
        self._backoff = backoff or Backoff()

    @property
    def profile(self) -> VenueProfile:
        """What this venue can do."""
        return self.inner.profile

    async def load_markets(self, *, reload: bool = False) -> Mapping[str, Market]:
        """Spot markets and linear swaps by symbol."""
        return await self._read("load_markets", lambda: self.inner.load_markets(reload=reload))

    async def fetch_tickers(self, symbols: Collection[str] | None = None) -> Mapping[str, Ticker]:
        """Tickers by symbol; of every market when no symbols are named."""
        return await self._read("fetch_tickers", lambda: self.inner.fetch_tickers(symbols))

    async def fetch_candles(
        self, symbol: str, timeframe: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Candles:
        """Finished candles, oldest first."""
        return await self._read(
            f"fetch_candles {symbol} {timeframe}",
            lambda: self.inner.fetch_candles(symbol, timeframe, since=since, limit=limit),
            Priority.HISTORY if self._due(timeframe, since, limit) > RECENT_CANDLES else Priority.CANDLES,
        )

    def _due(self, timeframe: str, since: datetime | None, limit: int) -> float:
        """How many candles there are to fetch, about."""
        span = TIMEFRAMES.get(timeframe)
        return limit if since is None or span is None else min(limit, (self._clock.now() - since) / span)

    async def fetch_balance(self) -> Balance:
        """The account in its capital currency, and every currency beside it."""
        return await self._read("fetch_balance", self.inner.fetch_balance, Priority.ACCOUNT)

    async def fetch_positions(self) -> Sequence[Position]:
        """Open positions."""
        return await self._read("fetch_positions", self.inner.fetch_positions, Priority.ACCOUNT)

    async def fetch_open_orders(self, symbol: str | None = None) -> Sequence[OrderReport]:
        """Orders the venue still works on, of one symbol or all."""
        return await self._read("fetch_open_orders", lambda: self.inner.fetch_open_orders(symbol), Priority.ACCOUNT)

    async def fetch_order(
        self,
        symbol: str,
        *,
        client_order_id: str | None = None,
        venue_order_id: str | None = None,
        stop: bool = False,
    ) -> OrderReport:
        """One order by either id; OrderNotFound only when the venue itself says it has none."""
        return await self._read(
            f"fetch_order {symbol} {client_order_id or venue_order_id}",
            lambda: self.inner.fetch_order(
                symbol, client_order_id=client_order_id, venue_order_id=venue_order_id, stop=stop
            ),
            Priority.ACCOUNT,
            about=_names(client_order_id, venue_order_id),
        )

    async def fetch_fills(
        self, symbol: str | None = None, *, venue_order_id: str | None = None, since: datetime | None = None
    ) -> Sequence[Fill]:
        """Our own trades, oldest first."""
        return await self._read(
            "fetch_fills",
            lambda: self.inner.fetch_fills(symbol, venue_order_id=venue_order_id, since=since),
            Priority.ACCOUNT,
            about=_names(None, venue_order_id),
        )

    async def fetch_transfers(self, since: datetime) -> Sequence[Transfer]:
        """Money that came or left by anything but trading, oldest first."""
        return await self._read("fetch_transfers", lambda: self.inner.fetch_transfers(since), Priority.ACCOUNT)

    async def fetch_bills(self, since: datetime, until: datetime | None = None) -> Sequence[Bill]:
        """Every movement of the account's money since then, oldest first."""
        return await self._read("fetch_bills", lambda: self.inner.fetch_bills(since, until), Priority.ACCOUNT)

    async def create_order(self, order: Order) -> OrderReport:
        """Send one order once; the error raised says whether it may be sent again."""
        operation = f"create_order {order.symbol} {order.client_order_id}"
        return await self._write(operation, lambda: self.inner.create_order(order), Priority.CREATE)

    async def create_orders(self, orders: Sequence[Order]) -> Sequence[OrderReport | ExchangeError]:
        """Send several at once; one result per order, in order, errors as values."""
        operation = f"create_orders {' '.join(order.client_order_id for order in orders)}"
        try:
            return await self._run(
                operation,
                lambda: self.inner.create_orders(orders),
                Priority.CREATE,
                self._limits.write,
                judge_result=verdict_on_results,
            )
        except ExchangeError as error:
            return [error] * len(orders)

    async def cancel_order(
        self,
        symbol: str,
        *,
        client_order_id: str | None = None,
        venue_order_id: str | None = None,
        stop: bool = False,
    ) -> None:
        """Ask for a cancel, ahead of everything else; OrderNotFound means it is gone, perhaps filled."""
        await self._write(
            f"cancel_order {symbol} {client_order_id or venue_order_id}",
            lambda: self.inner.cancel_order(
                symbol, client_order_id=client_order_id, venue_order_id=venue_order_id, stop=stop
            ),
            Priority.CANCEL,
        )

    async def cancel_all_after(self, seconds: float) -> None:
        """Have the venue cancel every order unless this is called again in time; 0 disarms it."""
        await self._write(
            f"cancel_all_after {seconds:g} s", lambda: self.inner.cancel_all_after(seconds), Priority.CANCEL
        )

    async def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        """Set the leverage of a swap."""
        await self._write(f"set_leverage {symbol}", lambda: self.inner.set_leverage(symbol, leverage), Priority.ACCOUNT)

    async def fetch_time(self) -> datetime:
        """The venue's clock; asked once, because a retry would measure the retry."""
        return await self._run("fetch_time", self.inner.fetch_time, Priority.ACCOUNT, self._limits.write)

    async def call(self, method: str, *args: Any) -> Any:
        """What a unified read returns, as it comes."""
        return await self._read(method, lambda: self.inner.call(method, *args))

    async def close(self) -> None:
        """Close every socket."""
        await self.inner.close()

    async def _read(
        self,
        operation: str,
        request: Callable[[], Awaitable[T]],
        priority: Priority = Priority.MARKET_DATA,
        *,
        about: str = "",
    ) -> T:
        retrying = AsyncRetrying(
            sleep=self._clock.sleep,
            wait=self._backoff,
            stop=stop_after_attempt(self._limits.attempts),
            retry=retry_if_exception(is_worth_a_retry),
            before_sleep=partial(_log_retry, operation.partition(" ")[0], about),
            reraise=True,
        )

        async def once() -> T:
            return await request()

        async def with_retries() -> T:
            return await retrying(once)

        return await self._run(operation, with_retries, priority, self._limits.read)

    async def _write(self, operation: str, request: Callable[[], Awaitable[T]], priority: Priority) -> T:
        return await self._run(operation, request, priority, self._limits.write)

    async def _run(
        self,
        operation: str,
        request: Callable[[], Awaitable[T]],
        priority: Priority,
        limit: timedelta,
        *,
        judge_result: Callable[[T], Verdict] = lambda _: Verdict.SUCCESS,
    ) -> T:
        """One logical call: if its breaker lets it pass, within its deadline, with its priority."""
        with self.breakers[priority].guard(verdict_on) as permit:
            answer = await self._within(operation, request, priority, limit)
            permit.end(judge_result(answer), "none of several orders got an answer")
            return answer

    async def _within(
        self, operation: str, request: Callable[[], Awaitable[T]], priority: Priority, limit: timedelta
    ) -> T:
        """The answer within the deadline, or a truthful error when time is up."""
        where = f"{self.profile.exchange_id} {operation}"
        with calling(priority) as call:
            try:
                async with deadline(where, limit.total_seconds()):
                    return await request()
            except DeadlineExceeded as error:
                if not call.sent:
                    raise NeverSent(f"{error}; it was still waiting for its turn, nothing was sent") from None
                if priority in {Priority.CANCEL, Priority.CREATE}:
                    raise OutcomeUnknown(f"{error}; it may or may not have been done, look it up") from None
                raise ExchangeError(str(error)) from None


def is_worth_a_retry(error: BaseException) -> bool:
    """Whether the same read may succeed in a moment: nothing was said about the request itself."""
    return isinstance(error, (NotSent, NotPlaced)) or type(error) is ExchangeError


def _log_retry(operation: str, about: str, state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.info("read_retried operation=%s%s attempt=%s error=%s", operation, about, state.attempt_number, error)


def _names(client_order_id: str | None, venue_order_id: str | None) -> str:
    """An order's ids as facts for a line of the log."""
    named = {"client_order_id": client_order_id, "venue_order_id": venue_order_id}
    return "".join(f" {name}={value}" for name, value in named.items() if value)
