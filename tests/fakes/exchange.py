"""The Exchange port on a fake venue, with a wire that lies: scripted faults for each kind of request."""

import asyncio
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar, cast

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.ledger import Bill
from kontor.domain.market import NO_CANDLES, Candles, Market, Ticker
from kontor.domain.order import Order, OrderReport
from kontor.domain.outside import Transfer
from kontor.domain.venue_profile import VenueProfile
from kontor.errors import (
    AuthenticationFailed,
    ExchangeError,
    Incomplete,
    InsufficientFunds,
    NotSent,
    NotSupported,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
)
from kontor.ports import Clock
from tests.fakes.venue import Venue

T = TypeVar("T")


class Fault(StrEnum):
    """What can go wrong between us and the venue."""

    NO_CONNECTION = "no connection"
    DROPPED_BEFORE = "dropped before the venue saw it"
    TIMEOUT_AFTER = "carried out, then the answer timed out"
    ERROR_AFTER = "carried out, then a 5xx"
    DROPPED_AFTER = "carried out, then the connection dropped"
    HANG_BEFORE = "hangs, never carried out"
    HANG_AFTER = "carried out, then hangs"
    LATE = "carried out long after we gave up"
    RATE_LIMITED = "rate limited"
    REJECTED = "rejected"
    BAD_KEY = "the key is refused"
    GARBAGE = "carried out, then an answer that cannot be read"
    WRONG_ID = "carried out, then an answer without an id"


AMBIGUOUS = (
    Fault.DROPPED_BEFORE,
    Fault.TIMEOUT_AFTER,
    Fault.ERROR_AFTER,
    Fault.DROPPED_AFTER,
    Fault.HANG_BEFORE,
    Fault.HANG_AFTER,
    Fault.GARBAGE,
)
CARRIED_OUT = frozenset(
    {
        Fault.TIMEOUT_AFTER,
        Fault.ERROR_AFTER,
        Fault.DROPPED_AFTER,
        Fault.HANG_AFTER,
        Fault.GARBAGE,
        Fault.WRONG_ID,
    }
)
RETRY_AFTER = timedelta(seconds=2)
PROFILE = VenueProfile(
    exchange_id="fake",
    capabilities={"fetchOrder": True, "fetchOpenOrders": True, "fetchMyTrades": True},
    absence_grace=timedelta(seconds=5),
    lookup_by_client_order_id=True,
    client_order_id_on_create=True,
    batch_limit=1,
    stop_orders=True,
)


class FakeExchange:
    """One account at a fake venue; `faults[what]` are used up one request after the other.

    `what` is create, lookup, cancel, open orders, fills, positions. `requests` counts what went out of the door.
    """

    def __init__(self, venue: Venue, clock: Clock, *, profile: VenueProfile = PROFILE, latency: float = 0.02) -> None:
        self.venue, self.clock, self.latency = venue, clock, latency
        self.profile = profile
        self.faults: defaultdict[str, deque[Fault | None]] = defaultdict(deque)
        self.random_faults: tuple[random.Random, float, Sequence[Fault]] | None = None
        self.requests: Counter[str] = Counter()
        self.sent: list[tuple[datetime, str]] = []
        self.on_wire: Counter[str] = Counter()
        self.most_on_wire = 0
        # Orders become visible to lookups and lists only this long after they were accepted.
        self.visible_after = timedelta(0)
        self.before_answer: Callable[[str], None] = lambda _: None
        self.late: list[asyncio.Task[None]] = []
        self.late_after = 8.0
        # Lookups by our own id find nothing, ever; with `forgets_finished` neither do those by the venue's, once an
        # order is finished.
        self.lookup_is_blind = self.forgets_finished = False
        # Each call of the dead man's switch: when, and after how many seconds it would fire (0: disarmed).
        self.switch: list[tuple[datetime, float]] = []
        # What other reads say, by name; an exception is raised.
        self.answers: dict[str, Any] = {}
        # None is a venue that does not tell.
        self.leverage: dict[str, Decimal] | None = None
        # How far the venue's clock is ahead of ours.
        self.clock_ahead = timedelta(0)

    def script(self, what: str, *faults: Fault | None) -> None:
        """Let the next requests of a kind meet these faults, None for a good one."""
        self.faults[what].extend(faults)

    async def create_order(self, order: Order) -> OrderReport:
        return await self._request("create", lambda: self._create(order), order.client_order_id)

    async def create_orders(self, orders: Sequence[Order]) -> Sequence[OrderReport | ExchangeError]:
        assert len(orders) <= self.profile.batch_limit, "a batch is larger than the venue takes"
        names = " ".join(order.client_order_id for order in orders)
        return await self._request("create", lambda: [self._create_in_batch(order) for order in orders], names)

    async def cancel_order(
        self, symbol: str, *, client_order_id: str | None = None, venue_order_id: str | None = None, stop: bool = False
    ) -> None:
        del symbol, stop
        await self._request(
            "cancel",
            lambda: self.venue.cancel(self.venue.find(client_order_id, venue_order_id), self.clock.now()),
            str(client_order_id or venue_order_id),
        )

    async def fetch_order(
        self, symbol: str, *, client_order_id: str | None = None, venue_order_id: str | None = None, stop: bool = False
    ) -> OrderReport:
        del symbol, stop

        def find() -> OrderReport:
            report = self.venue.find(client_order_id, venue_order_id)
            if self.lookup_is_blind and venue_order_id is None:
                raise OrderNotFound(f"no order {client_order_id}")
            if not self._is_visible(report):
                raise OrderNotFound(f"no order {client_order_id or venue_order_id} yet")
            if self.forgets_finished and report not in self.venue.open_orders():
                raise OrderNotFound(f"no order {client_order_id or venue_order_id} any more")
            return report

        return await self._request("lookup", find, str(client_order_id or venue_order_id))

    async def fetch_open_orders(self, symbol: str | None = None) -> Sequence[OrderReport]:
        return await self._request(
            "open orders",
            lambda: [o for o in self.venue.open_orders() if symbol in {None, o.symbol} and self._is_visible(o)],
        )

    async def fetch_fills(
        self, symbol: str | None = None, *, venue_order_id: str | None = None, since: datetime | None = None
    ) -> Sequence[Fill]:
        return await self._request(
            "fills",
            lambda: [
                fill
                for fill in self.venue.fills
                if symbol in {None, fill.symbol}
                and venue_order_id in {None, fill.venue_order_id}
                and (since is None or fill.filled_at >= since)
            ],
        )

    async def fetch_transfers(self, since: datetime) -> Sequence[Transfer]:
        if self.venue.transfers is None:
            raise NotSupported("fake has no fetchLedger")
        transfers = self.venue.transfers
        return await self._request("transfers", lambda: [each for each in transfers if each.at >= since])

    async def fetch_bills(self, since: datetime, until: datetime | None = None) -> Sequence[Bill]:
        if self.venue.bills is None:
            raise NotSupported("fake has no fetchLedger")
        bills = self.venue.bills
        found = [each for each in bills if each.at >= since and (until is None or each.at <= until)]
        if len(found) > self.venue.most_bills:
            raise Incomplete(f"{len(found)} bills are more than can be fetched")
        return await self._request("bills", lambda: found)

    async def fetch_positions(self) -> Sequence[Position]:
        return await self._request("positions", lambda: self.venue.positions(self.clock.now()))

    async def fetch_balance(self) -> Balance:
        return await self._request("balance", lambda: self.venue.balance(self.clock.now()))

    async def load_markets(self, *, reload: bool = False) -> Mapping[str, Market]:
        del reload
        return self.venue.markets

    async def fetch_tickers(self, symbols: Collection[str] | None = None) -> Mapping[str, Ticker]:
        found = await self._request("tickers", lambda: self.venue.tickers(self.clock.now()))
        return {symbol: ticker for symbol, ticker in found.items() if symbols is None or symbol in symbols}

    async def fetch_candles(
        self, symbol: str, timeframe: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Candles:
        del symbol, timeframe, since, limit
        return NO_CANDLES

    async def cancel_all_after(self, seconds: float) -> None:
        """Arm or disarm the switch; the fake venue fires it when its time has come."""
        await self._request("switch", lambda: self.switch.append((self.clock.now(), seconds)))

    async def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        if self.leverage is not None:
            self.requests["leverage"] += 1
            self.leverage[symbol] = leverage

    async def fetch_time(self) -> datetime:
        return self.clock.now() + self.clock_ahead

    async def call(self, method: str, *args: Any) -> Any:
        if method == "fetch_leverage" and self.leverage is not None:
            return {"longLeverage": self.leverage.get(args[0], Decimal(1)), "shortLeverage": None}
        answer = self.answers.get(method)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            raise NotSupported(f"the fake venue has no {method}")
        return answer

    async def close(self) -> None:
        for task in self.late:
            task.cancel()

    def _create(self, order: Order) -> OrderReport:
        return self.venue.accept(order, self.clock.now())

    def _create_in_batch(self, order: Order) -> OrderReport | ExchangeError:
        try:
            return self._create(order)
        except ExchangeError as error:
            return error

    def _is_visible(self, report: OrderReport) -> bool:
        return self.clock.now() - (report.created_at or report.at) >= self.visible_after

    def _next_fault(self, what: str) -> Fault | None:
        if self.faults[what]:
            return self.faults[what].popleft()
        if self.random_faults is not None:
            rng, probability, faults = self.random_faults
            if rng.random() < probability:
                return rng.choice(faults)
        return None

    async def _request(self, what: str, work: Callable[[], T], name: str = "") -> T:
        self.requests[what] += 1
        fault = self._next_fault(what)
        if fault is Fault.NO_CONNECTION:
            raise NotSent("connection refused")
        if what == "create":
            self.sent.append((self.clock.now(), name))
        self.on_wire[what] += 1
        self.most_on_wire = max(self.most_on_wire, self.on_wire[what])
        try:
            await self.clock.sleep(self.latency / 2)
            return await self._answer(what, fault, work)
        finally:
            self.on_wire[what] -= 1

    async def _answer(self, what: str, fault: Fault | None, work: Callable[[], T]) -> T:
        refusals: Mapping[Fault, ExchangeError] = {
            Fault.RATE_LIMITED: RateLimited("too many requests", code="50011", retry_after=RETRY_AFTER),
            Fault.REJECTED: InsufficientFunds("insufficient funds", code="51008"),
            Fault.BAD_KEY: AuthenticationFailed("invalid api key", code="50111"),
            Fault.DROPPED_BEFORE: OutcomeUnknown("the connection dropped"),
        }
        if fault is not None and fault in refusals:
            raise refusals[fault]
        if fault is Fault.HANG_BEFORE:
            await self._hang()
        if fault is Fault.LATE:
            self.late.append(asyncio.get_running_loop().create_task(self._later(work)))
            raise OutcomeUnknown("no answer")
        result = work()
        self.before_answer(what)
        if fault is Fault.HANG_AFTER:
            await self._hang()
        if fault is Fault.GARBAGE:
            raise KeyError("ordId")
        if fault is Fault.WRONG_ID and isinstance(result, OrderReport):
            return cast("T", replace(result, venue_order_id=""))
        if fault in CARRIED_OUT:
            raise OutcomeUnknown("no answer")
        await self.clock.sleep(self.latency / 2)
        return result

    async def _hang(self) -> None:
        await self.clock.sleep(3600)
        raise OutcomeUnknown("hung up after an hour")

    async def _later(self, work: Callable[[], Any]) -> None:
        await self.clock.sleep(self.late_after)
        try:
            work()
        except ExchangeError:
            return
