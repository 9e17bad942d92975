"""One real Prefect server for the flow tests, on a port and in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL
from prefect.testing.utilities import prefect_test_harness

from tests.support.prefect_server import start


@pytest.fixture(scope="session")
def prefect_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running server; the value is the file it keeps everything in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.delenv("KONTOR_KEEP_SESSIONS_OPEN", raising=False)
        patch.setattr(SubprocessASGIServer, "_run_uvicorn_command", start)
        with prefect_test_harness(server_startup_timeout=90):
            yield Path(PREFECT_SERVER_DATABASE_CONNECTION_URL.value().partition("///")[2])
