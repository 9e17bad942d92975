"""`kontor metrics`: the desk's figures for Prometheus."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.progress import console
from deployments.home import LOOPBACK, Home, read_port
from deployments.json_logs import configure_logging
from kontor.errors import KontorError

PORT_VARIABLE = "KONTOR_METRICS_PORT"
DEFAULT_PORT = 8411
ENDS = (signal.SIGINT, signal.SIGTERM)


def metrics(
    *, port: int | None = None, once: Annotated[bool, Parameter(negative="")] = False, account: str | None = None
) -> None:
    """Serve the figures of all of the desk's processes at one address on loopback until Ctrl-C, for Prometheus.

    Parameters
    ----------
    port
        Where to listen; 0 takes any free port. Default: KONTOR_METRICS_PORT, else 8411.
    once
        Print the figures and end.
    account
        Read the store for this account alone while the desk's own processes do not. Default: every account of
        prefect.yaml.

    """
    from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest, start_http_server

    from deployments.metrics.desk import DeskCollector, from_outside
    from deployments.metrics.following import StoreFigures, in_a_thread, recent_accounts
    from deployments.metrics.merged import MergedCollector

    home, accounts = Home.from_environment(), recent_accounts(account)
    configure_logging(logging.WARNING)
    disable_created_metrics()
    served, counted = CollectorRegistry(), CollectorRegistry()
    figures = StoreFigures(counted)
    collector = DeskCollector(accounts, from_outside(home))
    served.register(MergedCollector(home.metrics, collector.collect, counted.collect))
    if once:
        asyncio.run(figures.look_once(home, accounts))
        print(generate_latest(served).decode(), end="")  # noqa: T201 - for a program to read
        return
    wanted = read_port(os.environ, PORT_VARIABLE, DEFAULT_PORT) if port is None else port
    # Held back before the server's thread begins: the wait below gets them, in whichever thread they arrive.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    try:
        server, thread = start_http_server(wanted, addr=LOOPBACK, registry=served)
        console.print(f"metrics at http://{LOOPBACK}:{server.server_port}/metrics; Ctrl-C ends it")
        with in_a_thread(figures, home, accounts):
            signal.sigwait(ENDS)
        server.shutdown()
        server.server_close()
        thread.join()
    except OSError as error:
        raise KontorError(f"port {wanted} cannot be used ({error.strerror}); name another with --port") from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
