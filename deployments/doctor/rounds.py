"""Every check, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from deployments.block_secrets import read_block
from deployments.credentials import desk_api, read_auth, read_key
from deployments.desk_status import desk_store
from deployments.doctor import channels, desk, machine, venue
from deployments.doctor.verdict import Health, Verdict, examined, failed, skipped, well
from deployments.home import Home, Ports
from deployments.instance import DeskRecord, running_record
from deployments.project import Project, deployed_accounts
from kontor.errors import KontorError
from kontor.ports import ExchangeSettings, Store
from kontor.resilience.budget_state import ReportedBudget, load_budgets
from kontor.resilience.clock import SystemClock

if TYPE_CHECKING:
    from prefect.blocks.core import Block

ACCOUNT_BLOCK = "kontor-exchange-account"
QUICK = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Rounds:
    """One examination of a home and its accounts."""

    home: Home
    # None named: those that prefect.yaml deploys.
    accounts: Sequence[str] = ()
    ask_exchange: bool = True

    async def run(self) -> Sequence[Verdict]:
        """Every verdict; what a check needs and another one found broken, it skips or repeats in its own words."""
        verdicts = [machine.python_version(), machine.pins(), machine.folder(self.home)]
        if verdicts[-1].health is Health.FAILED:
            return verdicts
        record = running_record(self.home)
        ports = record.ports if record is not None else Ports.from_environment()
        verdicts += [machine.disk(self.home), machine.ports_free(ports, is_running=record is not None)]
        verdicts += [machine.private_files(self.home), *machine.databases(self.home), machine.backups(self.home)]
        is_broken = any(
            each.health is Health.FAILED for each in verdicts if "data" in each.check or "store" in each.check
        )
        accounts = self.accounts or deployed_accounts()
        verdicts.append(await self._look("settings", lambda: desk.settings(Project.find(), accounts), "mend it there"))
        verdicts.append(await self._look("credentials", self._credentials, "see docs/security.md"))
        verdicts.append(desk.processes(DeskRecord.load(self.home), is_running=record is not None))
        if is_broken:
            return [*verdicts, skipped("the rest", "needs sound databases")]
        key = await self._look("block key", lambda: desk.block_key(self.home), "see docs/security.md")
        verdicts.append(key)
        verdicts += await self._running(ports) if record is not None else [skipped("server", "the desk is down")]
        if record is not None:
            verdicts.append(await examined("page", lambda: desk.page(ports.web_url, QUICK), "restart the desk"))
        for account in accounts:
            found = [*await self._trading(account, ports if record is not None else None)]
            found += await self._exchange(account)
            verdicts += found if len(accounts) == 1 else [replace(each, account=account) for each in found]
        if key.health is Health.FAILED:
            return [*verdicts, skipped("alerts", "needs a key that opens the blocks")]
        return [*verdicts, *await self._channels(accounts)]

    async def _look(self, check: str, look: Callable[[], Verdict], remedy: str) -> Verdict:
        async def once() -> Verdict:
            return look()

        return await examined(check, once, remedy)

    def _credentials(self) -> Verdict:
        if not (read_auth(self.home) and read_key(self.home)):
            return skipped("credentials", "made by the first 'kontor up'")
        return well("credentials", "password and key are there")

    async def _running(self, ports: Ports) -> list[Verdict]:
        try:
            api = desk_api(self.home, ports, timeout=QUICK)
        except KontorError as error:
            return [failed("server", str(error), "see docs/security.md")]
        async with api:
            first = await examined("server", lambda: desk.server(api), "restart the desk")
            if first.health is Health.FAILED:
                return [first, skipped("scheduler", "the server cannot be asked")]
            return [first, await examined("scheduler", lambda: desk.scheduler(api), "restart the desk")]

    async def _trading(self, account: str, ports: Ports | None) -> Sequence[Verdict]:
        """How the account stands; with the ports of a desk that runs, also whether it is at work."""
        try:
            async with desk_store(self.home) as store:
                at_work = [] if ports is None else await self._at_work(store, account, ports)
                return [*at_work, *await desk.trading(store, account)]
        except KontorError as error:
            return [skipped("trading", str(error))]

    async def _at_work(self, store: Store, account: str, ports: Ports) -> list[Verdict]:
        first = await examined("initialization", lambda: desk.gate(store, account), desk.LOOK)
        if first.health is Health.FAILED:
            return [first, skipped("updaters", "they wait for the initialization")]
        async with desk_api(self.home, ports, timeout=QUICK) as api:
            return [first, await examined("updaters", lambda: desk.updaters(api, store, account), desk.LOOK)]

    async def _exchange(self, account: str) -> Sequence[Verdict]:
        if not self.ask_exchange:
            return [skipped("exchange", "not asked for")]
        try:
            values = read_block(self.home, ACCOUNT_BLOCK, account)
        except KontorError as error:
            return [skipped("exchange", str(error))]
        if values is None:
            remedy = "'kontor up' makes the paper account; create another one in the UI under Blocks"
            return [failed("exchange", f"there is no readable block {ACCOUNT_BLOCK}/{account}", remedy)]
        if account == "paper" and running_record(self.home) is None:
            return [skipped("exchange", "the paper exchange is down with the desk")]
        return await examine_account(account, values, await self._budgets(account))

    async def _budgets(self, account: str) -> Sequence[ReportedBudget]:
        """What the processes of the desk have left; nothing while it is down."""
        try:
            async with desk_store(self.home) as store:
                return await load_budgets(store.desk, account, datetime.now(UTC))
        except KontorError:
            return ()

    async def _channels(self, accounts: Sequence[str]) -> Sequence[Verdict]:
        from blocks.notifiers import CHANNELS, HeartbeatUrl

        def block(kind: type[Block], name: str = "default") -> Mapping[str, Any] | None:
            return read_block(self.home, kind.get_block_type_slug(), name)

        try:
            blocks = {name: block(kind) for name, kind in CHANNELS.items()}
            heartbeat = block(HeartbeatUrl)
            kept = [read_block(self.home, ACCOUNT_BLOCK, account) or {} for account in accounts]
        except KontorError as error:
            return [skipped("alerts", str(error))]
        is_live = any(each.get("mode") == "live" for each in kept)
        return [*await channels.webhooks(blocks), channels.heartbeat(heartbeat, is_live=is_live)]


async def examine_account(account: str, values: Any, budgets: Sequence[ReportedBudget]) -> Sequence[Verdict]:
    """The checks of the exchange that a block describes."""
    from pydantic import ValidationError

    from blocks.exchange_account import ExchangeAccount
    from kontor.config import describe
    from kontor.exchange.opening import open_exchange

    try:
        settings: ExchangeSettings = ExchangeAccount(**values).to_settings(account)
        exchange = open_exchange(settings, clock=SystemClock())
    except ValidationError as error:
        return [failed("exchange", f"its block: {describe(error)}", "mend it in the UI under Blocks")]
    except KontorError as error:
        return [failed("exchange", str(error), "mend the block in the UI under Blocks")]
    try:
        return await venue.examine(exchange, settings, budgets)
    finally:
        await exchange.close()
