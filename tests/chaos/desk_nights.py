"""A desk's nights: copied while it works, killed with everything it has, and there again."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from deployments.backup import newest_backup
from deployments.home import Home
from tests.support.desk import RunningDesk, put_away

pytestmark = pytest.mark.timeout(1800)


def kill_everything(desk: RunningDesk) -> None:
    """What a power cut does: no process has a last word, and files of the running desk stay behind."""
    record = desk.record()
    processes = [found for each in [record.supervisor, *record.children] if (found := each.find()) is not None]
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=10)


def fills(desk: RunningDesk) -> set[tuple[str, ...]]:
    """Every fill in a desk's store, whoever's order it was booked under."""
    with closing(sqlite3.connect(desk.home.store_file, timeout=30)) as connection:
        return set(connection.execute("SELECT trade_id, symbol, side, quantity, price, fee, filled_at FROM fills"))


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


def test_a_desk_is_backed_up_at_work_killed_whole_and_comes_back_by_itself(tmp_path: Path) -> None:
    """Then its backup, in a new home and with trading halted, has the same orders, histories and fills."""
    with put_away(RunningDesk.planned(tmp_path / "home")) as desk:
        output = desk.up()
        assert output.returncode == 0, output.stdout + output.stderr
        assert f"enter the one line in {desk.home.auth_file}" in output.stdout
        filled = desk.run("place-order/paper", symbol="BTC/USD:USD", side="buy", quantity=0.1, order_type="market")
        assert filled["state_type"] == "COMPLETED", filled["state"]["message"]
        rests = {"symbol": "BTC/USD", "side": "buy", "quantity": 0.1, "order_type": "limit"}
        price = round(float(desk.venue().fetch_ticker("BTC/USD")["last"]) * 0.95)
        assert desk.run("place-order/paper", price=price, **rests)["state_type"] == "COMPLETED"
        copied = desk.kontor("backup")
        assert copied.returncode == 0, copied.stdout + copied.stderr
        orders = desk.kontor("orders").stdout
        assert desk.run("halt-trading/paper", reason="good night")["state_type"] == "COMPLETED"

        kill_everything(desk)
        with somebody_elses_process(desk) as bystander:
            again = desk.up()
            assert bystander.poll() is None
        assert again.returncode == 0, again.stdout + again.stderr
        assert "ended without being stopped" in again.stdout
        assert "orders that were live: 1; now 1 ACCEPTED" in again.stdout
        assert [name for name, each in desk.status()["updaters"].items() if not each["ok"]] == []
        assert desk.kontor("orders").stdout == orders
        assert len(desk.venue().fetch_open_orders("BTC/USD")) == 1
        # A reboot is no reason to trade again.
        assert "trading on paper is halted since" in again.stdout
        assert "good night" in again.stdout
        buy = {"symbol": "BTC/USD", "side": "buy", "quantity": 0.1, "order_type": "market"}
        assert desk.run("place-order/paper", **buy)["state_type"] == "FAILED"
        assert desk.run("resume-trading/paper")["state_type"] == "COMPLETED"
        assert desk.run("place-order/paper", **buy)["state_type"] == "COMPLETED"
        assert desk.down().returncode == 0

        made = newest_backup(desk.home)
        assert made is not None
        restored = RunningDesk(Home(tmp_path / "restored"), desk.prefect_port, desk.paper_port)
        output = restored.kontor("restore", str(made))
        assert output.returncode == 0, output.stdout + output.stderr
        assert "trading is halted on paper" in output.stdout
        assert restored.kontor("orders").stdout == orders
        for order_id in [line.split()[0] for line in orders.splitlines()[1:]]:
            assert restored.kontor("orders", "show", order_id).stdout == desk.kontor("orders", "show", order_id).stdout

        # The exchange goes on where it was, as any exchange does.
        shutil.copy(desk.home.paper_database, restored.home.paper_database)
        with put_away(restored):
            output = restored.up()
            assert output.returncode == 0, output.stdout + output.stderr
            assert "trading on paper is halted since" in output.stdout
            refused = restored.run("place-order/paper", symbol="BTC/USD", side="buy", quantity=0.1, order_type="market")
            assert refused["state_type"] == "FAILED"
            assert "halted" in refused["state"]["message"]
            assert restored.kontor("orders").stdout.count("ACCEPTED") == 1
            # What was filled after the backup is booked again, from the exchange.
            assert fills(restored) == fills(desk)
