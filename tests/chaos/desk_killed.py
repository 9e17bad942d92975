"""A desk that holds a position is killed whole: entries go, its stop stands and fires, the next desk books it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deployments.paper_keys import read_keys
from kontor.config import KontorConfig, load_config
from kontor.domain.order import Order, OrderState
from kontor.execution.dead_mans_switch import DEAD_MANS_SWITCH
from kontor.ports import Clock, Exchange, Store
from kontor.resilience.clock import SystemClock
from kontor.store import open_store
from kontor.trading.ledger import compare_with_bills
from kontor.trading.positions import stored_holders
from tests.chaos.executors import Spec
from tests.support.desk import REPOSITORY, RunningDesk, put_away, wait_until

pytestmark = pytest.mark.timeout(1200)

SWAP, INSTRUMENT = "BTC/USD:USD", "BTC-USD-SWAP"
SWITCH_SECONDS = 10
QUANTITY = Decimal("0.1")
HOLDS = """
from decimal import Decimal

from kontor.domain.order import Side
from kontor.strategies import DataNeed, Decision, Strategy, StrategyParameters


class Holds(Strategy[StrategyParameters]):
    def needs(self):
        return DataNeed("1m", 1)

    def decide(self, view):
        orders = [] if view.state.get("done") else [
            order
            for market in view.values()
            for order in (
                market.at_market("enter", Side.BUY, Decimal("0.1")),
                market.limit("more", Side.BUY, Decimal("0.1"), market.price * Decimal("0.96")),
            )
        ]
        return Decision.of(orders, state={"done": bool(orders) or view.state.get("done", False)})
"""
SETTINGS = f"""
strategies:
  holds:
    use: holds:Holds
    symbols: ["{SWAP}"]
    exits: {{stop_loss_percent: 10}}
"""


@dataclass
class Parts:
    """The desk's account as this process sees it."""

    account: str
    config: KontorConfig
    exchange: Exchange
    store: Store
    clock: Clock


@asynccontextmanager
async def parts_of(desk: RunningDesk) -> AsyncIterator[Parts]:
    key = read_keys(desk.home.paper_keys_file)["paper"]
    spec = Spec(
        desk.home.default_store_url,
        f"http://127.0.0.1:{desk.paper_port}",
        str(desk.home.logs / "test.log"),
        key=(key.api_key, key.secret, key.passphrase),
    )
    store, exchange = open_store(spec.store_url), spec.open_exchange()
    try:
        yield Parts("paper", load_config(desk.project / "kontor.yaml"), exchange, store, SystemClock())
    finally:
        await exchange.close()
        await store.close()


def project_with_a_strategy(folder: Path) -> Path:
    """The shipped files, with a strategy that takes one position and rests one more entry, and the switch armed."""
    folder.mkdir()
    shutil.copy(REPOSITORY / "prefect.yaml", folder)
    text = (REPOSITORY / "kontor.yaml").read_text(encoding="utf-8")
    text = text.replace("strategies: {}", SETTINGS)
    text = text.replace("dead_mans_switch_seconds:", f"dead_mans_switch_seconds: {SWITCH_SECONDS}")
    (folder / "kontor.yaml").write_text(text, encoding="utf-8")
    (folder / "holds.py").write_text(HOLDS, encoding="utf-8")
    return folder


def kill_all_of_ours(desk: RunningDesk) -> None:
    """No process of the desk has a last word, the processes of its flows and strategies included.

    The paper exchange ends with its supervisor, as the kernel sees to; who needs an exchange that goes on starts it.
    """
    record, exchange = desk.record(), desk.pid("paper exchange")
    parents = [found for each in [record.supervisor, *record.children] if (found := each.find()) is not None]
    ours = {each.pid: each for parent in parents for each in (parent, *parent.children(recursive=True))}
    paper = ours.pop(exchange)
    # All at once: who is told of another's end must not disarm the switch, or start anything anew.
    for signum in (signal.SIGSTOP, signal.SIGKILL):
        for pid in ours:
            with suppress(ProcessLookupError):
                os.kill(pid, signum)
    _, alive = psutil.wait_procs([*ours.values(), paper], timeout=30)
    assert not alive


@contextmanager
def exchange_goes_on(desk: RunningDesk) -> Iterator[None]:
    """The paper exchange with nobody's desk around it, on the same books and at the same address."""
    log = desk.home.logs / "exchange.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "deployments.cli", "paper"],
            env=desk.environment,
            cwd=desk.project,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: answers(desk), 60, "the exchange to answer")
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def answers(desk: RunningDesk) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{desk.paper_port}/api/v5/public/time", trust_env=False).is_success
    except httpx.TransportError:
        return False


def resting(desk: RunningDesk) -> list[dict[str, Any]]:
    """Ordinary orders at the exchange."""
    return desk.venue().fetch_open_orders(SWAP)


def pending(desk: RunningDesk) -> list[dict[str, Any]]:
    """Stops at the exchange."""
    return desk.venue().private_get_trade_orders_algo_pending({"ordType": "conditional"})["data"]


def held(desk: RunningDesk) -> Decimal:
    """The position at the exchange, in base currency."""
    rows = desk.venue().private_get_account_positions({"instId": INSTRUMENT})["data"]
    return sum((Decimal(row["pos"]) for row in rows), Decimal(0)) / 100


async def protected(desk: RunningDesk) -> bool:
    """The desk knows of its position, its stop and its resting entry, and the switch is armed."""
    async with parts_of(desk) as parts:
        orders = await parts.store.orders.find("paper", limit=50)
        switch = await parts.store.desk.attribute("paper", DEAD_MANS_SWITCH)
        shared = await stored_holders(parts.store, "paper", await parts.store.market.markets("paper"))
    live = sorted(order.order_type for order in orders if order.state is OrderState.ACCEPTED)
    is_armed = switch is not None and bool(switch.value["armed"])
    position = shared.positions.get(("holds", SWAP))
    return is_armed and live == ["limit", "stop"] and position is not None and position.quantity == QUANTITY


async def booked(desk: RunningDesk, stop: str) -> tuple[Order | None, Decimal, dict[str, Decimal]]:
    """The stop, what the strategy holds, and where the ledger and the exchange's bills are apart."""
    async with parts_of(desk) as parts:
        order = await parts.store.orders.get(stop)
        shared = await stored_holders(parts.store, "paper", await parts.store.market.markets("paper"))
        compared = await compare_with_bills(parts)
        assert compared is not None
        return order, shared.positions["holds", SWAP].quantity, dict(compared.apart)


def test_killed_whole_the_entry_goes_the_stop_fires_and_the_next_desk_books_it(tmp_path: Path) -> None:
    """Whatever becomes of the desk, the position ends where its rules said, and the books say so afterwards."""
    project = project_with_a_strategy(tmp_path / "project")
    with put_away(RunningDesk.planned(tmp_path / "home", project=project)) as desk:
        output = desk.up()
        assert output.returncode == 0, output.stdout + output.stderr
        wait_until(lambda: asyncio.run(protected(desk)), 240, "a position with its stop, an entry, and the switch")
        [stop] = pending(desk)
        assert (len(resting(desk)), held(desk)) == (1, QUANTITY)

        kill_all_of_ours(desk)
        with exchange_goes_on(desk):
            wait_until(lambda: not resting(desk), 3 * SWITCH_SECONDS, "the dead man's switch to take the entry")
            assert [each["algoId"] for each in pending(desk)] == [stop["algoId"]]
            assert held(desk) == QUANTITY
            beyond = {"inst_id": INSTRUMENT, "price": str(Decimal(stop["slTriggerPx"]) * Decimal("0.99"))}
            moved = httpx.post(f"http://127.0.0.1:{desk.paper_port}/admin/price", json=beyond, trust_env=False)
            assert moved.is_success, moved.text
            wait_until(lambda: held(desk) == 0, 30, "the stop to fire")
            assert pending(desk) == []

        again = desk.up()
        assert again.returncode == 0, again.stdout + again.stderr
        assert "ended without being stopped" in again.stdout

        def is_filled() -> bool:
            order, _, _ = asyncio.run(booked(desk, stop["algoClOrdId"]))
            return order is not None and order.state is OrderState.FILLED

        wait_until(is_filled, 120, "the stop to be booked")
        order, quantity, apart = asyncio.run(booked(desk, stop["algoClOrdId"]))
        assert order is not None
        assert (order.filled_quantity, order.strategy, quantity, apart) == (QUANTITY, "holds", 0, {})
        assert (resting(desk), pending(desk), held(desk)) == ([], [], 0)
