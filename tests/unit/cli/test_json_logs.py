"""Logs for machines: one object a line, an order's id as a field of its own."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
