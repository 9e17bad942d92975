"""The Prefect server of the flow tests: Prefect's own, with the desk's one change to SQLite.

Without it a garbage collection at the wrong moment stops the server for a minute
(docs/adr/0002-one-connection-for-sqlite.md).
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from prefect.server.api import server
from prefect.settings import get_current_settings

from deployments.server import give_sqlite_one_connection

REPOSITORY = Path(__file__).parents[2]
# As Prefect's own test harness starts its server.
MARKS = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


def create_app() -> Any:
    """Prefect's application on one connection."""
    give_sqlite_one_connection()
    return server.create_app()


def start(harness: server.SubprocessASGIServer) -> "subprocess.Popen[bytes]":
    """In place of the command that Prefect's harness starts its server with."""
    app = ["-m", "uvicorn", "--app-dir", str(REPOSITORY), "--factory", "tests.support.prefect_server:create_app"]
    where = ["--host", "127.0.0.1", "--port", str(harness.port), "--log-level", "error", "--lifespan", "on"]
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    return subprocess.Popen([sys.executable, *app, *where], env={**os.environ, **MARKS, **settings})
