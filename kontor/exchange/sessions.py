"""One exchange per account and process, opened on first use and replaced without anybody noticing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from kontor.errors import KontorError
from kontor.exchange.breakers import Breakers
from kontor.exchange.key_permissions import require_no_withdrawals
from kontor.exchange.session import Session, SharedClient
from kontor.ports import Clock, Exchange, ExchangeSettings
from kontor.resilience.circuit_breaker import BreakerStatus
from kontor.resilience.rate_budget import RateBudget

logger = logging.getLogger(__name__)

# After a replacement that failed, ordinary callers use what they have for this many seconds before the next try.
RETRY_SECONDS = 30.0
# (settings, exchanges whose markets may be shared) -> an exchange that has sent nothing yet.
Opener = Callable[[ExchangeSettings, Sequence[Exchange]], Exchange]
# (account, how one of its breakers stands now)
OnBreaker = Callable[[str, BreakerStatus], None]
# (account, its rate budget): awaited before the first request, so that the budget can get its share of the limit.
Admission = Callable[[str, RateBudget], Awaitable[None]]


class SessionPool:
    """The sessions of a process, by account; belongs to one event loop.

    A session's client is replaced when `get` brings a higher generation or other settings (a rotated key): the new one
    is opened and has its markets before it takes over, and the old one is closed when its last call has ended.
    Circuit breakers and rate budget are the account's, whichever client it has.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        opener: Opener | None = None,
        on_breaker: OnBreaker | None = None,
        admit: Admission | None = None,
    ) -> None:
        self._clock, self._on_breaker, self._admit = clock, on_breaker, admit
        self._budgets: dict[tuple[str, str], RateBudget] = {}
        self._breakers: dict[tuple[str, str], Breakers] = {}
        self._open = opener or self._open_from_ccxt
        self._sessions: dict[str, Session] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._retry_at: dict[str, float] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    async def get(self, settings: ExchangeSettings, generation: int = 0) -> Session:
        """The account's session, as new as `generation` and `settings` ask for.

        One caller opens what is new, the others go on with what is there. A replacement that fails is logged and the
        old client stays; only the very first opening raises.
        """
        session = self._sessions.get(settings.account)
        if session is not None and (session.serves(settings, generation) or self._is_busy(settings.account)):
            return session
        async with self._lock(settings.account):
            session = self._sessions.get(settings.account)
            if session is not None and session.serves(settings, generation):
                return session
            if session is None:
                return await self._replace(settings, generation)
            try:
                return await self._replace(settings, generation)
            except KontorError as error:
                self._retry_at[settings.account] = self._clock.monotonic() + RETRY_SECONDS
                logger.warning(
                    "exchange_not_replaced account=%s generation=%s error=%s", settings.account, generation, error
                )
                return session

    async def restart(self, settings: ExchangeSettings, generation: int) -> Session:
        """The session on a new client, whatever it has now; raises, and keeps the old one, when that fails."""
        async with self._lock(settings.account):
            return await self._replace(settings, generation)

    def breakers(self, account: str, exchange_id: str) -> Breakers:
        """The account's circuit breakers; they outlive the clients, and know how the venue has been."""
        key = account, exchange_id
        if key not in self._breakers:
            tell = self._on_breaker
            self._breakers[key] = Breakers(
                exchange_id,
                clock=self._clock,
                on_change=None if tell is None else lambda status: tell(account, status),
            )
        return self._breakers[key]

    @property
    def opened(self) -> Mapping[str, Session]:
        """The session of each account that has one now."""
        return self._sessions

    def statuses(self, account: str) -> list[BreakerStatus]:
        """How each of the account's breakers stands."""
        return [each for (owner, _), some in self._breakers.items() if owner == account for each in some.statuses]

    def reset_breakers(self, account: str) -> None:
        """Close the account's breakers."""
        for (owner, _), breakers in self._breakers.items():
            if owner == account:
                breakers.reset()

    async def close(self) -> None:
        """Close every client once its last call has ended; safe to call twice."""
        for session in self._sessions.values():
            self._retire(session.client)
        self._sessions.clear()
        while self._retiring:
            await asyncio.gather(*self._retiring, return_exceptions=True)

    async def _replace(self, settings: ExchangeSettings, generation: int) -> Session:
        """Open, load the markets, then swap."""
        account = settings.account
        session = self._sessions.get(account)
        # A second account shares the markets of the first; a replacement exists to get new ones.
        donors = [] if session is not None else [other.client.exchange for other in self._sessions.values()]
        exchange = self._open(settings, donors)
        try:
            budget = self._budgets.get((account, settings.exchange_id))
            if self._admit is not None and budget is not None:
                await self._admit(account, budget)
            await exchange.load_markets()
            await require_no_withdrawals(exchange, settings)
        except BaseException:
            await exchange.close()
            raise
        client = SharedClient(exchange, settings, generation)
        self._retry_at.pop(account, None)
        if session is None:
            session = self._sessions[account] = Session(client)
        else:
            self._retire(session.swap(client))
        logger.info("exchange_opened account=%s exchange=%s generation=%s", account, settings.exchange_id, generation)
        return session

    def _retire(self, client: SharedClient) -> None:
        task = asyncio.create_task(client.retire(), name=f"retire exchange {client.settings.account}")
        self._retiring.add(task)
        task.add_done_callback(self._retired)

    def _retired(self, task: asyncio.Task[None]) -> None:
        self._retiring.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("exchange_not_closed task=%s error=%r", task.get_name(), error)

    def _lock(self, account: str) -> asyncio.Lock:
        return self._locks.setdefault(account, asyncio.Lock())

    def _is_busy(self, account: str) -> bool:
        """Somebody opens a new client right now, or failed to a moment ago."""
        return self._lock(account).locked() or self._clock.monotonic() < self._retry_at.get(account, 0.0)

    def _open_from_ccxt(self, settings: ExchangeSettings, donors: Sequence[Exchange]) -> Exchange:
        # ccxt takes half a second and 100 MB: only a process that reaches an exchange pays for it.
        from kontor.exchange.opening import budget_of, open_exchange, share_markets

        key = settings.account, settings.exchange_id
        known = self._budgets.get(key)
        exchange = open_exchange(settings, clock=self._clock, breakers=self.breakers(*key), budget=known)
        if known is None and (made := budget_of(exchange)) is not None:
            self._budgets[key] = made
        any(share_markets(exchange, donor) for donor in donors)
        return exchange
