"""Logs as one JSON object a line, for whoever collects them: KONTOR_LOG_FORMAT=json."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from kontor.errors import ConfigError

VARIABLE = "KONTOR_LOG_FORMAT"
TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
# The facts in our lines: `order sent client_order_id=k7 symbol=BTC/USD`. A value ends at a blank.
FACT = re.compile(r"(?<!\S)([a-z][a-z_]*)=(\S+)")
RUN = ("flow_run_id", "flow_run_name", "task_run_id", "task_run_name")


class JsonLines(logging.Formatter):
    """A record as JSON: at, level, logger, message, the facts in the message, its run, and an exception's traceback."""

    def __init__(self, *_: Any, **__: Any) -> None:
        # Prefect's logging settings name a format, which this one does not need.
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the record holds."""
        message = record.getMessage()
        found: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": message,
            "process": record.process,
            **{name: str(value) for name in RUN if (value := getattr(record, name, None)) is not None},
        }
        found |= {name: value for name, value in FACT.findall(message) if name not in found}
        if record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(found).decode()


def wants_json(environment: Mapping[str, str] | None = None) -> bool:
    """Whether JSON is asked for; raises ConfigError for a format that does not exist."""
    wanted = (os.environ if environment is None else environment).get(VARIABLE) or "text"
    if wanted not in {"text", "json"}:
        raise ConfigError(f"must be text or json, not {wanted!r}", where=VARIABLE)
    return wanted == "json"


def as_line(logger: str, message: str, level: int = logging.INFO) -> str:
    """What a command says, as a line like those of the desk's processes."""
    return JsonLines().format(logging.LogRecord(logger, level, "", 0, message, None, None))


def configure_logging(level: int = logging.INFO) -> None:
    """Logs of a process that is none of Prefect's, to standard error, in the format that is asked for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if wants_json() else logging.Formatter(TEXT))
    logging.basicConfig(level=level, handlers=[handler])


def log_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The Prefect settings for the format that is asked for; raises ConfigError for one that does not exist."""
    if not wants_json(environment):
        return {}
    return {
        "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": f"{JsonLines.__module__}.{JsonLines.__qualname__}",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
    }
