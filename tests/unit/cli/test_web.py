"""`kontor web`: the page on its own, as the desk starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from deployments.cli import main
from deployments.credentials import make_auth
from deployments.exposure import EVERYWHERE
from deployments.home import Home, Ports
from deployments.lineup import NICENESS, QUEUES, Lineup
from deployments.metrics.endpoint import targets
from deployments.project import Project
from deployments.stores import opened

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A desk that has been there and is down."""
    made = Home(tmp_path / "home")
    made.make()
    make_auth(made)
    async with opened(made.default_store_url) as store:
        await store.migrate()
    monkeypatch.setenv("KONTOR_HOME", str(made.path))
    return made


def test_without_a_desk_or_a_password_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence; nobody is let in without a password, so nothing is served."""
    monkeypatch.setenv("KONTOR_HOME", str(tmp_path / "home"))
    assert main(["web", "--port", "0"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "'kontor up' makes it" in said
    monkeypatch.setenv("KONTOR_WEB_HOST", EVERYWHERE[0])
    assert main(["web", "--port", "0"]) == 1
    assert "KONTOR_WEB_PUBLIC_URL" in capsys.readouterr().err


def test_a_taken_port_is_one_sentence(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """Two desks on one machine, or something else."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["web", "--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert f"port {port} on 127.0.0.1 is taken" in said
    assert said.count("\n") == 1


def test_it_serves_a_desk_that_is_down_with_its_figures_and_ends_on_a_signal(home: Home) -> None:
    """To look at what was, and as the desk's own child."""
    command = [sys.executable, "-u", "-m", "deployments.cli", "web", "--port", "0"]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("KONTOR_", "PREFECT_"))}
    environment = kept | {"KONTOR_HOME": str(home.path)}
    with subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            assert httpx.get(f"{url}/health", trust_env=False, timeout=30).text == "ok\n"
            assert httpx.get(url, trust_env=False, timeout=30).headers["Location"] == "/login"
            [target] = targets(home.metrics)
            text = httpx.get(target.url, trust_env=False, timeout=30).text
            assert (target.process, 'kontor_up{account="paper"} 1.0' in text) == ("desk", True)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert targets(home.metrics) == []


def test_the_desk_starts_it_in_a_process_that_gives_way(home: Home) -> None:
    """Whoever looks takes nothing from who trades; the password is no argument."""
    lineup = Lineup(home, Ports(1, 2, 3), Project(REPOSITORY), timedelta(days=3))
    spec = lineup.page()
    assert spec.niceness == NICENESS["page"] > 0
    assert spec.environment["KONTOR_WEB_PORT"] == "3"
    assert home.auth_file.read_text().strip() not in " ".join(spec.arguments)
    assert spec.name not in {f"worker {queue}" for queue in QUEUES}
