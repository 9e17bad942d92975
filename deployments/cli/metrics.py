"""`kontor metrics`: the desk's figures for Prometheus."""

from __future__ import annotations

import os
import signal
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.progress import console
from deployments.home import LOOPBACK, Home, read_port
from deployments.project import Project
from kontor.errors import KontorError

PORT_VARIABLE = "KONTOR_METRICS_PORT"
DEFAULT_PORT = 8411
ENDS = (signal.SIGINT, signal.SIGTERM)


def metrics(
    *, port: int | None = None, once: Annotated[bool, Parameter(negative="")] = False, account: str | None = None
) -> None:
    """Serve the desk's figures on loopback until Ctrl-C, for Prometheus to scrape.

    Parameters
    ----------
    port
        Where to listen; 0 takes any free port. Default: KONTOR_METRICS_PORT, else 8411.
    once
        Print the figures and end.
    account
        One account alone. Default: every account that prefect.yaml deploys.

    """
    from prometheus_client import generate_latest, start_http_server

    from deployments.metrics import registry

    accounts = [account] if account else sorted(Project.find().accounts())
    served = registry(Home.from_environment(), accounts)
    if once:
        print(generate_latest(served).decode(), end="")  # noqa: T201 - for a program to read
        return
    wanted = read_port(os.environ, PORT_VARIABLE, DEFAULT_PORT) if port is None else port
    # Held back before the server's thread begins: the wait below gets them, in whichever thread they arrive.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    try:
        server, thread = start_http_server(wanted, addr=LOOPBACK, registry=served)
        console.print(f"metrics at http://{LOOPBACK}:{server.server_port}/metrics; Ctrl-C ends it")
        signal.sigwait(ENDS)
        server.shutdown()
        server.server_close()
        thread.join()
    except OSError as error:
        raise KontorError(f"port {wanted} cannot be used ({error.strerror}); name another with --port") from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
