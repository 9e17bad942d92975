"""The way to one account at one venue: its client, its markets, its clock, and every error in our words."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from kontor.domain.market import Market
from kontor.errors import ClockSkewed, ConfigError, ExchangeError, NotPlaced, RateLimited
from kontor.exchange.capabilities import venue_profile
from kontor.exchange.client import create_client
from kontor.exchange.error_table import Asked, translate
from kontor.exchange.markets import parse_markets, unknown_symbol
from kontor.exchange.venues import venue_of
from kontor.exchange.wire import Call, calling
from kontor.ports import Clock, ExchangeSettings
from kontor.resilience.rate_budget import Priority, RateBudget

logger = logging.getLogger(__name__)

# After a rate limit without a Retry-After everybody of this account waits this long.
DEFAULT_PAUSE = timedelta(seconds=1)
# A measured difference to the venue's clock is believed this long.
OFFSET_SECONDS = 60.0
# How long a symbol that was no market here is not looked for again, and how long no other one is.
LOOK_AGAIN_SECONDS, LOOK_SECONDS = 60.0, 5.0
PRIORITY = {
    Asked.READ: Priority.MARKET_DATA,
    Asked.LOOKUP: Priority.ACCOUNT,
    Asked.CREATE: Priority.CREATE,
    Asked.CANCEL: Priority.CANCEL,
}


class Connection:
    """A ccxt client with what belongs to it. Markets of another connection to the same venue may be shared."""

    def __init__(
        self, settings: ExchangeSettings, clock: Clock, *mixins: type, budget: RateBudget | None = None
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.venue = venue_of(settings.exchange_id)
        self.client: Any = create_client(settings, self.venue, clock, *mixins, budget=budget)
        self.profile = venue_profile(self.client, self.venue)
        self.markets: Mapping[str, Market] = {}
        self._loading = asyncio.Lock()
        # What was no market here when that was looked up last.
        self._looking, self._looked_at, self._unknown = asyncio.Lock(), float("-inf"), frozenset[str]()
        # How far the venue's clock is ahead of ours, and when that was measured.
        self.offset = timedelta(0)
        self.offset_at: float | None = None
        self._is_skewed = False

    @property
    def budget(self) -> RateBudget:
        """What each request of the client takes its tokens from."""
        return self.client.kontor_budget

    async def ask(
        self,
        operation: str,
        request: Callable[[], Awaitable[Any]],
        *,
        asked: Asked = Asked.READ,
        priority: Priority | None = None,
    ) -> Any:
        """The answer to one request, its failures in our words; a cancellation passes through as it is."""
        with calling(PRIORITY[asked] if priority is None else priority) as call:
            try:
                await self._resynchronize()
                return await request()
            except Exception as error:  # noqa: BLE001 - whatever ccxt raises has a meaning in the table
                raise self.explain(error, asked, operation, call) from None

    def explain(self, error: Exception, asked: Asked, operation: str, call: Call | None = None) -> ExchangeError:
        """The error in our words; a rate limit makes everybody of this account wait."""
        where = f"{self.settings.exchange_id} {operation}"
        secrets = (self.settings.api_key, self.settings.secret, self.settings.password)
        found = translate(error, asked, where, self.venue, secrets=secrets, call=call)
        if isinstance(found, ClockSkewed) or type(found) is NotPlaced:
            # An expiry that had passed on arrival tells of the clock as well.
            self._is_skewed = True
        elif isinstance(found, RateLimited):
            self.budget.pause((found.retry_after or DEFAULT_PAUSE).total_seconds())
        return found

    async def load_markets(self, *, reload: bool = False) -> Mapping[str, Market]:
        """The venue's markets, from the venue when there are none yet or `reload` asks for it."""
        if self.markets and not reload:
            return self.markets
        # One at a time: ccxt shares one task among all who load, and a caller that is canceled would cancel it for all.
        async with self._loading:
            if reload or not self.markets:
                raw = await self.ask("load_markets", lambda: self.client.load_markets(reload))
                self.markets = parse_markets(raw, self.client.precisionMode)
                self._check_capital_currency()
                await self.venue_now()
        return self.markets

    def share_markets(self, other: "Connection") -> None:
        """Use the markets another connection to the same venue has loaded."""
        self.client.set_markets_from_exchange(other.client)
        self.markets = other.markets
        self.offset, self.offset_at = other.offset, other.offset_at
        self._check_capital_currency()

    async def market(self, symbol: str) -> Market:
        """One market; raises Rejected, with the nearest symbol, when there is none to trade."""
        markets = await self.load_markets()
        if symbol not in markets:
            markets = await self.look_for((symbol,))
        if symbol in markets:
            return markets[symbol]
        raw = (self.client.markets or {}).get(symbol)
        raise unknown_symbol(symbol, self.settings.exchange_id, raw, markets)

    async def look_for(self, symbols: Iterable[str]) -> Mapping[str, Market]:
        """The markets, loaded anew for symbols the venue may have listed since; once a minute for the same ones."""
        async with self._looking:
            unknown, now = frozenset(symbols) - (self.client.markets or {}).keys(), self.clock.monotonic()
            age = now - self._looked_at
            if not unknown or age < LOOK_SECONDS or (age < LOOK_AGAIN_SECONDS and unknown <= self._unknown):
                return self.markets
            self._looked_at = now
            self._unknown = unknown if age >= LOOK_AGAIN_SECONDS else self._unknown | unknown
            where, named = self.settings.exchange_id, ",".join(sorted(unknown))
            try:
                markets = await self.load_markets(reload=True)
            except ExchangeError as error:
                logger.warning("markets_not_reloaded exchange=%s unknown=%s error=%s", where, named, error)
                return self.markets
            found = unknown & markets.keys()
            logger.info("markets_reloaded exchange=%s unknown=%s found=%s", where, named, ",".join(sorted(found)))
            return markets

    @property
    def offset_is_old(self) -> bool:
        """The venue's clock can be asked for, and has not been in the last minute."""
        age = None if self.offset_at is None else self.clock.monotonic() - self.offset_at
        return bool(self.client.has.get("fetchTime")) and (age is None or age > OFFSET_SECONDS)

    async def venue_now(self) -> datetime:
        """The moment by the venue's clock, as far as it could be measured in the last minute."""
        if self.offset_is_old:
            # Noted first: a venue that does not answer is not asked again by every caller.
            self.offset_at = self.clock.monotonic()
            try:
                await self.fetch_time()
            except ExchangeError as error:
                logger.warning("venue_time_unknown exchange=%s error=%s", self.settings.exchange_id, error)
        return self.clock.now() + self.offset

    async def fetch_time(self) -> datetime:
        """The venue's clock; the difference to ours is remembered."""
        began, began_at = self.clock.monotonic(), self.clock.now()
        stamp = await self.ask("fetch_time", self.client.fetch_time)
        answered = datetime.fromtimestamp(int(stamp) / 1000, began_at.tzinfo)
        round_trip = timedelta(seconds=self.clock.monotonic() - began)
        self.offset, self.offset_at = answered - (began_at + round_trip / 2), self.clock.monotonic()
        return answered

    async def close(self) -> None:
        """Close every socket; safe to call twice."""
        await self.client.close()

    async def _resynchronize(self) -> None:
        """After a refusal for our clock: measure the difference, which ccxt then adds to every timestamp it signs."""
        if not self._is_skewed or not self.client.has.get("fetchTime"):
            return
        self._is_skewed = False
        try:
            difference = await self.client.load_time_difference()
            self.offset, self.offset_at = -timedelta(milliseconds=difference), self.clock.monotonic()
        except Exception as error:  # noqa: BLE001 - the request goes out as it is, and says itself what is wrong
            self._is_skewed = True
            logger.warning(
                "clock_not_resynchronized exchange=%s error=%s", self.settings.exchange_id, type(error).__name__
            )
            return
        logger.warning("clock_resynchronized exchange=%s difference_ms=%s", self.settings.exchange_id, difference)

    def _check_capital_currency(self) -> None:
        currency = self.settings.capital_currency
        known = {code for market in self.markets.values() for code in (market.quote, market.settle, market.base)}
        if self.markets and currency not in known:
            raise ConfigError(
                f"{self.settings.exchange_id} trades nothing in {currency}; set capital_currency to the currency this "
                f"account is kept in, such as {_most_used(self.markets)}",
                where=f"account {self.settings.account}",
            )


def _most_used(markets: Mapping[str, Market]) -> str:
    quotes = [market.settle or market.quote for market in markets.values()]
    return max(set(quotes), key=quotes.count)
