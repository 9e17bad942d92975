"""The command line's manners: one sentence for each mistake, and nothing heavy before it is needed."""

from __future__ import annotations

import asyncio
import io
import json
import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from deployments.cli import main
from deployments.cli.status import default_accounts, render, watch_status
from deployments.desk_status import DeskStatus, status_of
from deployments.home import Home, Ports
from deployments.stores import opened
from kontor.desk import note_stakes
from kontor.domain.account import Balance, CurrencyBalance, Position, PositionSide
from kontor.domain.fill import Fill
from kontor.domain.health import UpdaterHealth
from kontor.domain.order import Order, OrderType, Side
from kontor.execution.halt import halt
from kontor.ports import ExchangeSettings
from kontor.streams.freshness import ChannelState
from tests.fakes.venue import MARKETS

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KONTOR_HOME", str(tmp_path / "home"))
    for variable in ("KONTOR_PREFECT_PORT", "KONTOR_PAPER_PORT"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["uo"], "uo"),
        (["up", "--detahc"], "--detahc"),
        (["paper", "--port", "many"], "many"),
        (["paper", "--port"], "--port"),
        (["orders", "show"], "--client-order-id"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts tell a mistake of theirs from a failure of ours by the code."""
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("kontor: ")
    assert said in output.err
    assert output.err.count("\n") == 1


@pytest.mark.parametrize(
    ("variable", "value", "arguments"),
    [
        ("KONTOR_PREFECT_PORT", "abc", ["up"]),
        ("KONTOR_PAPER_PORT", "99999", ["up"]),
        ("KONTOR_PREFECT_PORT", "8400", ["up"]),
        ("KONTOR_PAPER_PORT", "x", ["paper"]),
        ("KONTOR_HOME", "/dev/null", ["up"]),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_exit_code_1(
    variable: str, value: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is started."""
    monkeypatch.setenv(variable, value)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("kontor: KONTOR_")
    assert error.count("\n") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--markets", "0", "--markets: "),
        ("--rtt-ms", "-1", "--rtt-ms: "),
        ("--source", "csv", "price source 'csv' is unknown"),
    ],
)
def test_a_wrong_paper_option_is_one_sentence_naming_it(
    option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exchange's own checks, in the words of the command line."""
    assert main(["paper", "--port", "0", option, value]) == 1
    assert said in capsys.readouterr().err


def test_before_the_first_desk_status_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """And it makes no database while it looks."""
    assert main(["status"]) == 1
    assert "no desk has ever run on" in capsys.readouterr().err


def test_bringing_down_what_is_not_up_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    """`kontor down` is what a script calls to be sure."""
    assert main(["down"]) == 0
    assert "no desk is running" in capsys.readouterr().out


def test_env_prints_exports_a_shell_takes_whatever_the_path_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`eval "$(kontor env)"` in a home with a blank or a quote in its name."""
    home = tmp_path / "my desk's $HOME"
    monkeypatch.setenv("KONTOR_HOME", str(home))
    monkeypatch.setenv("KONTOR_PREFECT_PORT", "4321")
    assert main(["env"]) == 0
    exports = dict(word.split("=", 1) for word in shlex.split(capsys.readouterr().out) if word != "export")
    assert exports["KONTOR_HOME"] == str(home)
    assert exports["PREFECT_API_URL"] == "http://127.0.0.1:4321/api"
    assert exports["PREFECT_HOME"] == str(home / "prefect")


def test_config_check_says_ok_or_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake with its place."""
    file = tmp_path / "kontor.yaml"
    file.write_text("risk: {max_open_orders: 3}")
    assert main(["config", "check", "--file", str(file)]) == 0
    assert "is right" in capsys.readouterr().out
    file.write_text("risk: {max_open_orders: -3, max_ordr_value: 1}")
    assert main(["config", "check", "--file", str(file)]) == 1
    error = capsys.readouterr().err
    assert "risk.max_open_orders" in error
    assert "kontor.yaml line 1: risk.max_ordr_value: is not a known key" in error
    assert "did you mean max_order_value?" in error


async def test_config_check_names_positions_that_no_strategy_would_manage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who takes a strategy out of the file reads it before the desk does."""
    home = Home(tmp_path / "home")
    home.make()
    order = Order("k1", "paper", "BTC/USD", Side.BUY, OrderType.MARKET, Decimal(2), NOW, strategy="old")
    fill = Fill("t1", "BTC/USD", Side.BUY, Decimal(2), Decimal(100), NOW, "v1", client_order_id="k1")
    async with opened(home.default_store_url) as store:
        await store.migrate()
        await store.market.save_markets("paper", MARKETS, NOW)
        await store.orders.enqueue([order], "test")
        await store.orders.save_fills("paper", [fill])
    file = tmp_path / "kontor.yaml"
    file.write_text("risk: {max_open_orders: 3}")

    def check() -> str:
        assert main(["config", "check", "--file", str(file)]) == 0
        return capsys.readouterr().err

    assert await asyncio.to_thread(check) == (
        "kontor: account paper: strategy old holds +2 BTC/USD and is not in kontor.yaml any more: it has no exit rules,"
        " so nothing ends it; close it with close-position symbol=BTC/USD, or bring the strategy back\n"
    )
    file.write_text("strategies: {old: {use: sma_cross, symbols: [BTC/USD]}}")
    assert await asyncio.to_thread(check) == ""


def test_help_env_and_paper_do_not_load_prefect_or_ccxt() -> None:
    """They cost seconds, and a shell's prompt may call `kontor env`."""
    code = """
import sys
from deployments.cli import main
main(["env"]); main(["paper", "--port", "0", "--markets", "0"])
print([name for name in ("prefect", "ccxt", "sqlalchemy") if name in sys.modules], file=sys.stderr)
"""
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stderr
    assert output.splitlines()[-1] == "[]"


def status() -> DeskStatus:
    well = UpdaterHealth("update-tickers", timedelta(seconds=10), NOW, timedelta(seconds=3.25), ok=True, reason="")
    down = UpdaterHealth("update-ranges", timedelta(minutes=5), None, None, ok=False, reason="never reported")
    held = CurrencyBalance(Decimal("9000.5"), Decimal(500), Decimal("9500.5"))
    position = Position(
        "BTC/USD:USD",
        PositionSide.LONG,
        Decimal("0.10"),
        Decimal(50000),
        Decimal(50100),
        Decimal(10),
        None,
        None,
        None,
        NOW,
    )
    balance = Balance("USD", Decimal("9500.5"), Decimal("9000.5"), Decimal(500), NOW, {"USD": held})
    return DeskStatus(
        "http://127.0.0.1:4200", "paper", (well, down), {"FILLED": 2, "SUBMITTED": 0}, (position,), balance
    )


def test_the_json_status_has_the_keys_that_others_rely_on() -> None:
    """The interface of the project; numbers are numbers."""
    data = json.loads(json.dumps(status().to_json()))
    assert list(data)[:6] == ["prefect_url", "account", "updaters", "orders", "positions", "balance"]
    added = ["breakers", "streams", "halted", "clock_drift", "dead_mans_switch", "units", "oldest_unknown_seconds"]
    added += ["equity", "initial_capital", "remarks", "page_url", "stream_messages", "initialized", "initialization"]
    assert list(data)[6:] == [*added, "mode", "transferred"]
    assert data["updaters"] == {
        "update-tickers": {
            "last_success_at": "2026-01-01T12:00:00+00:00",
            "age_seconds": 3.25,
            "interval_seconds": 10.0,
            "ok": True,
        },
        "update-ranges": {"last_success_at": None, "age_seconds": None, "interval_seconds": 300.0, "ok": False},
    }
    assert data["orders"] == {"FILLED": 2, "SUBMITTED": 0}
    assert data["positions"][0]["quantity"] == 0.1
    assert data["balance"]["currencies"]["USD"]["free"] == 9000.5


async def test_the_live_view_goes_on_whatever_it_meets(tmp_path: Path) -> None:
    """It stays open overnight, through restarts of the desk; a halt is its first line."""
    out = io.StringIO()
    home = Home(tmp_path / "home")
    await watch_status(home, ["paper"], 0.001, Console(file=out, width=120), looks=2)
    assert "no desk has ever run" in out.getvalue()
    home.make()
    async with opened(home.default_store_url) as store:
        await store.migrate()
        await halt(store.desk, "paper", "the key was refused", actor="updater", at=NOW)
    out.truncate(0)
    await watch_status(home, ["paper"], 0.001, Console(file=out, width=120), looks=1)
    assert "HALTED    the key was refused; the flow resume-trading" in out.getvalue()
    assert "every 0.001 s; Ctrl-C ends it" in out.getvalue()


def test_an_account_that_is_not_initialized_says_why_and_what_follows() -> None:
    """Before anything else: its updaters are down for no other reason."""
    noted = {"problem": "OnMaintenance: closed", "remedy": "at once: prefect deployment run initialize/live"}
    noted["retry_at"] = "2026-01-01T03:04:05+00:00"
    console = Console(width=160)
    with console.capture() as capture:
        console.print(render(replace(status(), initialized=False, initialization=noted)))
        console.print(render(replace(status(), initialized=False)))
    lines = [line for line in capture.get().splitlines() if "NOT INITIALIZED" in line]
    assert lines[0].rstrip() == (
        "NOT INITIALIZED: OnMaintenance: closed; tried again at 03:04:05 UTC; at once: prefect deployment run"
        " initialize/live"
    )
    assert "waits for the flow initialize" in lines[1]


def test_without_a_name_the_status_is_that_of_every_account_that_is_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A desk that trades with real money alone has no account of the name paper."""
    monkeypatch.chdir(tmp_path)
    entry = "{name: %s, entrypoint: flows.account.update_balance, parameters: {account: %s}}"
    for names in (["live"], ["live", "main", "paper"]):
        text = ", ".join(entry % (name, name) for name in names)
        (tmp_path / "prefect.yaml").write_text(f"deployments: [{text}]")
        assert default_accounts() == sorted(names, key=lambda name: name != "paper")


@pytest.mark.parametrize(
    ("mode", "shown"),
    [("live", "LIVE, real money"), ("sandbox", "sandbox"), ("paper", "paper"), (None, "never reached")],
)
def test_the_first_line_says_with_what_the_account_trades(mode: str | None, shown: str) -> None:
    """Nobody must take a live account for a paper one."""
    found = replace(status(), mode=mode)
    console = Console(width=200)
    with console.capture() as capture:
        console.print(render(found))
    assert f"account paper   {shown}" in capture.get().splitlines()[0]
    assert found.to_json()["mode"] == mode


async def test_the_status_has_the_mode_as_the_desk_reached_the_account(tmp_path: Path) -> None:
    home = Home(tmp_path)
    async with opened(home.default_store_url) as store:
        await store.migrate()
        assert (await status_of(store, "main", Ports.from_environment(), {})).mode is None
        await note_stakes(store.desk, ExchangeSettings("okx", "main", mode="paper", sandbox=True), NOW)
        assert (await status_of(store, "main", Ports.from_environment(), {})).mode == "sandbox"


def test_the_status_for_a_person_names_what_is_down_and_why() -> None:
    """And where the UI is."""
    console = Console(width=120)
    with console.capture() as capture:
        console.print(render(status()))
    text = capture.get()
    assert "http://127.0.0.1:4200" in text
    assert "never: never reported" in text
    assert "2 FILLED" in text
    assert "SUBMITTED" not in text
    assert "9,500.50 USD in total" in text


def test_the_status_says_which_symbols_a_fresh_channel_leaves_to_rest() -> None:
    """Fresh is not whole: whoever misses a price should read here who brings it."""
    fresh = ChannelState("tickers", "stream-market", is_fresh=True, at=NOW, since=NOW, left_out=tuple("ABCDEFG"))
    found = replace(status(), streams=(fresh, replace(fresh, channel="candles", left_out=())))
    console = Console(width=120)
    with console.capture() as capture:
        console.print(render(found))
    assert "streams   tickers, candles" in capture.get()
    assert "tickers without 7 symbols, which are left to REST: A, B, C, D, E, ..." in capture.get()
    assert json.loads(json.dumps(found.to_json()))["streams"]["tickers"]["left_out"] == list("ABCDEFG")
