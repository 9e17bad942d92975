"""Logs for machines: one object a line, an order's id as a field of its own."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.cli.progress import progress
from deployments.json_logs import JsonLines, log_environment
from kontor.errors import ConfigError


def line(message: str, *args: object, error: BaseException | None = None) -> dict[str, object]:
    info = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord("kontor.execution", logging.WARNING, "x.py", 1, message, args, info)
    text = JsonLines("default", "%H", "%").format(record)
    assert "\n" not in text
    return json.loads(text)


def test_the_facts_of_a_message_are_fields() -> None:
    """`client_order_id` is what one searches for."""
    found = line("order sent client_order_id=%s symbol=%s level=9", "k7abc", "BTC/USD")
    assert found["message"] == "order sent client_order_id=k7abc symbol=BTC/USD level=9"
    assert (found["client_order_id"], found["symbol"]) == ("k7abc", "BTC/USD")
    assert (found["level"], found["logger"]) == ("WARNING", "kontor.execution")
    assert str(found["at"]).endswith("+00:00")


def test_an_exception_stays_on_its_line() -> None:
    """A traceback over twenty lines is twenty entries of a log collector."""
    try:
        raise ValueError("no room")
    except ValueError as error:
        found = line("it broke", error=error)
    assert "ValueError: no room" in str(found["exception"])


def test_a_format_that_does_not_exist_is_refused() -> None:
    """Instead of a desk whose logs nobody can read."""
    assert log_environment({}) == {}
    with pytest.raises(ConfigError, match="KONTOR_LOG_FORMAT: must be text or json"):
        log_environment({"KONTOR_LOG_FORMAT": "xml"})


def test_prefects_own_logging_takes_it(tmp_path: Path) -> None:
    """Its settings name the class; a misspelt one would end every process at its start."""
    code = (
        "from prefect.logging.configuration import setup_logging; setup_logging(); import logging; "
        "logging.getLogger('prefect.worker').warning('ready account=%s', 'paper')"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = kept | {"PREFECT_HOME": str(tmp_path)} | log_environment({"KONTOR_LOG_FORMAT": "json"})
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(output.stderr.splitlines()[-1])["account"] == "paper"


def test_what_kontor_up_says_is_json_too_when_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A collector that meets a line of plain text between objects drops it, or stops."""
    monkeypatch.setenv("KONTOR_LOG_FORMAT", "json")
    with progress() as told:
        told.say("paper is initialized\nits gate is open")
    monkeypatch.setenv("KONTOR_LOG_FORMAT", "text")
    with progress() as told:
        told.say("paper is initialized")
    first, second = capsys.readouterr().out.splitlines()
    found = json.loads(first)
    assert (found["logger"], found["level"]) == ("kontor.up", "INFO")
    assert found["message"] == "paper is initialized\nits gate is open"
    assert second.endswith(" paper is initialized")


def test_the_processes_that_are_none_of_prefects_log_json_too(tmp_path: Path) -> None:
    """The paper exchange and the page have no logging of Prefect's; and a command that fails says so in JSON."""
    environment = {"KONTOR_LOG_FORMAT": "json", "KONTOR_HOME": str(tmp_path / "home"), "PATH": ""}
    code = """
import logging
from deployments.cli.progress import progress
from deployments.json_logs import configure_logging
configure_logging()
logging.getLogger("kontor.paper.server").info("listening url=%s", "http://x")
from deployments.cli import main
main(["up"])
"""
    (tmp_path / "kontor.yaml").write_text("risk: {max_open_orders: -3}")
    (tmp_path / "prefect.yaml").write_text("deployments: [{name: paper, entrypoint: flows.operate.initialize}]")
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in (output.stderr + output.stdout).splitlines()]
    assert (lines[0]["logger"], lines[0]["url"]) == ("kontor.paper.server", "http://x")
    assert [each["level"] for each in lines if "max_open_orders" in each["message"]] == ["ERROR"]
