"""One process of an account: `python -m tests.contract.exchange.shared_budget STORE_URL EXCHANGE_URL SECONDS`.

It opens a session as the desk does, says so, and asks for balances as fast as its rate budget lets it.
"""

import asyncio
import sys
import time
from contextlib import suppress

from kontor.errors import ExchangeError
from kontor.exchange.sessions import SessionPool
from kontor.ports import ExchangeSettings
from kontor.resilience.clock import SystemClock
from kontor.store import open_store
from tasks.budgets import BudgetKeepers

CALLERS = 12
PER_SECOND = 40.0


async def main(store_url: str, exchange_url: str, seconds: float) -> None:
    """Open, say so, flood, close."""
    store, clock = open_store(store_url), SystemClock()

    async def the_store() -> object:
        return store

    keepers = BudgetKeepers(the_store, clock)  # pyright: ignore[reportArgumentType]
    pool = SessionPool(clock=clock, admit=keepers.admit)
    settings = ExchangeSettings(
        "okx",
        "paper",
        api_key="paper-key",
        secret="paper-secret",
        password="paper-passphrase",
        urls={"rest": exchange_url, "ws": exchange_url.replace("http", "ws")},
        requests_per_second=PER_SECOND,
    )
    session = await pool.get(settings)
    print("ready", flush=True)
    end = time.monotonic() + seconds

    async def caller() -> None:
        while time.monotonic() < end:
            with suppress(ExchangeError):
                await session.fetch_balance()

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    await pool.close()
    await keepers.close()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
