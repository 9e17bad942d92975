"""Going live: the account's name typed back, and nothing of it when a check has failed."""

import asyncio
import contextlib
import os
import pty
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from deployments import going_live
from deployments.desk_status import desk_store
from deployments.home import Home
from kontor.config import KontorConfig
from kontor.config.setup import SetupSettings
from kontor.desk import accept_live, require_accepted
from kontor.domain.setup import AccountLevel, AccountSetup, PositionMode
from kontor.errors import ConfigError
from kontor.exchange.account_setup import ACCOUNT_SETUP
from kontor.ports import ExchangeSettings
from kontor.store import open_store
from tests.fakes.desk import BTC, FakeDesk
from tests.fakes.virtual_time import in_virtual_time

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIVE = ExchangeSettings("okx", "main", mode="live")
STRATEGY = {"use": "sma_cross", "symbols": [BTC]}


def config(**risk: Any) -> KontorConfig:
    return KontorConfig.model_validate({"risk": risk, "strategies": {"one": STRATEGY}})


@in_virtual_time
async def test_a_live_account_is_not_initialized_before_somebody_has_said_its_name() -> None:
    state = FakeDesk().store.desk
    with pytest.raises(ConfigError, match=r"account main: it trades real money at okx.*'kontor live main'"):
        await require_accepted(state, LIVE)
    await accept_live(state, "main", "okx", NOW)
    await require_accepted(state, LIVE)
    # The same name at another exchange is another account.
    with pytest.raises(ConfigError, match="real money at binance"):
        await require_accepted(state, replace(LIVE, exchange_id="binance"))
    await require_accepted(state, replace(LIVE, account="paper", mode="paper"))


def test_a_paper_account_does_not_go_live_and_missing_limits_are_named() -> None:
    assert going_live.mode(replace(LIVE, mode="paper")).health == "failed"
    assert going_live.mode(LIVE).health == "ok"
    orders, losses = going_live.limits(config())
    assert (orders.health, orders.finding) == ("failed", "not set: max_order_value, max_position_value, max_exposure")
    assert losses.health == "warning"
    full = {"max_order_value": 10, "max_position_value": 10, "max_exposure": 10, "max_daily_loss": 5}
    assert [each.health for each in going_live.limits(config(**full))] == ["ok", "ok"]


@in_virtual_time
async def test_paper_comes_first_and_the_venues_smallest_orders_must_fit() -> None:
    desk = FakeDesk()
    paper = replace(LIVE, account=desk.account, mode="paper")
    assert (await going_live.practice(desk.store, desk.account, paper)).health == "failed"
    async with desk.executing():
        await desk.until_state(await desk.want())
    assert (await going_live.practice(desk.store, desk.account, paper)).finding == "1 orders filled on paper"
    # Orders that were filled with real money are no practice, whatever the account is called.
    real = await going_live.practice(desk.store, desk.account, replace(paper, mode="live"))
    assert (real.health, real.finding) == ("failed", "account paper trades real money itself")
    gone = await going_live.practice(desk.store, "nobody", None)
    assert (gone.health, gone.finding) == ("failed", "there is no readable block nobody")
    found = await going_live.smallest_orders(desk.exchange, config(max_order_value=Decimal("0.5")))
    assert (found.health, found.finding) == ("failed", f"above max_order_value 0.5: {BTC} 1.00")
    assert (await going_live.smallest_orders(desk.exchange, config(max_order_value=2))).health == "ok"


@in_virtual_time
async def test_the_accounts_set_up_is_looked_at() -> None:
    desk = FakeDesk()
    assert (await going_live.set_up(desk.exchange, config())).health == "warning"
    desk.exchange.answers[ACCOUNT_SETUP] = AccountSetup(AccountLevel.SPOT, PositionMode.NET)
    assert "set the account mode to futures" in (await going_live.set_up(desk.exchange, config())).finding
    desk.exchange.answers[ACCOUNT_SETUP] = AccountSetup(AccountLevel.FUTURES, PositionMode.NET)
    assert (await going_live.set_up(desk.exchange, config())).health == "ok"


@in_virtual_time
async def test_the_leverage_that_is_wanted_is_part_of_the_set_up() -> None:
    """It is held against the venue at every start; going live looked past it."""
    desk = FakeDesk()
    desk.exchange.answers[ACCOUNT_SETUP] = AccountSetup(AccountLevel.FUTURES, PositionMode.NET)
    desk.exchange.leverage = {BTC: Decimal(10)}
    wanted = config().model_copy(update={"setup": SetupSettings(leverage={BTC: Decimal(3)})})
    found = await going_live.set_up(desk.exchange, wanted)
    assert (found.health, "leverage 10 on BTC/USD:USD, setup.leverage says 3" in found.finding) == ("failed", True)
    desk.exchange.leverage = {BTC: Decimal(3)}
    assert (await going_live.set_up(desk.exchange, wanted)).finding.endswith("leverage 3 on BTC/USD:USD")
    strange = config().model_copy(update={"setup": SetupSettings(leverage={"NOPE/USD:USD": Decimal(3)})})
    assert "is not a market of this venue" in (await going_live.set_up(desk.exchange, strange)).finding


ASKING = """
import sys
from deployments.cli import live, main
from deployments.doctor.verdict import well
from kontor.ports import ExchangeSettings
from kontor.store import open_store

async def examined(account, paper):
    return [well("mode", "all is well")], ExchangeSettings("okx", account, mode="live")

live._examine = examined
sys.exit(main(["live", "okx-main"]))
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    text: str


def run_live(home: Path, typed: str | None) -> Said:
    """`kontor live okx-main` after checks that passed, with a person at a terminal who types this; None: nobody."""
    environment = {**os.environ, "KONTOR_HOME": str(home), "TERM": "dumb"}
    command = [sys.executable, "-c", ASKING]
    if typed is None:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return Said(done.returncode, (done.stdout + done.stderr).decode())
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        text = b""
        with contextlib.suppress(OSError):  # the other end of a terminal that is gone
            while chunk := os.read(ours, 4096):
                text += chunk
                if typed and b"to accept that:" in b" ".join(text.split()):
                    os.write(ours, f"{typed}\n".encode())
                    typed = ""
        os.close(ours)
    return Said(process.returncode, " ".join(text.decode().split()))


async def is_accepted(home: Home) -> bool:
    async with desk_store(home) as store:
        try:
            await require_accepted(store.desk, replace(LIVE, account="okx-main"))
        except ConfigError:
            return False
    return True


async def test_only_the_accounts_name_typed_at_a_terminal_accepts_it(tmp_path: Path) -> None:
    """Neither another name nor a script with nobody before it."""
    home = Home(tmp_path)
    store = open_store(home.default_store_url)
    await store.migrate()
    await store.close()
    said = await asyncio.to_thread(run_live, tmp_path, "okx-mian")
    assert "okx-main will trade real money at okx. Type the account's name" in said.text
    assert "you typed 'okx-mian', not 'okx-main': nothing was changed" in said.text
    assert (said.code, await is_accepted(home)) == (1, False)
    nobody = await asyncio.to_thread(run_live, tmp_path, None)
    assert (nobody.code, "run this in a terminal" in nobody.text) == (1, True)
    assert not await is_accepted(home)
    said = await asyncio.to_thread(run_live, tmp_path, "okx-main")
    assert (said.code, "okx-main is live." in said.text) == (0, True), said.text
    assert await is_accepted(home)
