"""What the runs of one process share: store, exchange sessions, settings; one set per event loop."""

import asyncio
import logging
import os
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar
from weakref import WeakKeyDictionary

import httpx
from prefect.exceptions import PrefectException

from blocks.exchange_account import ExchangeAccount
from blocks.loading import load_block
from blocks.state_store import StateStore
from kontor.config import KontorConfig, load_config
from kontor.desk import close_gate, note_stakes, require_accepted
from kontor.errors import ConfigError
from kontor.exchange.sessions import SessionPool
from kontor.ports import Exchange, ExchangeSettings, Store
from kontor.resilience.circuit_breaker import BreakerStatus
from kontor.resilience.clock import SystemClock
from kontor.resilience.connection_gate import ConnectionGate
from kontor.store import open_store
from kontor.strategies.hosts import IsolatingHost
from tasks import KEEP_OPEN
from tasks.breakers import BreakerReporter
from tasks.budgets import BudgetKeepers

logger = logging.getLogger(__name__)

CONFIG_VARIABLE = "KONTOR_CONFIG"
# What the client of Prefect's API raises when it cannot do what it was asked for.
API_ERRORS = (httpx.HTTPError, PrefectException)
# An edited block takes effect within this many seconds, without a restart.
BLOCK_SECONDS = 30.0


@dataclass
class Resources:
    """The shared store and sessions of one event loop, opened on first use."""

    clock: SystemClock = field(default_factory=SystemClock)
    users: int = 0
    _sessions: SessionPool | None = None
    _reporter: BreakerReporter | None = None
    # By account, exchange and stream, what it connects through: a restarted stream must know what was opened before.
    _gates: dict[tuple[str, str, str], ConnectionGate] = field(default_factory=dict)
    # By account, the newest wish to close its breakers that this process has carried out.
    _resets: dict[str, int] = field(default_factory=dict)
    _budgets: BudgetKeepers | None = None
    # By account, with what it trades, as this process has noted it.
    _stakes: dict[str, str] = field(default_factory=dict)
    _stores: dict[str, Store] = field(default_factory=dict)
    _settings: dict[str, tuple[float, ExchangeSettings]] = field(default_factory=dict)
    _store_url: tuple[float, str] | None = None
    _config: tuple[Path, tuple[int, ...], KontorConfig] | None = None
    _configs: dict[str, KontorConfig] = field(default_factory=dict)
    _strategies: IsolatingHost | None = None
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _by_loop: ClassVar["WeakKeyDictionary[asyncio.AbstractEventLoop, Resources]"] = WeakKeyDictionary()

    @classmethod
    def here(cls) -> "Resources":
        """The resources of the running event loop."""
        return cls._by_loop.setdefault(asyncio.get_running_loop(), cls())

    @property
    def sessions(self) -> SessionPool:
        """The exchange sessions of this loop."""
        if self._sessions is None:
            self._budgets = BudgetKeepers(self.store, self.clock)
            self._sessions = SessionPool(clock=self.clock, on_breaker=self.breaker_changed, admit=self._budgets.admit)
        return self._sessions

    @property
    def opened(self) -> SessionPool | None:
        """The sessions if any has been opened: whoever only looks opens none."""
        return self._sessions

    @property
    def strategies(self) -> IsolatingHost:
        """Where the strategies of this loop decide."""
        if self._strategies is None:
            self._strategies = IsolatingHost()
        return self._strategies

    def config(self, account: str | None = None) -> KontorConfig:
        """kontor.yaml, with what is different for an account if one is named; read again when the file has changed."""
        path = config_path()
        if self._config is None or self._config[:2] != (path, _stamp(path)):
            # The stamp of before reading: an edit while it is read makes the next run read again.
            stamp = _stamp(path)
            self._config = (path, stamp, load_config(path))
            self._configs.clear()
        if account is None:
            return self._config[2]
        if account not in self._configs:
            self._configs[account] = self._config[2].of(account)
        return self._configs[account]

    async def store(self) -> Store:
        """The desk's store, from the block `default`, its schema brought up to date on first use."""
        async with self._opening:
            now = time.monotonic()
            if self._store_url is None or now - self._store_url[0] > BLOCK_SECONDS:
                self._store_url = (now, await self._current_url())
            url = self._store_url[1]
            if url not in self._stores:
                store = open_store(url)
                await store.migrate()
                self._stores[url] = store
            return self._stores[url]

    async def _current_url(self) -> str:
        """Where the store is; while Prefect's API is away, where it was: who works on needs it most then."""
        try:
            return (await load_block(StateStore, "default")).url.get_secret_value()
        except API_ERRORS as error:
            if self._store_url is None:
                raise
            logger.warning("block_not_read block=state-store/default error=%r", error)
            return self._store_url[1]

    async def settings(self, account: str) -> ExchangeSettings:
        """How to reach an account, from its ExchangeAccount block; as it was while Prefect's API is away."""
        now = time.monotonic()
        known = self._settings.get(account)
        if known is None or now - known[0] > BLOCK_SECONDS:
            try:
                settings = (await load_block(ExchangeAccount, account)).to_settings(account)
            except API_ERRORS as error:
                if known is None:
                    raise
                logger.warning("block_not_read block=exchange-account/%s error=%r", account, error)
                settings = known[1]
            known = self._settings[account] = (now, settings)
        return known[1]

    async def exchange(self, account: str, generation: int) -> Exchange:
        """The account's session of that generation; an older one goes on until its last call has ended.

        Raises ConfigError for an account with real money that nobody has accepted by name: its block may have been
        turned to live a moment ago, with the gate open.
        """
        session = await self.sessions.get(await self.accepted_settings(account), generation)
        await self._note(session.settings)
        return session

    async def restart_exchange(self, account: str, generation: int) -> None:
        """The account's session on a new client; raises, and keeps the old one, when that fails."""
        session = await self.sessions.restart(await self.accepted_settings(account), generation)
        await self._note(session.settings)

    async def _note(self, settings: ExchangeSettings) -> None:
        """What really is reached: an edited block whose client cannot be opened is not."""
        if self._stakes.get(settings.account) != settings.stakes:
            await note_stakes((await self.store()).desk, settings, self.clock.now())
            self._stakes[settings.account] = settings.stakes

    async def accepted_settings(self, account: str) -> ExchangeSettings:
        """How to reach an account with which this desk may trade.

        One that it may not has its gate closed: once accepted it is initialized like a new one, and until then its
        flows wait, after this one has failed.
        """
        settings, store = await self.settings(account), await self.store()
        try:
            await require_accepted(store.desk, settings)
        except ConfigError:
            await close_gate(store.desk, account, self.clock.now())
            raise
        return settings

    def reset_breakers(self, account: str, number: int) -> None:
        """Close the account's breakers if somebody has asked for it since this process did so last."""
        if number > self._resets.setdefault(account, number):
            self._resets[account] = number
            self.sessions.reset_breakers(account)
            for (owner, *_), gate in self._gates.items():
                if owner == account:
                    gate.reset()

    def gate(self, account: str, exchange_id: str, stream: str, limit: int) -> ConnectionGate:
        """What a stream of the account connects through, `limit` times within 10 minutes; the same for each run."""
        key = account, exchange_id, stream
        if key not in self._gates:
            self._gates[key] = ConnectionGate(
                f"{exchange_id} {stream}", clock=self.clock, on_change=partial(self.breaker_changed, account)
            )
        gate = self._gates[key]
        gate.budget.limit = limit
        return gate

    def breaker_changed(self, account: str, status: BreakerStatus) -> None:
        """Tell store and Prefect how one of the account's breakers stands now, without making anybody wait."""
        self.reporter.changed(account, status)

    @property
    def reporter(self) -> BreakerReporter:
        """Who tells of the breakers of this loop."""
        if self._reporter is None:
            self._reporter = BreakerReporter(self.store)
        return self._reporter

    def enter(self) -> None:
        """Count one run in."""
        self.users += 1

    async def leave(self) -> None:
        """Count one run out; the last one closes everything, unless the process keeps sessions open for the next."""
        self.users -= 1
        if self.users == 0 and not os.environ.get(KEEP_OPEN):
            await self.close()

    async def close(self) -> None:
        """Close sessions and stores; the next run opens them again."""
        if self._reporter is not None:
            # It writes to the store that is closed next, and hears no more of sessions that are being closed.
            await self._reporter.close()
        sessions, self._sessions = self._sessions, None
        budgets, self._budgets = self._budgets, None
        strategies, self._strategies = self._strategies, None
        stores, self._stores = self._stores, {}
        self._store_url = None
        self._settings.clear()
        self._stakes.clear()
        if strategies is not None:
            await strategies.close()
        if sessions is not None:
            await sessions.close()
        if budgets is not None:
            await budgets.close()
        self._reporter = None
        for store in stores.values():
            await store.close()


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes with every edit, also with two in one tick of the clock, or one that is moved into place."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def config_path() -> Path:
    """kontor.yaml: where KONTOR_CONFIG says, else in the working directory, else beside the installed packages."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    here = Path("kontor.yaml")
    return here if here.exists() else Path(__file__).resolve().parent.parent / "kontor.yaml"
