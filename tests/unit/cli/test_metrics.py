"""Figures for Prometheus: what the status knows, as gauges; and a dashboard that asks for nothing else."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import generate_latest

from deployments.cli import main
from deployments.desk_status import DeskStatus
from deployments.home import Home
from deployments.metrics import metrics, registry
from deployments.stores import opened
from kontor.domain.account import Balance, Position, PositionSide
from kontor.domain.health import UpdaterHealth
from kontor.execution.halt import Halt, halt
from kontor.resilience.breaker_state import ReportedBreaker
from kontor.resilience.circuit_breaker import BreakerState, BreakerStatus
from kontor.streams.freshness import ChannelState

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PRICES = (Decimal("0.1"), Decimal(50000), Decimal(50100), Decimal(10))
HELD = Position("BTC/USD:USD", PositionSide.LONG, *PRICES, None, None, None, NOW)
REPOSITORY = Path(__file__).resolve().parents[3]


def status() -> DeskStatus:
    """An account of which everything is known."""
    return DeskStatus(
        "http://127.0.0.1:4200",
        "paper",
        (
            UpdaterHealth("update-tickers", timedelta(seconds=10), NOW, timedelta(seconds=3), ok=True, reason=""),
            UpdaterHealth("update-ranges", timedelta(minutes=5), None, None, ok=False, reason="never reported"),
        ),
        {"FILLED": 2, "INITIALIZED": 1},
        (HELD,),
        Balance("USD", Decimal("9500.5"), Decimal("9000.5"), Decimal(500), NOW, {}),
        breakers=(ReportedBreaker("orders", BreakerStatus("okx orders", BreakerState.OPEN), NOW),),
        streams=(ChannelState("tickers", "market", is_fresh=True, at=NOW, since=NOW),),
        halt=Halt("the key was refused", "updater", NOW),
        oldest_unknown=timedelta(seconds=42),
        clock_drift={"seconds": -0.25},
    )


def figures(status: DeskStatus) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics(status, NOW)
        for sample in family.samples
    }


def test_every_figure_of_the_status_is_a_gauge() -> None:
    """What a person sees in `kontor status` an alert rule can see as well."""
    found = figures(status())
    assert found["kontor_updater_age_seconds", "paper", "update-tickers"] == 3
    assert ("kontor_updater_age_seconds", "paper", "update-ranges") not in found
    assert found["kontor_updater_ok", "paper", "update-ranges"] == 0
    assert found["kontor_orders", "paper", "INITIALIZED"] == 1
    assert found["kontor_oldest_unknown_seconds", "paper"] == 42
    assert found["kontor_halted", "paper"] == 1
    assert found["kontor_balance", "paper", "USD", "free"] == 9000.5
    assert found["kontor_position_quantity", "paper", "BTC/USD:USD", "long"] == 0.1
    assert found["kontor_unrealized_pnl", "paper", "BTC/USD:USD", "long"] == 10
    assert found["kontor_breaker_not_closed", "paper", "orders", "okx orders", "open"] == 1
    assert found["kontor_stream_fresh", "paper", "tickers"] == 1
    assert found["kontor_clock_drift_seconds", "paper"] == -0.25


def test_the_dashboard_asks_only_for_what_there_is_and_for_all_that_matters() -> None:
    """A renamed metric would leave an empty panel that looks like a quiet desk."""
    dashboard: dict[str, Any] = json.loads((REPOSITORY / "docs/grafana/kontor.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for each in panel["targets"]
        for name in re.findall(r"kontor_\w+", each["expr"])
    }
    exported = {name for name, *_ in figures(status())} | {"kontor_up"}
    assert asked <= exported
    assert exported - asked <= {"kontor_status_read_at_seconds"}
    documented = set(re.findall(r"`(kontor_\w+)`", (REPOSITORY / "docs/metrics.md").read_text()))
    assert documented == exported


async def test_an_account_that_cannot_be_read_is_down_and_hides_no_other(tmp_path: Path) -> None:
    """A scrape that fails as a whole would look like a network problem."""
    home = Home(tmp_path / "home")
    import asyncio

    served = registry(home, ["paper"])
    assert 'kontor_up{account="paper"} 0.0' in (await asyncio.to_thread(generate_latest, served)).decode()
    home.make()
    async with opened(home.default_store_url) as store:
        await store.migrate()
        await halt(store.desk, "paper", "by hand", actor="test", at=NOW)
    text = (await asyncio.to_thread(generate_latest, served)).decode()
    assert 'kontor_up{account="paper"} 1.0' in text
    assert 'kontor_halted{account="paper"} 1.0' in text


def test_the_server_listens_on_loopback_and_ends_on_a_signal(tmp_path: Path) -> None:
    """As a service beside the desk."""
    command = [sys.executable, "-u", "-m", "deployments.cli", "metrics", "--port", "0", "--account", "paper"]
    environment = {"KONTOR_HOME": str(tmp_path / "home"), "PATH": ""}
    with subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            url = line.split()[2].rstrip(";")
            assert url.startswith("http://127.0.0.1:")
            assert 'kontor_up{account="paper"} 0.0' in httpx.get(url, timeout=30, trust_env=False).text
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_a_taken_port_is_one_sentence(capsys: Any) -> None:
    """Two of them, or something else."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["metrics", "--port", str(port), "--account", "paper"]) == 1
    assert f"port {port} cannot be used" in capsys.readouterr().err
