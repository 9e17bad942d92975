"""`kontor web`: the desk's page on its own, as `kontor up` starts it."""

from __future__ import annotations

import asyncio
import logging
import os

from deployments.exposure import Exposure
from deployments.home import DEFAULT_WEB_PORT, WEB_PORT_VARIABLE, Home, read_port
from deployments.json_logs import configure_logging
from deployments.project import Project


def web(*, port: int | None = None) -> None:
    """Serve the desk's read-only page until Ctrl-C: candles, orders, equity and health, live.

    `kontor up` does so by itself. A desk that is down can be looked at as well.

    Parameters
    ----------
    port
        Where to listen; 0 takes any free port. Default: KONTOR_WEB_PORT, else 8410.

    """
    home, project, exposure = Home.from_environment(), Project.find(), Exposure.of_page()
    wanted = read_port(os.environ, WEB_PORT_VARIABLE, DEFAULT_WEB_PORT) if port is None else port
    # aiohttp and the store take a moment that `kontor --help` need not wait for.
    from deployments.page import serve_page

    # Each look of a browser is no line of a log.
    configure_logging(logging.WARNING)
    asyncio.run(serve_page(home, project, exposure, wanted))
