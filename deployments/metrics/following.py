"""What has to be followed in a store to be counted, for a process that does nothing else: `kontor metrics`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from deployments.desk_status import desk_store
from deployments.home import Home
from deployments.metrics.ledger import LedgerFigures
from deployments.metrics.orders import OrderFigures
from deployments.project import deployed_accounts
from kontor.errors import KontorError
from kontor.ports import Store

log = logging.getLogger(__name__)

Accounts = Callable[[], Sequence[str]]
RETRY_SECONDS = 5.0
KEPT_SECONDS = 30.0


class StoreFigures:
    """Counters of orders and fills, and the ledger's sums."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.orders, self.ledger = OrderFigures(registry), LedgerFigures(registry)

    async def follow(self, store: Store, accounts: Accounts) -> None:
        """Follow both until canceled; accounts are asked for again and again, since prefect.yaml changes."""
        await asyncio.gather(self.orders.follow(store, accounts), self.ledger.follow(store, accounts))

    async def follow_home(self, home: Home, accounts: Accounts) -> None:
        """The same for a desk of which nothing is open here; one that has never run is waited for."""
        while True:
            try:
                async with desk_store(home) as store:
                    await self.follow(store, accounts)
            except KontorError as error:
                log.info("store_not_followed error=%s", error)
            await asyncio.sleep(RETRY_SECONDS)

    async def look_once(self, home: Home, accounts: Accounts) -> None:
        """What is known without waiting: the ledgers, if there is a store."""
        with contextlib.suppress(KontorError):
            async with desk_store(home) as store:
                await self.ledger.refresh(store, accounts())


def recent_accounts(named: str | None = None) -> Accounts:
    """The one that is named, else those of prefect.yaml, which is read again every half minute."""
    if named is not None:
        return lambda: [named]
    known: tuple[float, Sequence[str]] | None = None

    def accounts() -> Sequence[str]:
        nonlocal known
        if known is None or time.monotonic() - known[0] > KEPT_SECONDS:
            known = time.monotonic(), deployed_accounts()
        return known[1]

    return accounts


@contextmanager
def in_a_thread(figures: StoreFigures, home: Home, accounts: Accounts) -> Iterator[None]:
    """While inside, a thread with a loop of its own follows the home's store."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(figures.follow_home(home, accounts))

    def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=work, name="store follower", daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(RETRY_SECONDS)
