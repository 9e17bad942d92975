"""Every check, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deployments.block_secrets import read_block
from deployments.credentials import desk_api, read_auth, read_key
from deployments.desk_status import desk_store
from deployments.doctor import channels, desk, machine, venue
from deployments.doctor.verdict import Health, Verdict, examined, failed, skipped, well
from deployments.home import Home, Ports
from deployments.instance import DeskRecord, running_record
from deployments.project import Project
from kontor.errors import KontorError
from kontor.ports import ExchangeSettings
from kontor.resilience.budget_state import ReportedBudget, load_budgets
from kontor.resilience.clock import SystemClock

ACCOUNT_BLOCK = "kontor-exchange-account"
QUICK = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Rounds:
    """One examination of a home and one of its accounts."""

    home: Home
    account: str
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
        verdicts.append(
            await self._look("settings", lambda: desk.settings(Project.find(), self.account), "mend it there")
        )
        verdicts.append(await self._look("credentials", self._credentials, "see docs/security.md"))
        verdicts.append(desk.processes(DeskRecord.load(self.home), is_running=record is not None))
        if is_broken:
            return [*verdicts, skipped("the rest", "needs sound databases")]
        verdicts.append(await self._look("block key", lambda: desk.block_key(self.home), "see docs/security.md"))
        verdicts += await self._running(ports) if record is not None else [skipped("server", "the desk is down")]
        if record is not None:
            verdicts.append(await examined("page", lambda: desk.page(ports.web_url, QUICK), "restart the desk"))
        verdicts += await self._trading()
        verdicts += await self._exchange()
        return [*verdicts, *await self._channels()]

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
            second = await examined("scheduler", lambda: desk.scheduler(api), "restart the desk")

            async def updaters() -> Verdict:
                async with desk_store(self.home) as store:
                    return await desk.updaters(api, store, self.account)

            return [first, second, await examined("updaters", updaters, desk.LOOK)]

    async def _trading(self) -> Sequence[Verdict]:
        try:
            async with desk_store(self.home) as store:
                return await desk.trading(store, self.account)
        except KontorError as error:
            return [skipped("trading", str(error))]

    async def _exchange(self) -> Sequence[Verdict]:
        if not self.ask_exchange:
            return [skipped("exchange", "not asked for")]
        try:
            values = read_block(self.home, ACCOUNT_BLOCK, self.account)
        except KontorError as error:
            return [skipped("exchange", str(error))]
        if values is None:
            remedy = "'kontor up' makes the paper account; create another one in the UI under Blocks"
            return [failed("exchange", f"there is no readable block {ACCOUNT_BLOCK}/{self.account}", remedy)]
        if self.account == "paper" and running_record(self.home) is None:
            return [skipped("exchange", "the paper exchange is down with the desk")]
        return await examine_account(self.account, values, await self._budgets())

    async def _budgets(self) -> Sequence[ReportedBudget]:
        """What the processes of the desk have left; nothing while it is down."""
        try:
            async with desk_store(self.home) as store:
                return await load_budgets(store.desk, self.account, datetime.now(UTC))
        except KontorError:
            return ()

    async def _channels(self) -> Sequence[Verdict]:
        try:
            discord = read_block(self.home, channels.DISCORD, "default")
            telegram = read_block(self.home, channels.TELEGRAM, "default")
        except KontorError as error:
            return [skipped("alerts", str(error))]
        return await channels.webhooks(discord, telegram)


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
