"""What each strategy has earned and paid, from the ledger: read whole, and the more seldom the longer that takes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC
from decimal import Decimal

from prometheus_client import CollectorRegistry, Gauge

from kontor.domain.profit import ProfitAndLoss
from kontor.errors import KontorError
from kontor.ports import Store
from kontor.trading.ledger import WholeLedger, read_ledger

log = logging.getLogger(__name__)

SHORTEST_PAUSE = 60.0
# A hundredth of one processor at most, however long the ledger has become.
SHARE = 100


class LedgerFigures:
    """Realized profit, fees and funding of each account and strategy since the ledger's first row."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["account", "strategy"]
        self._realized = Gauge(
            "kontor_realized_pnl", "Profit and loss of closed trades, before fees.", labels, registry=registry
        )
        self._fees = Gauge("kontor_trading_fees", "Fees paid, positive.", labels, registry=registry)
        # What has been shown of each account: a strategy that has no line any more keeps no figure.
        self._shown: dict[str, set[str]] = {}
        self._funding = Gauge("kontor_funding", "Funding and interest, negative when paid.", labels, registry=registry)

    def take(self, account: str, ledger: WholeLedger) -> None:
        """Set the figures of an account by its whole ledger."""
        by_strategy: dict[str, list[ProfitAndLoss]] = {}
        for line in ledger.profit(UTC):
            by_strategy.setdefault(line.strategy, []).append(line)
        for gauge, part in ((self._realized, "realized"), (self._fees, "fees"), (self._funding, "funding")):
            for strategy, lines in by_strategy.items():
                gauge.labels(account, strategy).set(float(sum((getattr(each, part) for each in lines), Decimal(0))))
            for strategy in self._shown.get(account, set()) - by_strategy.keys():
                gauge.remove(account, strategy)
        self._shown[account] = set(by_strategy)

    async def refresh(self, store: Store, accounts: Sequence[str]) -> None:
        """Read the ledgers now; one that cannot be read keeps its last figures."""
        for account in accounts:
            try:
                ledger = await read_ledger(store, account)
            except KontorError as error:
                log.warning("ledger_not_read account=%s error=%s", account, error)
                continue
            # Seconds of work for a ledger of years: not on the loop that serves the page.
            await asyncio.to_thread(self.take, account, ledger)

    async def follow(self, store: Store, accounts: Callable[[], Sequence[str]]) -> None:
        """Keep the figures fresh until canceled."""
        while True:
            began = time.monotonic()
            try:
                await self.refresh(store, accounts())
            except KontorError as error:
                log.warning("ledgers_not_read error=%s", error)
            await asyncio.sleep(max(SHORTEST_PAUSE, SHARE * (time.monotonic() - began)))
