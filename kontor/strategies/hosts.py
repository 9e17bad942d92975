"""Where strategies are made and decide: in a process of their own, in a thread, or here and now."""

import asyncio
import logging
import pickle
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kontor.config import StrategySettings
from kontor.errors import ConfigError, StrategyFailed
from kontor.strategies.child_process import ChildProcess
from kontor.strategies.protocol import Strategy
from kontor.strategies.registry import build, need_of
from kontor.strategies.source import Version, version_of
from kontor.strategies.thread_seats import ThreadSeats
from kontor.strategies.view import DataNeed, MarketView

log = logging.getLogger(__name__)

# A strategy that is wrong is not loaded again before so long, unless its file or settings have changed.
WRONG_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Hosted:
    """One strategy of one account: two accounts may have one of the same name."""

    account: str
    name: str
    settings: StrategySettings

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.account}/{self.name}"


class Host(Protocol):
    """Runs the code of strategies; whatever it does wrong comes out as StrategyFailed, in time."""

    async def need(self, who: Hosted, *, seconds: float) -> DataNeed:
        """What it needs to see; loads it where that is necessary. Raises ConfigError for wrong settings or code."""
        ...

    async def decide(self, who: Hosted, view: MarketView, *, seconds: float) -> object:
        """What the strategy returned, unchecked, within its own timeout and the seconds that the run has left."""
        ...

    async def keep_only(self, account: str, names: Collection[str]) -> None:
        """End those of an account that are not asked any more."""
        ...


class DirectHost:
    """Calls the strategy where it is: for replays, where nobody else waits."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[StrategySettings, Strategy[Any], DataNeed]] = {}

    async def need(self, who: Hosted, *, seconds: float) -> DataNeed:
        """What it needs to see."""
        del seconds
        made = self._made.get(who.key)
        if made is None or made[0] != who.settings:
            strategy = build(who.settings)
            made = self._made[who.key] = who.settings, strategy, need_of(strategy)
        return made[2]

    async def decide(self, who: Hosted, view: MarketView, *, seconds: float) -> object:
        """What the strategy returned, unchecked."""
        del seconds
        try:
            return self._made[who.key][1].decide(view)
        except Exception as error:
            raise StrategyFailed(f"{type(error).__name__}: {error}") from error

    async def keep_only(self, account: str, names: Collection[str]) -> None:
        """There is nothing to end."""


class IsolatingHost:
    """Makes and asks strategies in processes and threads, one each, kept from run to run. Close it in the end."""

    def __init__(self) -> None:
        self._children: dict[str, ChildProcess] = {}
        self._threads = ThreadSeats()
        self._wrong: dict[str, tuple[Version, float, ConfigError]] = {}

    async def need(self, who: Hosted, *, seconds: float) -> DataNeed:
        """What it needs to see; known since its process was started, until settings or file change."""
        if who.settings.isolation == "thread":
            return await self._threads.need(who.key, who.settings, seconds=seconds)
        child = await self._child(who, seconds)
        if child.need is None:
            raise StrategyFailed("its process is still being started by another run")
        return child.need

    async def decide(self, who: Hosted, view: MarketView, *, seconds: float) -> object:
        """What the strategy returned, unchecked."""
        limit = min(who.settings.timeout_seconds, seconds)
        if limit <= 0:
            raise StrategyFailed("the run had no time left for it; it is asked again in the next one")
        if who.settings.isolation == "thread":
            return await self._threads.decide(who.key, view, seconds=limit)
        child = await self._child(who, seconds)
        if child.asked == 0 and seconds < who.settings.timeout_seconds:
            raise StrategyFailed("was started too slowly to decide in this run; it is ready for the next one")
        frame = pickle.dumps(view, protocol=pickle.HIGHEST_PROTOCOL)
        done = False
        try:
            async with asyncio.timeout(limit):
                decision = await child.decide(frame)
            done = True
        except TimeoutError:
            raise StrategyFailed(f"took longer than {_limit(who, limit)} and was ended") from None
        except (asyncio.IncompleteReadError, OSError):
            raise StrategyFailed("its process ended while it decided") from None
        except StrategyFailed:
            # It answered: that it failed.
            done = True
            raise
        finally:
            if not done:
                await self._end(who.key)
        return decision

    async def keep_only(self, account: str, names: Collection[str]) -> None:
        """End the processes and threads of an account's strategies that are not asked any more."""
        kept = {f"{account}/{name}" for name in names}
        mine = [key for key in (*self._children, *self._threads.names()) if key.rpartition("/")[0] == account]
        for key in mine:
            if key not in kept:
                await self._end(key)
                self._threads.leave(key)

    def running(self) -> Mapping[str, int]:
        """The process id of each strategy that has a process, by account and name."""
        return {key: child.process.pid for key, child in self._children.items()}

    async def close(self) -> None:
        """End every process; threads end with their strategy."""
        for key in list(self._children):
            await self._end(key)
        for key in self._threads.names():
            self._threads.leave(key)

    async def _child(self, who: Hosted, seconds: float) -> ChildProcess:
        version = version_of(who.settings)
        child = self._children.get(who.key)
        if child is not None and (child.version != version or child.has_ended):
            await self._end(who.key)
            child = None
        return child if child is not None else await self._started(who, version, seconds)

    async def _started(self, who: Hosted, version: Version, seconds: float) -> ChildProcess:
        now = asyncio.get_running_loop().time()
        if (known := self._wrong.get(who.key)) and known[0] == version and now - known[1] < WRONG_SECONDS:
            raise ConfigError(known[2].problem, where=known[2].where)
        child = self._children[who.key] = await ChildProcess.start(version)
        ready = False
        try:
            async with asyncio.timeout(seconds):
                await child.prepare(who.settings)
            ready = True
        except TimeoutError:
            raise StrategyFailed(
                f"was not ready within {seconds:.0f} s and was ended; its import, its constructor or needs() hangs,"
                " or the machine is overloaded"
            ) from None
        except ConfigError as error:
            self._wrong[who.key] = version, now, error
            raise
        except (asyncio.IncompleteReadError, OSError):
            raise StrategyFailed("its process ended while it was started") from None
        finally:
            if not ready:
                await self._end(who.key)
        log.info("strategy process started strategy=%s pid=%d", who.key, child.process.pid)
        return child

    async def _end(self, key: str) -> None:
        child = self._children.pop(key, None)
        if child is not None:
            await child.end()


def _limit(who: Hosted, limit: float) -> str:
    if limit < who.settings.timeout_seconds:
        return f"the {limit:.0f} s that the run had left for it"
    return f"its timeout of {limit:g} s"
