"""The real desk, used from outside as its user does: shell commands, Prefect's command line, the venue's own books."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.desk import RunningDesk, wait_until

pytestmark = pytest.mark.timeout(900)

SWAP, SPOT = "BTC/USD:USD", "LTC/USD"
EXECUTOR_SECONDS = 30
ORDER = {"symbol": SPOT, "side": "buy", "quantity": 0.1, "order_type": "market"}
#: What `make test` moves to a process pool: a poll, and an order that the executor of the other worker sends.
MOVED = ("update-balance/paper", "place-order/paper")
MOVABLE = (
    "check-system-status/paper",
    "initialize/paper",
    "reconcile-orders/paper",
    "restart-exchange/paper",
    "track-orders/paper",
    "update-candles/paper",
    "update-open-orders/paper",
    "update-positions/paper",
    "update-ranges/paper",
    "update-tickers/paper",
    "update-watchlist/paper",
)


def held(venue: Any, symbol: str) -> float:
    """A position in base currency, by the venue's books."""
    return sum(float(each["contracts"]) * float(each["contractSize"]) for each in venue.fetch_positions([symbol]))


def states_at_venue(desk: RunningDesk) -> list[str]:
    """The states of all orders in the venue's own file, oldest first; the venue must be down, it locks it."""
    with sqlite3.connect(f"file:{desk.home.path / 'paper.sqlite3'}?mode=ro", uri=True) as books:
        return [state for (state,) in books.execute("SELECT state FROM orders ORDER BY ord_id")]


def position_in(status: dict[str, Any], symbol: str) -> dict[str, Any]:
    return next((each for each in status["positions"] if each["symbol"] == symbol), {"quantity": 0.0})


def test_a_desk_that_says_it_is_up_has_run_every_updater_and_is_well(desk: RunningDesk) -> None:
    """`kontor up` promises it, so that nobody waits five minutes to see whether the slow ones work."""
    status = desk.status()
    assert status["prefect_url"] == desk.prefect_url
    assert status["account"] == "paper"
    # Named, not counted: an updater without a schedule would be missing here, and nowhere else.
    assert {
        "check-system-status",
        "restart-exchange",
        "track-orders",
        "update-balance",
        "update-candles",
        "update-open-orders",
        "update-positions",
        "update-ranges",
        "update-tickers",
        "update-watchlist",
    } <= set(status["updaters"])
    assert [name for name, each in status["updaters"].items() if not each["ok"]] == []
    assert status["balance"]["total"] > 0
    for name in status["updaters"]:
        # What a stream delivers is not fetched, from the first run on if the stream was quicker.
        assert {"Completed", "Streamed"} & {run["state_name"] for run in desk.runs(f"{name}/paper")}, name


def test_the_doctor_finds_nothing_wrong_with_a_healthy_desk(desk: RunningDesk) -> None:
    """Green on a live desk, but for what nobody has set up here; tests/chaos/desk_doctor.py plants the faults."""
    found: dict[str, dict[str, str]] = {}

    def is_green() -> bool:
        # A machine that is busy with other tests may be slow for a moment; what is wrong stays wrong.
        done = desk.kontor("doctor", "--json")
        found.update({each["check"]: each for each in json.loads(done.stdout)})
        troubles = {name for name, each in found.items() if each["health"] in {"failed", "warning"}}
        # The processes themselves say what they have left of their rate budgets, every two seconds.
        has_budgets = found["rate budget"]["health"] == "ok"
        return done.returncode == 0 and troubles <= {"backup", "alerts", "disk"} and has_budgets

    wait_until(is_green, 240, "a doctor without complaint")
    assert found["scheduler"]["health"] == found["exchange key"]["health"] == found["server"]["health"] == "ok"


def test_one_executor_runs_and_no_run_failed(desk: RunningDesk) -> None:
    """Two would be one too many, and a first look at the UI should not be red."""
    assert [run["state_name"] for run in desk.runs("execute-orders/paper")].count("Running") == 1
    broken = {"flow_runs": {"state": {"type": {"any_": ["FAILED", "CANCELLED"]}}}}
    assert desk.api("POST", "/flow_runs/filter", broken) == []


@pytest.mark.parametrize("symbol", [SWAP, SPOT])
def test_an_order_from_a_shell_becomes_a_fill_a_position_and_a_balance_change_as_the_venue_has_them(
    desk: RunningDesk, symbol: str
) -> None:
    """0.1 means 0.1 of the base, on a spot market and on a swap whose contract is 0.01 of it."""
    venue = desk.venue()
    base = symbol.partition("/")[0]
    trades_before = len(venue.fetch_my_trades(symbol))
    spot_before = float(venue.fetch_balance()["total"].get(base, 0.0))
    before = desk.status()
    held_before = held(venue, SWAP)

    output = desk.shell(
        f"prefect deployment run 'place-order/paper' -p symbol={symbol} -p side=buy -p quantity=0.1 "
        "-p order_type=market --watch"
    )
    assert output.returncode == 0, output.stdout + output.stderr

    fills = venue.fetch_my_trades(symbol)[trades_before:]
    size = float(venue.market(symbol)["contractSize"] or 1.0)
    assert sum(fill["amount"] for fill in fills) * size == pytest.approx(0.1)
    # Each updater has an interval of 30 s; two of them are enough for anything.
    wait_until(lambda: desk.status()["balance"]["at"] > fills[-1]["datetime"], 90, "a balance after the fill")
    if symbol == SPOT:
        fees = sum(fill["fee"]["cost"] for fill in fills if fill["fee"]["currency"] == base)
        expected = spot_before + 0.1 - fees
        assert venue.fetch_balance()["total"][base] == pytest.approx(expected)
        assert desk.status()["balance"]["currencies"][base]["total"] == pytest.approx(expected)
    else:
        assert held(venue, symbol) == pytest.approx(held_before + 0.1)
        wait_until(
            lambda: position_in(desk.status(), symbol)["quantity"] == pytest.approx(held_before + 0.1),
            90,
            "the position in the status",
        )
        ours, theirs = position_in(desk.status(), symbol), venue.fetch_position(symbol)
        assert ours["entry_price"] == pytest.approx(float(theirs["entryPrice"]))
        assert ours["notional"] == pytest.approx(ours["quantity"] * ours["mark_price"], rel=1e-6)
    after = desk.status()
    assert after["orders"]["FILLED"] == before["orders"].get("FILLED", 0) + 1
    assert after["balance"]["free"] != before["balance"]["free"]


def test_an_orders_history_can_be_read(desk: RunningDesk) -> None:
    """Who did what when is the first question after a surprise."""
    run = desk.run("place-order/paper", symbol=SPOT, side="buy", quantity=0.1, order_type="market")
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    listed = desk.kontor("orders", "--limit", "1").stdout.splitlines()[1]
    order_id = listed.split()[0]
    history = desk.kontor("orders", "show", order_id).stdout
    states = ["INITIALIZED", "SUBMITTED", "FILLED"]
    found = [history.find(state, history.find("\n")) for state in states]
    assert -1 not in found
    assert found == sorted(found)
    assert run["name"] in history


def test_closing_a_position_leaves_nothing_at_the_venue(desk: RunningDesk) -> None:
    """The residue below the venue's minimum is reported; with whole contracts there is none."""
    venue = desk.venue()
    placed = desk.run("place-order/paper", symbol=SWAP, side="buy", quantity=0.05, order_type="market")
    assert placed["state_type"] == "COMPLETED", placed["state"]["message"]
    assert held(venue, SWAP) > 0
    closed = desk.run("close-position/paper", symbol=SWAP)
    assert closed["state_type"] == "COMPLETED", closed["state"]["message"]
    assert held(venue, SWAP) == 0


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"symbol": "NOPE/USD", "side": "buy", "quantity": 1, "order_type": "market"}, "NOPE/USD"),
        ({"symbol": SPOT, "side": "buy", "quantity": 0.1, "order_type": "limit"}, "price"),
    ],
)
def test_an_order_that_cannot_be_fails_its_run_with_the_reason(
    desk: RunningDesk, parameters: dict[str, Any], said: str
) -> None:
    """The UI shows the run's message: it is the only place some will look."""
    run = desk.run("place-order/paper", **parameters)
    assert run["state_type"] == "FAILED"
    assert said in run["state"]["message"]


def test_a_negative_quantity_is_refused_before_a_run_is_made(desk: RunningDesk) -> None:
    """Prefect checks the form's schema."""
    output = desk.shell(
        "prefect deployment run 'place-order/paper' -p symbol=BTC/USD -p side=buy -p quantity=-1 -p order_type=market"
    )
    assert output.returncode != 0
    assert re.search("less than or equal|exclusiveMinimum|greater than", output.stdout + output.stderr)


def test_a_second_desk_on_the_same_home_says_that_one_is_running(desk: RunningDesk) -> None:
    """With its pid and where its UI is; and leaves it alone."""
    for arguments in (["up"], ["up", "--detach"]):
        output = desk.kontor(*arguments)
        assert output.returncode == 1
        assert str(desk.record().supervisor.pid) in output.stderr
        assert desk.prefect_url in output.stderr
        assert output.stderr.count("\n") == 1
    assert desk.record().ready


@pytest.mark.parametrize("variable", ["KONTOR_PREFECT_PORT", "KONTOR_PAPER_PORT", "KONTOR_WEB_PORT"])
def test_a_taken_port_is_one_sentence_naming_its_variable(tmp_path: Path, variable: str) -> None:
    """In a second, and with nothing left running."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        planned = RunningDesk.planned(tmp_path / "home")
        taken = other.getsockname()[1]
        port = {"KONTOR_PREFECT_PORT": "prefect_port", "KONTOR_PAPER_PORT": "paper_port", "KONTOR_WEB_PORT": "web_port"}
        second = replace(planned, **{port[variable]: taken})
        for arguments in (["up"], ["up", "--detach"]):
            output = second.kontor(*arguments)
            assert output.returncode == 1
            assert (
                output.stderr
                == f"kontor: {variable}: port {taken} is taken by another program; set {variable} to a free one\n"
            )
    assert not second.home.is_locked()


def test_a_paper_block_that_is_there_keeps_its_key_on_the_next_start(desk: RunningDesk) -> None:
    """The block is the only place of the key; the key file is the paper exchange's own."""
    key = desk.api("GET", "/block_types/slug/kontor-exchange-account/block_documents/name/paper?include_secrets=true")[
        "data"
    ]
    assert key["api_key"] == desk.venue().apiKey
    assert (desk.home.paper_keys_file.stat().st_mode & 0o777) == 0o600
    shown = desk.api("GET", "/block_types/slug/kontor-exchange-account/block_documents/name/paper")["data"]
    assert key["api_key"] not in str(shown)
    assert key["secret"] not in "".join(log.read_text(errors="replace") for log in desk.home.logs.glob("*.log"))


@pytest.mark.parametrize(("child", "seconds"), [("worker orders", EXECUTOR_SECONDS), ("Prefect server", 120)])
def test_the_executor_runs_again_within_half_a_minute_after_a_kill(
    desk: RunningDesk, child: str, seconds: float
) -> None:
    """Nobody watches at night; and the UI is not littered with canceled runs. Prefect's server itself starts slowly,
    but the executor works through its absence.
    """
    executor = "execute-orders/paper"
    pid = desk.pid(child)
    killed_at = datetime.now(UTC)
    os.kill(pid, signal.SIGKILL)
    # Wanted while nobody can take them; a server that is away cannot even be told.
    queued = [desk.start("place-order/paper", **ORDER) for _ in range(2)] if child == "worker orders" else []

    def works_again() -> bool:
        if desk.pid(child) in {0, pid}:
            return False
        try:
            runs = desk.runs(executor)
        except httpx.HTTPError:
            # The server itself is what was killed.
            return False
        began = [run for run in runs if run["state_name"] == "Running"]
        if child == "worker orders":
            began = [run for run in began if datetime.fromisoformat(run["start_time"]) > killed_at]
        return len(began) == 1

    wait_until(works_again, seconds, "one executor after the kill")
    assert [run["name"] for run in desk.runs(executor) if run["state_name"] == "Cancelled"] == []
    for run_id in [*queued, desk.start("place-order/paper", **ORDER)]:
        placed = desk.wait_for_run(run_id)
        assert placed["state_type"] == "COMPLETED", placed["state"]["message"]


def test_an_order_that_waited_for_a_worker_for_too_long_is_denied(desk: RunningDesk) -> None:
    """Every run that was queued arrives, however old; an old price is not today's, and the gate says so."""
    before = desk.status()["orders"]
    run = desk.wait_for_run(desk.start("place-order/paper", due=datetime.now(UTC) - timedelta(minutes=10), **ORDER))
    assert run["state_type"] == "FAILED"
    assert "DENIED: expired: good_until" in run["state"]["message"]
    after = desk.status()["orders"]
    assert after["DENIED"] == before.get("DENIED", 0) + 1
    assert after["FILLED"] == before["FILLED"]


def test_deployments_of_the_desk_run_unchanged_on_a_stock_process_pool(desk: RunningDesk, tmp_path: Path) -> None:
    """In-process is a choice of the work pool's, not of the flows': moving a deployment there is all it takes.

    `KONTOR_ALL_DEPLOYMENTS=1` moves every deployment that needs no parameters, a process each.
    """
    names = sorted({*MOVED, *(MOVABLE if os.environ.get("KONTOR_ALL_DEPLOYMENTS") else ())})
    desk.api("POST", "/work_pools/", {"name": "stock", "type": "process"})
    runs = {name: desk.start_on("stock", name, **(ORDER if name.startswith("place-order") else {})) for name in names}
    worker = desk.popen("prefect worker start --pool stock --type process --limit 2", tmp_path / "worker.log")
    try:
        for name, run_id in runs.items():
            run = desk.wait_for_run(run_id, seconds=240)
            assert (name, run["state_type"]) == (name, "COMPLETED"), run["state"]
            # What a stream delivers is not fetched.
            assert run["state_name"] in {"Completed", "Streamed"}, run["state"]
    finally:
        worker.terminate()
        try:
            worker.wait(30)
        except subprocess.TimeoutExpired:
            # It turns the signal into an interrupt, which whoever started the tests may have made it ignore.
            worker.kill()
            worker.wait()
        for name in names:
            moved = desk.deployment(f"{name.partition('/')[0]}/stock")
            desk.api("DELETE", f"/deployments/{moved['id']}")
        desk.api("DELETE", "/work_pools/stock")


def test_a_desk_comes_back_from_a_kill_goes_down_and_remembers(desk: RunningDesk) -> None:
    """Kill -9, the next start, an orderly stop, and the stop of what is stopped: nothing lost, nothing left running.

    The last test of the session's desk: afterwards it is down.
    """
    held_before, filled_before = held(desk.venue(), SWAP), desk.status()["orders"].get("FILLED", 0)
    order = desk.run("place-order/paper", symbol=SWAP, side="buy", quantity=0.1, order_type="market")
    assert order["state_type"] == "COMPLETED", order["state"]["message"]
    first = desk.record()
    os.kill(first.supervisor.pid, signal.SIGKILL)

    output = desk.up()
    assert output.returncode == 0, output.stdout + output.stderr
    assert [child.name for child in first.children if child.find() is not None] == []
    assert desk.status()["orders"]["FILLED"] == filled_before + 1
    assert held(desk.venue(), SWAP) == pytest.approx(held_before + 0.1)
    assert [run["state_name"] for run in desk.runs("execute-orders/paper")].count("Running") == 1

    second = desk.record()
    last = desk.venue().fetch_ticker(SPOT)["last"]
    resting = {"symbol": SPOT, "side": "buy", "quantity": 0.1, "order_type": "limit", "price": round(last * 0.95, 2)}
    placed = desk.run("place-order/paper", **resting)
    assert placed["state_type"] == "COMPLETED", placed["state"]["message"]
    assert len(desk.venue().fetch_open_orders(SPOT)) == 1
    # `orders.cancel_on_stop` is read when the desk stops, not when it starts.
    settings = desk.project / "kontor.yaml"
    settings.write_text(settings.read_text().replace("cancel_on_stop: false", "cancel_on_stop: true"))
    assert desk.down().returncode == 0
    assert "canceling the open orders of paper" in desk.log("up")
    assert states_at_venue(desk)[-1] == "canceled"
    assert [child.name for child in [second.supervisor, *second.children] if child.find() is not None] == []
    assert "no desk is running" in desk.down().stdout

    output = desk.kontor("status", "--json")
    assert "intervals are those of prefect.yaml" in output.stderr
    assert position_in(desk.status(), SWAP)["quantity"] == pytest.approx(held_before + 0.1)
