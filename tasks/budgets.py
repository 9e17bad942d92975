"""The rate budgets of this process: each keeps to its share of what the exchange allows the account."""

import asyncio
import itertools
import logging
import os
import socket
from collections.abc import Awaitable, Callable

from kontor.errors import StoreError
from kontor.ports import Clock, Store
from kontor.resilience.budget_keeper import BudgetKeeper
from kontor.resilience.rate_budget import RateBudget
from tasks.contexts import outside_of_any_run

logger = logging.getLogger(__name__)

_numbers = itertools.count(1)


def process_name() -> str:
    """This process, as the others know it; a second event loop of it is a process of its own."""
    name, number = f"{socket.gethostname()}:{os.getpid()}", next(_numbers)
    return name if number == 1 else f"{name}:{number}"


class BudgetKeepers:
    """Keeps the rate budget of each account within its share, beside the runs; belongs to one event loop."""

    def __init__(self, store: Callable[[], Awaitable[Store]], clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._process = process_name()
        self._kept: dict[str, tuple[BudgetKeeper, asyncio.Task[None]]] = {}

    async def admit(self, account: str, budget: RateBudget) -> None:
        """Give a budget its share before its first request; at once when it has one. Raises StoreError."""
        known = self._kept.get(account)
        if known is not None and known[0].budget is budget:
            return
        keeper = BudgetKeeper((await self._store()).desk, account, self._process, budget, self._clock)
        await keeper.join()
        if known is not None:
            # The account is at another exchange now, whose limit is another one: what is left of the old budget drains.
            known[1].cancel()
        context = outside_of_any_run()
        task = asyncio.get_running_loop().create_task(keeper.keep(), name=f"rate share {account}", context=context)
        self._kept[account] = keeper, task

    async def close(self) -> None:
        """Leave what this process held to the others."""
        for account in list(self._kept):
            await self._end(account)

    async def _end(self, account: str) -> None:
        keeper, task = self._kept.pop(account)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        try:
            await keeper.leave()
        except StoreError as error:
            # It falls silent instead, and is forgotten.
            logger.warning("rate_share_not_returned account=%s error=%s", account, error)
