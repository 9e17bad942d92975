"""Strategies in threads of this process: cheaper than processes, and what hangs there cannot be ended."""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from kontor.config import StrategySettings
from kontor.errors import ConfigError, StrategyFailed
from kontor.strategies.protocol import Strategy
from kontor.strategies.registry import build, need_of, place_of
from kontor.strategies.source import Version, version_of
from kontor.strategies.view import DataNeed, MarketView

Made = tuple[Version, Strategy[Any], DataNeed]


class ThreadSeats:
    """One thread for each strategy, kept from run to run."""

    def __init__(self) -> None:
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._last: dict[str, Future[Any]] = {}
        self._made: dict[str, Made] = {}

    async def need(self, key: str, settings: StrategySettings, *, seconds: float) -> DataNeed:
        """Have it made in its thread, anew when settings or file have changed, and learn what it needs."""
        version = version_of(settings)
        made = self._made.get(key)
        if made is None or made[0] != version:
            edited = made is not None and made[0][1] != version[1]
            strategy, need = await self._run(key, lambda: _make(settings, edited=edited), seconds)
            made = self._made[key] = version, strategy, need
        return made[2]

    async def decide(self, key: str, view: MarketView, *, seconds: float) -> object:
        """What the strategy that was made returned, unchecked."""
        strategy = self._made[key][1]
        return await self._run(key, lambda: strategy.decide(view), seconds)

    def leave(self, key: str) -> None:
        """Forget a strategy; its thread ends with what it does now."""
        self._made.pop(key, None)
        if executor := self._threads.pop(key, None):
            executor.shutdown(wait=False, cancel_futures=True)

    def names(self) -> list[str]:
        """The strategies that have a thread."""
        return list(self._threads)

    async def _run(self, key: str, work: Callable[[], Any], seconds: float) -> Any:
        before = self._last.get(key)
        if before is not None and not before.done():
            raise StrategyFailed("still hangs in its thread since an earlier run; isolation: process could end it")
        executor = self._threads.setdefault(key, ThreadPoolExecutor(1, thread_name_prefix=f"strategy-{key}"))
        future = self._last[key] = executor.submit(work)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise StrategyFailed(f"took longer than {seconds:g} s in its thread, which cannot be ended") from None
        except ConfigError:
            raise
        except Exception as error:
            raise StrategyFailed(f"{type(error).__name__}: {error}") from error


def _make(settings: StrategySettings, *, edited: bool) -> tuple[Strategy[Any], DataNeed]:
    if edited:
        sys.modules.pop(place_of(settings.use).partition(":")[0], None)
    strategy = build(settings)
    return strategy, need_of(strategy)
