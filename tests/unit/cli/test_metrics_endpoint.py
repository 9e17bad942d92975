"""Where figures are served: each process its own, all at one address, and a dead one said to be dead."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from deployments.cli import main
from deployments.metrics.desk import metrics
from deployments.metrics.endpoint import Target, new_registry, on_loop, serving, targets
from deployments.metrics.merged import DESK, MergedCollector
from deployments.metrics.resources import ResourcesCollector, SessionFigures
from deployments.metrics.runs import RunFigures
from tests.unit.cli.figures import NOW, REPOSITORY, status


async def test_sessions_are_read_on_their_own_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate budget counts on when it is read: from another thread that could take a token twice."""
    import threading

    read_in: list[int] = []

    def look() -> list[SessionFigures]:
        read_in.append(threading.get_ident())
        return [SessionFigures("paper", 7.5, 10.0, 2, [("okx orders", 1.0), ("okx account", 0.0)])]

    monkeypatch.setattr("deployments.metrics.resources.look", look)
    registry = CollectorRegistry()
    registry.register(ResourcesCollector(asyncio.get_running_loop()))
    text = (await asyncio.to_thread(generate_latest, registry)).decode()
    assert read_in == [threading.get_ident()]
    assert 'kontor_rate_budget_tokens{account="paper"} 7.5' in text
    assert 'kontor_rate_budget_waiting{account="paper"} 2.0' in text
    assert 'kontor_breaker_state{account="paper",breaker="okx orders"} 1.0' in text


async def test_a_process_without_sessions_has_no_figures_of_any() -> None:
    """And looking opens none."""
    registry = CollectorRegistry()
    registry.register(ResourcesCollector(asyncio.get_running_loop()))
    text = (await asyncio.to_thread(generate_latest, registry)).decode()
    assert "kontor_rate_budget_tokens{" not in text


def test_a_loop_that_is_gone_gives_nothing_instead_of_hanging() -> None:
    """While a worker ends, a scrape may still be under way."""
    loop = asyncio.new_event_loop()
    loop.close()
    assert on_loop(loop, lambda: 1, 0) == 0


def test_a_process_says_where_its_figures_are_and_takes_that_back_at_its_end(tmp_path: Path) -> None:
    """In the form that Prometheus reads by itself, for its owner alone."""
    folder = tmp_path / "metrics"
    with serving(folder, "orders", new_registry()):
        [target] = targets(folder)
        group = json.loads((folder / "orders.json").read_text())
        assert group == [{"targets": [target.address], "labels": {"process": "orders"}}]
        assert target.address.startswith("127.0.0.1:")
        assert "process_cpu_seconds_total" in httpx.get(target.url, trust_env=False).text
        assert (folder / "orders.json").stat().st_mode & 0o077 == 0
    assert targets(folder) == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(target.url, trust_env=False)


def test_a_process_that_cannot_serve_works_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Figures are no reason not to trade."""
    (tmp_path / "metrics").write_text("not a folder")
    with serving(tmp_path / "metrics", "orders", new_registry()):
        pass
    assert "metrics_not_served process=orders" in caplog.text


def test_all_processes_are_told_apart_at_one_address_and_a_dead_one_is_said_to_be(tmp_path: Path) -> None:
    """Families of two processes are one family; what a kill -9 left behind is down, and its store is read here."""
    first, second = new_registry(), new_registry()
    RunFigures(first)._active.inc()
    RunFigures(second)
    Target("gone", "127.0.0.1:1").write(tmp_path)
    read: list[str] = []

    def store() -> Iterator[Metric]:
        read.append("store")
        yield from metrics(status(), NOW)

    served = CollectorRegistry()
    served.register(MergedCollector(tmp_path, store))
    with serving(tmp_path, "orders", first), serving(tmp_path, "updates", second):
        text = generate_latest(served).decode()
    assert 'kontor_runs_active{process="orders"} 1.0' in text
    assert 'kontor_runs_active{process="updates"} 0.0' in text
    assert text.count("# TYPE kontor_runs_active gauge") == 1
    assert text.count("# TYPE process_cpu_seconds_total counter") == 1
    assert 'kontor_process_up{process="gone"} 0.0' in text
    assert 'kontor_process_up{process="orders"} 1.0' in text
    assert 'kontor_halted{account="paper",process="desk"} 1.0' in text
    assert read == ["store"]
    with serving(tmp_path, DESK, new_registry()):
        generate_latest(served)
    assert read == ["store"]


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
            assert 'kontor_up{account="paper",process="desk"} 0.0' in httpx.get(url, timeout=30, trust_env=False).text
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
