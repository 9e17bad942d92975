"""A desk's nights: copied while it works, killed with everything it has, and there again."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from deployments.backup import newest_backup
from deployments.home import Home
from tests.support.desk import UP_SECONDS, RunningDesk, put_away, wait_until

pytestmark = pytest.mark.timeout(2700)


LEDGER = "source_id, kind, at, symbol, quantity, price, fee, fee_currency, currency, amount"
# Its lease outlives a process that was killed; the next initialize waits for it.
INITIALIZE_SECONDS = 360
LEDGER_SECONDS = 900
MOST_ORDERS, LEAST_ORDERS = 60, 5


def kill_everything(desk: RunningDesk) -> None:
    """What a power cut does: no process has a last word, and files of the running desk stay behind."""
    record = desk.record()
    named = [found for each in [record.supervisor, *record.children] if (found := each.find()) is not None]
    processes = {*named, *(child for process in named for child in process.children(recursive=True))}
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(list(processes), timeout=30)
    assert alive == []


def rows(desk: RunningDesk, query: str) -> list[tuple[Any, ...]]:
    """What a desk's store has, whether it runs or not."""
    with closing(sqlite3.connect(desk.home.store_file, timeout=30)) as connection:
        return connection.execute(query).fetchall()


def fills(desk: RunningDesk) -> set[tuple[Any, ...]]:
    """Every fill in a desk's store, whoever's order it was booked under."""
    return set(rows(desk, "SELECT trade_id, symbol, side, quantity, price, fee, filled_at FROM fills"))


def ledger(desk: RunningDesk) -> set[tuple[Any, ...]]:
    """What moved the account's money, without what a coin was worth when the desk happened to book it."""
    return set(rows(desk, f"SELECT {LEDGER} FROM ledger_entries"))  # noqa: S608 - our own names


def orders(desk: RunningDesk) -> dict[str, tuple[Any, ...]]:
    """Every order by its id: what was wanted, and what came of it."""
    query = "SELECT client_order_id, venue_order_id, symbol, side, quantity, price, state, filled_quantity FROM orders"
    return {name: tuple(facts) for name, *facts in rows(desk, query)}


def history(desk: RunningDesk, name: str) -> list[tuple[Any, ...]]:
    """Every step of an order, the first one first."""
    query = "SELECT old_state, new_state, at, actor FROM order_events WHERE client_order_id = ? ORDER BY number"
    with closing(sqlite3.connect(desk.home.store_file, timeout=30)) as connection:
        return connection.execute(query, (name,)).fetchall()


def left_behind(desk: RunningDesk) -> None:
    """What a reboot finds, so that the test cannot pass on a desk that had cleaned up: record, leases, addresses."""
    record = desk.record()
    assert record.ready
    assert [child.name for child in record.children if child.find() is not None] == []
    now = datetime.now(UTC).timestamp() * 1e6
    leases = rows(desk, "SELECT name, expires_at FROM leases")
    assert [name for name, expires_at in leases if name.startswith("executor:") and expires_at > now - 60e6]
    assert {file.stem for file in desk.home.metrics.glob("*.json")} >= {"orders", "updates"}


@contextmanager
def somebody_elses_process(desk: RunningDesk) -> Iterator[subprocess.Popen[bytes]]:
    """A process that was given, after a reboot, the number that the dead desk's record names."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        record = desk.record()
        record.children = [child.model_copy(update={"pid": process.pid}) for child in record.children]
        record.save(desk.home)
        yield process
    finally:
        process.kill()
        process.communicate()


def backed_up_under_load(desk: RunningDesk) -> None:
    """A backup while orders are wanted, sent and filled; their runs are over when this returns."""
    symbols = itertools.cycle(("BTC/USD", "ETH/USD"))

    def place() -> str:
        wanted = {"symbol": next(symbols), "side": "buy", "quantity": 0.01, "order_type": "market"}
        return desk.start("place-order/paper", **wanted)

    with ThreadPoolExecutor(1) as pool:
        runs = [place() for _ in range(LEAST_ORDERS)]
        copied = pool.submit(desk.kontor, "backup")
        while not copied.done() and len(runs) < MOST_ORDERS:
            runs.append(place())
        output = copied.result()
    assert output.returncode == 0, output.stdout + output.stderr
    ended = [desk.wait_for_run(run)["state_type"] for run in runs]
    assert ended.count("COMPLETED") >= LEAST_ORDERS, ended


def of_unknown_outcome(desk: RunningDesk) -> str:
    """An order that is on its way to an exchange that has stopped answering; returns its id."""
    before = set(orders(desk))
    price = round(float(desk.venue().fetch_ticker("ETH/USD")["last"]) * 0.95)
    os.kill(desk.pid("paper exchange"), signal.SIGSTOP)
    desk.start("place-order/paper", symbol="ETH/USD", side="buy", quantity=0.1, order_type="limit", price=price)

    def sent() -> list[str]:
        return [name for name, facts in orders(desk).items() if name not in before and facts[5] == "SUBMITTED"]

    wait_until(lambda: bool(sent()), 60, "the order to be sent")
    (name,) = sent()
    return name


def reconcile(desk: RunningDesk) -> None:
    """Compare with the exchange now; one that its schedule has just begun is waited for."""
    for _ in range(20):
        run = desk.run("reconcile-orders/paper")
        assert run["state_type"] == "COMPLETED", run["state"]["message"]
        if run["state_name"] != "Skipped":
            return
    pytest.fail("reconcile-orders was at work the whole time")


def comes_back(desk: RunningDesk, known: dict[str, tuple[Any, ...]], unknown: str) -> None:
    """Kill it whole, and bring it up among what it left: it says what it found, and every order is where it was."""
    kill_everything(desk)
    left_behind(desk)
    with somebody_elses_process(desk) as bystander:
        again = desk.up()
        assert bystander.poll() is None
    assert again.returncode == 0, again.stdout + again.stderr
    assert "ended without being stopped" in again.stdout
    assert "orders of unknown outcome: 1; now 1 " in again.stdout
    assert "orders that were live: 1; now 1 ACCEPTED" in again.stdout
    assert [name for name, each in desk.status()["updaters"].items() if not each["ok"]] == []
    assert {name: facts for name, facts in orders(desk).items() if name != unknown} == known
    assert len(desk.venue().fetch_open_orders("BTC/USD")) == 1
    # The exchange never had it, and a halted desk does not send it again.
    wait_until(lambda: orders(desk)[unknown][5] != "SUBMITTED", 240, "the fate of the unknown order")
    assert desk.venue().fetch_open_orders("ETH/USD") == []
    # A reboot is no reason to trade again.
    assert "trading on paper is halted since" in again.stdout
    assert "good night" in again.stdout
    buy = {"symbol": "BTC/USD", "side": "buy", "quantity": 0.1, "order_type": "market"}
    assert desk.run("place-order/paper", **buy)["state_type"] == "FAILED"
    assert desk.run("resume-trading/paper")["state_type"] == "COMPLETED"
    assert desk.run("place-order/paper", **buy)["state_type"] == "COMPLETED"
    reconcile(desk)
    assert desk.down().returncode == 0


def is_restored(desk: RunningDesk, known: dict[str, tuple[Any, ...]]) -> None:
    """Its newest backup in a new home, after reconciliation, has the orders, fills and ledger of the desk itself."""
    made = newest_backup(desk.home)
    assert made is not None
    restored = RunningDesk(Home(desk.home.path.with_name("restored")), desk.prefect_port, desk.paper_port)
    output = restored.kontor("restore", str(made))
    assert output.returncode == 0, output.stdout + output.stderr
    assert "trading is halted on paper" in output.stdout
    saved = orders(restored)
    assert saved.keys() <= known.keys()
    for name in saved:
        # One moment of each history: the backup tore nothing apart.
        assert history(restored, name) == history(desk, name)[: len(history(restored, name))]

    # The exchange goes on where it was, as any exchange does.
    shutil.copy(desk.home.paper_database, restored.home.paper_database)
    with put_away(restored):
        output = restored.up()
        assert output.returncode == 0, output.stdout + output.stderr
        assert "trading on paper is halted since" in output.stdout
        refused = restored.run("place-order/paper", symbol="BTC/USD", side="buy", quantity=0.1, order_type="market")
        assert refused["state_type"] == "FAILED"
        assert "halted" in refused["state"]["message"]
        reconcile(restored)
        # What happened after the backup is booked again, from the exchange.
        assert fills(restored) == fills(desk)

        def is_booked() -> bool:
            # A fill of an order that this desk does not remember waits a while for its order.
            reconcile(restored)
            return len(ledger(restored)) >= len(ledger(desk))

        wait_until(is_booked, LEDGER_SECONDS, "the ledger to be booked")
        assert ledger(restored) == ledger(desk)
        assert len(ledger(desk)) >= len(fills(desk))
        found, right = orders(restored), orders(desk)
        assert {name: found[name] for name in saved} == {name: right[name] for name in saved}


def test_a_desk_is_backed_up_at_work_killed_whole_and_comes_back_by_itself(tmp_path: Path) -> None:
    """Then its backup, in a new home and with trading halted, comes to the same orders, fills and ledger."""
    with put_away(RunningDesk.planned(tmp_path / "home")) as desk:
        output = desk.up()
        assert output.returncode == 0, output.stdout + output.stderr
        assert f"enter the one line in {desk.home.auth_file}" in output.stdout
        filled = desk.run("place-order/paper", symbol="BTC/USD:USD", side="buy", quantity=0.1, order_type="market")
        assert filled["state_type"] == "COMPLETED", filled["state"]["message"]
        rests = {"symbol": "BTC/USD", "side": "buy", "quantity": 0.1, "order_type": "limit"}
        price = round(float(desk.venue().fetch_ticker("BTC/USD")["last"]) * 0.95)
        assert desk.run("place-order/paper", price=price, **rests)["state_type"] == "COMPLETED"
        backed_up_under_load(desk)
        known = orders(desk)
        unknown = of_unknown_outcome(desk)
        halted = desk.run("halt-trading/paper", reason="good night", cancel_orders=False)
        assert halted["state_type"] == "COMPLETED", halted["state"]["message"]
        comes_back(desk, known, unknown)
        is_restored(desk, known)


def test_a_desk_that_was_killed_while_it_initialized_opens_its_gate_by_itself(tmp_path: Path) -> None:
    """The dead initialization holds its place for minutes: the next one must neither give up nor say it were done."""
    with put_away(RunningDesk.planned(tmp_path / "home")) as desk:
        desk.home.make()
        with (desk.home.logs / "up.log").open("w") as log:
            command = [sys.executable, "-m", "deployments.cli", "up"]
            process = subprocess.Popen(command, env=desk.environment, cwd=desk.project, stdout=log, stderr=log)
        try:
            wait_until(lambda: initializes(desk), UP_SECONDS, "initialize to begin")
            kill_everything(desk)
        finally:
            process.kill()
            process.wait()
        again = desk.up()
        assert again.returncode == 0, again.stdout + again.stderr
        assert "paper is NOT initialized" in again.stdout
        assert "still at work" in again.stdout
        assert not desk.status()["initialized"]
        wait_until(lambda: desk.status()["initialized"], INITIALIZE_SECONDS, "the gate to open")
        assert "paper is initialized, its gate is open" in desk.log("up")
        buy = {"symbol": "BTC/USD", "side": "buy", "quantity": 0.1, "order_type": "market"}
        wait_until(lambda: desk.run("place-order/paper", **buy)["state_type"] == "COMPLETED", 120, "an order")


def initializes(desk: RunningDesk) -> bool:
    """Whether initialize is at work, by its lease."""
    try:
        found = rows(desk, "SELECT expires_at FROM leases WHERE name = 'updater:paper:initialize'")
    except sqlite3.Error:
        return False
    return any(expires_at > datetime.now(UTC).timestamp() * 1e6 for (expires_at,) in found)
