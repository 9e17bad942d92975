"""The notebook's own configuration on a running desk: imported without an edit, each of its tasks at work."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.desk import UP_SECONDS, RunningDesk, put_away, wait_until
from tests.support.old_config import notebooks_config

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class ImportedDesk:
    """A desk of its own folder, and commands in that folder."""

    desk: RunningDesk
    folder: Path

    def shell(self, script: str, seconds: float = 2 * UP_SECONDS) -> subprocess.CompletedProcess[str]:
        """Commands as a user types them there."""
        path = shlex.quote(str(Path(sys.executable).parent))
        return subprocess.run(
            ["bash", "-c", f'PATH={path}:"$PATH"; {script}'],  # noqa: S607 - the shell on the PATH
            env=self.desk.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def get(self, name: str) -> dict[str, Any]:
        """`kontor get NAME --json`."""
        output = self.shell(f"kontor get {name} --json")
        assert output.returncode == 0, output.stderr
        return json.loads(output.stdout)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImportedDesk]:
    """`kontor import`, then `kontor up`, and nothing between."""
    folder = tmp_path_factory.mktemp("imported")
    (folder / "updater_config.yaml").write_text(notebooks_config())
    with put_away(RunningDesk.planned(folder / "home")) as desk:
        found = ImportedDesk(desk, folder)
        output = found.shell("kontor import updater_config.yaml && kontor up --detach")
        assert output.returncode == 0, output.stdout + output.stderr
        yield found


def test_every_task_of_the_notebook_does_its_job(imported: ImportedDesk) -> None:
    """Initialization by its own steps, prices, candles, balance, open orders, execution, status and restart."""
    desk = imported.desk
    wanted = {"update-tickers", "update-ohlcv", "update-balance", "update-open-orders", "track-orders"}
    wanted |= {"check-system-status", "restart-exchange"}

    def are_well() -> bool:
        return wanted <= {name for name, each in desk.status()["updaters"].items() if each["ok"]}

    # `up` says what has not succeeded within a minute, and goes on: a busy machine needs longer.
    wait_until(are_well, 180, "every imported task to succeed")
    status = desk.status()
    assert "update-candles" not in status["updaters"]
    (first,) = desk.runs("initialize/paper")
    assert [step["call"] for step in first["parameters"]["steps"]][-1] == "get_free_balance"
    watchlist = imported.get("watchlist")["value"]
    old = yaml.safe_load((imported.folder / "updater_config.yaml").read_text())["class_attributes"]
    assert watchlist
    assert not set(watchlist) & set(old["wl_restricted"])
    assert set(watchlist) <= imported.get("ranges")["value"].keys()
    prices = imported.get("last_price")
    assert set(watchlist) <= prices["value"].keys()
    assert prices["age_seconds"] < 60
    candles = imported.get("ohlcs")["value"]
    assert set(watchlist) == candles.keys()
    assert {len(rows) for rows in candles.values()} == {1000}
    assert imported.get("total_capital")["value"] == pytest.approx(status["balance"]["total"])
    assert imported.get("free_capital")["value"] > 0
    placed = desk.run("place-order/paper", symbol="BTC/USD", side="buy", quantity=0.1, order_type="market")
    assert placed["state_type"] == "COMPLETED", placed["state"]["message"]


def test_runs_by_hand_reach_the_running_desk_without_any_preparation(imported: ImportedDesk) -> None:
    """`kontor run` like the UI's quick run on the worker, `python -m` in the shell's own process."""

    def has_run() -> bool:
        # Skipped while the scheduled run is still at work: two runs of one updater never overlap.
        output = imported.shell("kontor run update-ohlcv")
        assert output.returncode == 0, output.stderr
        assert "run-updater/update-ohlcv: " in output.stdout
        return "run-updater/update-ohlcv: Completed" in output.stdout

    wait_until(has_run, 180, "a run by hand between two scheduled ones")
    output = imported.shell("kontor run update-tickers -p acount=paper")
    assert output.returncode == 1
    assert output.stderr == "kontor: update-tickers/paper has no parameter acount; it has account\n"
    steps = json.dumps([{"call": "fetch_order_book", "args": ["BTC/USD", 5], "target": "book"}])
    output = imported.shell(f"python -m flows.updater run_updater name=book steps={shlex.quote(steps)}")
    assert output.returncode == 0, output.stderr
    assert len(imported.get("book")["value"]["bids"]) == 5


def test_an_edited_interval_and_a_new_updater_are_deployed_while_the_desk_runs(imported: ImportedDesk) -> None:
    """`prefect deploy --all` is enough; a mistake stops it before anything has changed."""
    path = imported.folder / "prefect.yaml"
    text = path.read_text()
    assert text.count("interval: 60") == 2
    edited = text.replace("interval: 60, anchor", "interval: 45, anchor").replace(
        "      name: update-ohlcv\n", "      name: update-ohlcv\n      timeout_seconds: 40\n"
    )
    edited += """
  - name: funding-rates
    <<: *updater
    parameters: {steps: [{call: fetch_funding_rates, args: [[BTC/USD:USD]], target: funding_rates}]}
"""
    path.write_text(edited.replace("fetch_funding_rates", "fetch_funding_ratess"))
    output = imported.shell('eval "$(kontor env)"; prefect --no-prompt deploy --all')
    assert output.returncode == 1
    assert "fetch_funding_ratess is nothing an updater may call; did you mean fetch_funding_rates" in output.stderr
    assert "Traceback" not in output.stderr
    path.write_text(edited)
    output = imported.shell('eval "$(kontor env)"; prefect --no-prompt deploy --all && kontor run funding-rates')
    assert output.returncode == 0, output.stdout + output.stderr
    assert imported.get("funding_rates")["value"]["BTC/USD:USD"]["fundingRate"] is not None
    assert imported.desk.status()["updaters"]["update-ohlcv"]["interval_seconds"] == 45
    before = imported.get("ohlcs")["at"]
    wait_until(lambda: imported.get("ohlcs")["at"] > before, 120, "candles by the new interval")


def test_without_a_desk_what_needs_one_says_so(imported: ImportedDesk) -> None:
    """The last of this desk's tests: it is stopped for it."""
    assert imported.desk.down().returncode == 0
    output = imported.shell("kontor run place-order -p symbol=BTC/USD")
    assert output.returncode == 1
    assert "place-order needs a running desk, whose executor sends and follows orders; 'kontor up'" in output.stderr
    assert output.stderr.count("\n") == 1
    # The store is a file: what is known stays known.
    assert imported.get("funding_rates")["age_seconds"] > 0
