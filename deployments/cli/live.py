"""`kontor live`: look an account over, and take the operator's word that it may trade real money."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console

from deployments.home import Home
from deployments.project import Project
from kontor.errors import ConfigError, KontorError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from deployments.doctor.verdict import Verdict
    from kontor.ports import ExchangeSettings

WIDTH = 160


def live(
    account: str,
    /,
    *,
    paper: str = "paper",
    check_only: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Check an account that is to trade real money, then ask for its name; without that it is not initialized.

    Parameters
    ----------
    account
        The ExchangeAccount block whose mode is live.
    paper
        The account of this desk on which it has been tried.
    check_only
        Look, and ask for nothing.

    """
    from deployments.cli.doctor import render

    verdicts, settings = asyncio.run(_examine(account, paper))
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(render(verdicts))
    broken = [each.check for each in verdicts if each.health == "failed"]
    if broken:
        raise KontorError(f"{account} does not go live: mend {', '.join(broken)}, then run this again")
    if check_only:
        return 0
    if not sys.stdin.isatty():
        raise KontorError("the account's name is asked of a person: run this in a terminal")
    asked = f"{account} will trade real money at {settings.exchange_id}. Type the account's name to accept that: "
    said = console.input(asked).strip()
    asyncio.run(accept(account, said, settings.exchange_id))
    console.print(f"{account} is live. Run its flow initialize; halt-trading stops it.")
    return 0


async def accept(account: str, said: str, exchange_id: str) -> None:
    """Keep that somebody has accepted it by name; raises KontorError for another name."""
    from datetime import UTC, datetime

    from deployments.desk_status import desk_store
    from kontor.desk import accept_live

    if said != account:
        raise KontorError(f"you typed {said!r}, not {account!r}: nothing was changed")
    async with desk_store(Home.from_environment()) as store:
        await accept_live(store.desk, account, exchange_id, datetime.now(UTC))


async def _examine(account: str, paper: str) -> tuple[Sequence[Verdict], ExchangeSettings]:
    from deployments import going_live
    from deployments.desk_status import desk_store
    from deployments.doctor.rounds import ACCOUNT_BLOCK, examine_account
    from kontor.config import load_config
    from kontor.exchange.opening import open_exchange
    from kontor.resilience.clock import SystemClock

    home, config = Home.from_environment(), load_config(Project.find().config_file, account)
    values, settings = _block(home, account)
    if values is None or settings is None:
        raise ConfigError(f"there is no readable block {ACCOUNT_BLOCK}/{account}; create it in the UI under Blocks")
    verdicts = [going_live.mode(settings), *going_live.limits(config)]
    async with desk_store(home) as store:
        verdicts.append(await going_live.practice(store, paper, _block(home, paper)[1]))
    verdicts += await examine_account(account, values, ())
    if any(each.health == "failed" for each in verdicts if each.check in {"exchange", "exchange key", "mode"}):
        return verdicts, settings
    exchange = open_exchange(settings, clock=SystemClock())
    try:
        verdicts.append(await going_live.smallest_orders(exchange, config))
        verdicts.append(await going_live.set_up(exchange, config))
    finally:
        await exchange.close()
    return verdicts, settings


def _block(home: Home, account: str) -> tuple[Mapping[str, Any] | None, ExchangeSettings | None]:
    """What an account's block holds, as it is and as settings; None when there is none that can be read."""
    from pydantic import ValidationError

    from blocks.exchange_account import ExchangeAccount
    from deployments.block_secrets import read_block
    from deployments.doctor.rounds import ACCOUNT_BLOCK
    from kontor.config import describe

    values = read_block(home, ACCOUNT_BLOCK, account)
    if values is None:
        return None, None
    try:
        return values, ExchangeAccount(**values).to_settings(account)
    except ValidationError as error:
        raise ConfigError(f"block {account}: {describe(error)}") from None
