"""The port to a venue: one account at one exchange, asked and told by REST."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.ledger import Bill
from kontor.domain.market import Candles, Market, Ticker
from kontor.domain.order import Order, OrderReport
from kontor.domain.outside import Transfer
from kontor.domain.venue_profile import VenueProfile
from kontor.errors import ExchangeError


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
    # Requests a second that all processes of the account may spend together; None takes the exchange's own figure.
    requests_per_second: float | None = None

    @property
    def stakes(self) -> str:
        """What is traded with there: `paper`, `sandbox` (the exchange's own test venue) or `live`, real money."""
        return "sandbox" if self.sandbox else self.mode


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

    async def fetch_bills(self, since: datetime, until: datetime | None = None) -> Sequence[Bill]:
        """Every movement of the account's money from `since` on, up to `until`, oldest first.

        Raises NotSupported where no venue list tells, and Incomplete when there are more than can be fetched: ask for
        a shorter time.
        """
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
