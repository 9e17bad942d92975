"""The ports: what the core needs from the outside, as protocols. Adapters live in exchange, store and notify."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.ledger import Bill, LedgerEntry
from kontor.domain.market import Candles, Market, Ticker
from kontor.domain.order import Order, OrderEvent, OrderReport, OrderState
from kontor.domain.outside import OutsideMove, Transfer
from kontor.domain.ranges import Range
from kontor.domain.snapshot import Snapshot
from kontor.domain.venue_profile import VenueProfile
from kontor.errors import ExchangeError


class Clock(Protocol):
    """Time: the wall clock in a desk, a virtual one in a replay."""

    def now(self) -> datetime:
        """The current moment, aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait in this clock's time."""
        ...


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """How to reach one account at one exchange; secrets stay out of its text form."""

    exchange_id: str
    account: str
    api_key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    sandbox: bool = False
    # paper or live, as alerts and status say it.
    mode: str = "paper"
    # Somebody has said in words that a live key may withdraw.
    may_withdraw: bool = False
    # Other addresses than the exchange's own, as ccxt's `urls.api` takes them: {"rest": ..., "ws": ...}.
    urls: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    capital_currency: str = "USD"
    request_timeout: timedelta = timedelta(seconds=10)
    # Requests a second this process may spend; None takes the exchange's own figure.
    requests_per_second: float | None = None


class Exchange(Protocol):
    """One account at one venue. Quantities are base currency; errors are those of `kontor.errors`."""

    @property
    def profile(self) -> VenueProfile:
        """What this venue can do."""
        ...

    async def load_markets(self, *, reload: bool = False) -> Mapping[str, Market]: ...

    async def fetch_tickers(self, symbols: Collection[str] | None = None) -> Mapping[str, Ticker]: ...

    async def fetch_candles(
        self, symbol: str, timeframe: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Candles:
        """Finished candles, oldest first, at most `limit`; pages through the venue's own maximum."""
        ...

    async def fetch_balance(self) -> Balance: ...

    async def fetch_positions(self) -> Sequence[Position]: ...

    async def fetch_open_orders(self, symbol: str | None = None) -> Sequence[OrderReport]: ...

    async def fetch_order(
        self,
        symbol: str,
        *,
        client_order_id: str | None = None,
        venue_order_id: str | None = None,
        stop: bool = False,
    ) -> OrderReport:
        """One order by either id; raises OrderNotFound when the venue says it has none.

        `stop` for one that rests until its trigger; once triggered, the report bears the id of the order it became.
        """
        ...

    async def fetch_fills(
        self, symbol: str | None = None, *, venue_order_id: str | None = None, since: datetime | None = None
    ) -> Sequence[Fill]: ...

    async def fetch_transfers(self, since: datetime) -> Sequence[Transfer]:
        """Money that came or left by anything but trading, oldest first; NotSupported where no venue list tells."""
        ...

    async def fetch_bills(self, since: datetime) -> Sequence[Bill]:
        """Every movement of the account's money since then, oldest first; NotSupported where no venue list tells."""
        ...

    async def create_order(self, order: Order) -> OrderReport:
        """Send one order once, never retried here; the error raised says whether it may be sent again."""
        ...

    async def create_orders(self, orders: Sequence[Order]) -> Sequence[OrderReport | ExchangeError]:
        """Send several at once where the venue can; one result per order, in order, errors as values."""
        ...

    async def cancel_order(
        self,
        symbol: str,
        *,
        client_order_id: str | None = None,
        venue_order_id: str | None = None,
        stop: bool = False,
    ) -> None:
        """Ask for a cancel; OrderNotFound means it is gone, perhaps filled: look it up."""
        ...

    async def cancel_all_after(self, seconds: float) -> None:
        """The dead man's switch: the venue cancels every order unless this is called again in time; 0 disarms it."""
        ...

    async def set_leverage(self, symbol: str, leverage: Decimal) -> None: ...

    async def fetch_time(self) -> datetime: ...

    async def call(self, method: str, *args: Any) -> Any:
        """Any unified read of the exchange by its snake_case name (`fetch_funding_rates`), guarded like the others."""
        ...

    async def close(self) -> None: ...


class Streams(Protocol):
    """Live data of one account at one venue, over connections that are made on first use and again when they break.

    Each reader waits at most `seconds` and returns what is new since it was called last, nothing included. It raises
    StreamBroken when a connection was lost, and connects again on the next call. `breaks` goes up with every gap in
    what was heard: whoever relies on having heard everything reconciles by REST then.
    """

    @property
    def channels(self) -> frozenset[str]:
        """What this venue streams, out of tickers, candles, trades, orders, fills, positions, balance."""
        ...

    @property
    def breaks(self) -> int:
        """How many gaps there have been so far."""
        ...

    def is_live(self, channel: str) -> bool:
        """The channel is subscribed, and every connection in use is up and has been heard lately."""
        ...

    async def tickers(self, symbols: Collection[str], *, seconds: float) -> Mapping[str, Ticker]:
        """The newest ticker of each symbol that has changed; other symbols than last time are subscribed or dropped."""
        ...

    async def candles(self, symbols: Collection[str], timeframe: str, *, seconds: float) -> Mapping[str, Candles]:
        """Candles that have finished."""
        ...

    async def trades(self, symbols: Collection[str], *, seconds: float) -> Mapping[str, Ticker]:
        """The price and time of each symbol's newest public trade."""
        ...

    async def orders(self, *, seconds: float) -> Sequence[OrderReport]: ...

    async def fills(self, *, seconds: float) -> Sequence[Fill]: ...

    async def positions(self, *, seconds: float) -> Mapping[str, tuple[Position, ...]]:
        """The open positions of each symbol whose positions have changed; none when it is flat now."""
        ...

    async def balance(self, *, seconds: float) -> Balance | None: ...

    def drop_silent(self, limit: float) -> int:
        """Break connections on which nothing was heard for `limit` seconds; returns how many."""
        ...

    async def close(self) -> None: ...


class MarketStore(Protocol):
    """Markets, watchlist, tickers, candles and ranges of one account's venue."""

    async def save_markets(self, account: str, markets: Mapping[str, Market], at: datetime) -> None: ...

    async def markets(self, account: str) -> Mapping[str, Market]: ...

    async def save_watchlist(self, account: str, symbols: Sequence[str], at: datetime) -> None: ...

    async def watchlist(self, account: str) -> Snapshot[tuple[str, ...]] | None: ...

    async def save_tickers(self, account: str, tickers: Collection[Ticker], at: datetime) -> None:
        """Keep the newest; a ticker without a last price, or older than the stored one, leaves price and time alone."""
        ...

    async def tickers(self, account: str, symbols: Collection[str] | None = None) -> Mapping[str, Ticker]: ...

    async def save_candles(self, account: str, timeframe: str, candles: Mapping[str, Candles]) -> None:
        """Insert or replace by symbol and open time, one statement per batch."""
        ...

    async def candles(
        self, account: str, timeframe: str, symbols: Collection[str], *, limit: int = 1000
    ) -> Mapping[str, Candles]:
        """The newest `limit` candles of each symbol, oldest first; a symbol without any is left out."""
        ...

    async def last_candle_at(self, account: str, timeframe: str) -> Mapping[str, datetime]:
        """Open time of the newest stored candle per symbol."""
        ...

    async def prune_candles(self, account: str, timeframe: str, *, keep: int) -> int:
        """Drop all but the newest `keep` candles per symbol; returns how many rows went."""
        ...

    async def save_ranges(self, account: str, ranges: Collection[Range]) -> None: ...

    async def ranges(self, account: str) -> Mapping[str, Range]: ...


class AccountStore(Protocol):
    """Balances and their history, positions and the live snapshot of open orders."""

    async def save_balance(self, account: str, balance: Balance) -> None:
        """Store it, append it to the history; the first total ever above zero becomes the initial capital."""
        ...

    async def balance(self, account: str) -> Balance | None: ...

    async def initial_capital(self, account: str) -> Decimal | None: ...

    async def balance_history(self, account: str, *, since: datetime | None = None) -> Sequence[Snapshot[Decimal]]:
        """Totals over time, oldest first."""
        ...

    async def prune_balances(self, account: str, *, before: datetime) -> int: ...

    async def save_positions(self, account: str, positions: Sequence[Position], at: datetime) -> None: ...

    async def positions(self, account: str) -> Snapshot[tuple[Position, ...]] | None: ...

    async def save_open_orders(self, account: str, orders: Sequence[OrderReport], at: datetime) -> None: ...

    async def open_orders(self, account: str) -> Snapshot[tuple[OrderReport, ...]] | None: ...

    async def settle(
        self,
        account: str,
        moves: Sequence[OutsideMove],
        name: str,
        baseline: Any,
        at: datetime,
        *,
        since: datetime | None,
    ) -> Sequence[OutsideMove] | None:
        """Book moves from outside and set the attribute `name` to the holdings they lead to, in one transaction.

        Returns the moves whose source had not been booked yet. None, and nothing is written, when the attribute is not
        the one of `since` (None: not set) any more: somebody else has compared meanwhile.
        """
        ...

    async def book(self, account: str, entries: Sequence[LedgerEntry]) -> Sequence[LedgerEntry]:
        """Commit ledger entries by their source; returns those that were new. One booked before stays as it is."""
        ...

    async def ledger(
        self, account: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> Sequence[LedgerEntry]:
        """The ledger's entries from `since` up to before `until`, oldest first."""
        ...

    async def outside_moves(
        self, account: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Sequence[OutsideMove]:
        """Booked moves, oldest first; of more than `limit` the newest."""
        ...


@dataclass(frozen=True, slots=True)
class DueOrders:
    """What an executor looks at, as of one moment."""

    # As `OrderQueue.pending` has them.
    pending: Sequence[Order] = ()
    # Sent, or about to be, and not yet answered for.
    submitted: Sequence[Order] = ()
    # Live at the venue, and somebody has asked for their cancel.
    to_cancel: Sequence[Order] = ()


@dataclass(frozen=True, slots=True)
class HistoryMark:
    """A place in the history of an account: the numbers of the last event and the last fill that were seen."""

    event: int = 0
    fill: int = 0


@dataclass(frozen=True, slots=True)
class News:
    """A piece of history: events with their orders as they are now, fills, and where to read on."""

    events: Sequence[tuple[OrderEvent, Order]]
    fills: Sequence[Fill]
    mark: HistoryMark


class OrderQueue(Protocol):
    """Every order ever wanted, its history and fills; the queue is the orders that are INITIALIZED."""

    async def enqueue(self, orders: Sequence[Order], actor: str) -> Sequence[Order]:
        """Commit new orders; one whose client_order_id is known is returned as stored and changes nothing."""
        ...

    async def pending(self, account: str, *, limit: int = 100) -> Sequence[Order]:
        """INITIALIZED orders by priority and age, at most the first one per symbol; those with a SUBMITTED order of
        unknown outcome ahead on their symbol wait.
        """
        ...

    async def due(self, account: str, *, limit: int = 100) -> DueOrders:
        """Everything an executor has to look at, in one consistent reading: it is on every order's way."""
        ...

    async def record(
        self,
        changes: Sequence[tuple[Order, Order]],
        *,
        actor: str,
        at: datetime,
        detail: str = "",
        fencing: int | None = None,
    ) -> Sequence[bool]:
        """Commit (old, new) pairs with their events in one transaction.

        Optimistic: a pair whose stored row no longer equals `old` in state, filled quantity, attempts, unknown_since
        and cancel_requested_at is left alone and answered False: read again and decide again. With `fencing`, raises
        LeaseLost and writes nothing when the lease `executor:{account}` has a newer number.
        """
        ...

    async def request_cancel(self, client_order_ids: Sequence[str], *, actor: str, at: datetime) -> Sequence[Order]:
        """Durably ask for cancels: one never sent becomes CANCELED at once, a live one gets cancel_requested_at."""
        ...

    async def get(self, client_order_id: str) -> Order | None: ...

    async def find(
        self,
        account: str,
        *,
        states: Collection[OrderState] | None = None,
        symbol: str | None = None,
        since: datetime | None = None,
        cancel_requested: bool = False,
        limit: int = 1000,
    ) -> Sequence[Order]:
        """Orders, newest first; with `cancel_requested` only those whose cancel somebody has asked for."""
        ...

    async def by_venue_order_id(
        self, account: str, venue_order_ids: Collection[str]
    ) -> Mapping[tuple[str, str], Order]:
        """Orders by symbol and the venue's id: some venues number the orders of each market anew."""
        ...

    async def counts(self, account: str) -> Mapping[OrderState, int]: ...

    async def events(self, client_order_id: str) -> Sequence[OrderEvent]: ...

    async def save_fills(self, account: str, fills: Sequence[Fill]) -> Sequence[Fill]:
        """Commit fills by trade id; returns those that were new. A fill seen twice counts once."""
        ...

    async def fills(
        self, account: str, *, client_order_id: str | None = None, since: datetime | None = None, limit: int = 1000
    ) -> Sequence[Fill]: ...

    async def strategy_fills(self, account: str, *, since: datetime | None = None) -> Sequence[tuple[str, Fill]]:
        """Every fill (since a moment) of an order that a strategy placed, with the strategy's name, oldest first."""
        ...

    async def count_strategy_fills(self, account: str) -> int:
        """How many fills `strategy_fills` has without `since`; cheap."""
        ...

    async def short_of_fills(self, account: str, *, limit: int = 100) -> Sequence[Order]:
        """Orders whose recorded fills sum to less than their filled quantity, oldest first."""
        ...

    async def history_end(self, account: str) -> HistoryMark:
        """Where the history of orders and fills ends now: whoever follows it from here hears of nothing before."""
        ...

    async def news(self, account: str, since: HistoryMark, *, limit: int = 200) -> News:
        """What was committed after `since`, each once, oldest first; at most `limit` events and as many fills."""
        ...

    async def wait_for_change(self, account: str, *, seconds: float) -> bool:
        """True as soon as any process has committed an order, cancel request or fill; False after `seconds`."""
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """A right that one owner holds until it lapses; a later holder always has a higher fencing number."""

    name: str
    owner: str
    fencing: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What an updater last reported."""

    updater: str
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_error: str | None
    duration: timedelta | None


class DeskState(Protocol):
    """Named attributes, heartbeats and leases: what the processes of a desk tell one another."""

    async def set_attribute(self, account: str, name: str, value: Any, at: datetime, *, merge: bool = False) -> None:
        """Store a JSON value under a name; with `merge`, update an object key by key in one transaction."""
        ...

    async def attribute(self, account: str, name: str) -> Snapshot[Any] | None: ...

    async def attributes(self, account: str) -> Mapping[str, Snapshot[Any]]: ...

    async def increment(self, account: str, name: str, at: datetime) -> int:
        """Add one to a counter attribute and return it."""
        ...

    async def beat(
        self, account: str, updater: str, at: datetime, *, error: str | None = None, duration: timedelta | None = None
    ) -> None:
        """Report a success, or with `error` a failure, which leaves the last success alone."""
        ...

    async def heartbeats(self, account: str) -> Mapping[str, Heartbeat]: ...

    async def acquire_lease(self, name: str, owner: str, ttl: timedelta, now: datetime) -> Lease | None:
        """The lease, if free, lapsed or already this owner's (same fencing number then); None while it is held."""
        ...

    async def renew_lease(self, lease: Lease, ttl: timedelta, now: datetime) -> Lease:
        """The lease, longer; raises LeaseLost when it lapsed or somebody else has it."""
        ...

    async def release_lease(self, lease: Lease) -> None: ...

    async def lease(self, name: str) -> Lease | None:
        """Who holds it now, or held it last."""
        ...

    async def desk_prefix(self) -> str:
        """Four lower-case characters that mark this desk's client order ids; made once, travels with a backup."""
        ...


class Store(Protocol):
    """The durable store of one desk."""

    @property
    def market(self) -> MarketStore: ...

    @property
    def account(self) -> AccountStore: ...

    @property
    def orders(self) -> OrderQueue: ...

    @property
    def desk(self) -> DeskState: ...

    async def migrate(self) -> None:
        """Bring the schema up to date; safe to call from several processes at once."""
        ...

    async def close(self) -> None: ...


class Notifier(Protocol):
    """Takes alerts without ever making its caller wait or fail."""

    def notify(self, alert: "Alert") -> None: ...

    async def drain(self, *, seconds: float) -> int:
        """Deliver what is queued, for at most `seconds`; returns how many alerts were left."""
        ...


@dataclass(frozen=True, slots=True)
class Alert:
    """Something a person should know. `severity` is info, warning or critical; `fields` become an embed's fields."""

    title: str
    text: str
    severity: str
    at: datetime
    account: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    url: str | None = None
    # buy or sell for trade alerts: it decides the colour.
    side: str | None = None
    # What happened, in dotted words, for filters and automations: order.filled, flow.failed, updater.down.
    event: str = ""
    # Alerts of one group are news of one thing: while it flaps, the latest of them speaks for all.
    group: str = ""
