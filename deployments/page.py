"""The desk's page for one home: its store, its password, and what Prefect knows of the updaters' intervals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from deployments.credentials import read_auth
from deployments.desk_status import DeskStatus, Source, desk_ports, desk_store, read_source, status_of
from deployments.exposure import Exposure
from deployments.home import Home, Ports
from deployments.metrics.desk import DeskCollector, from_inside
from deployments.metrics.endpoint import new_registry, serving
from deployments.metrics.merged import DESK
from deployments.metrics.orders import OrderFigures
from deployments.project import Project
from kontor.config import load_config
from kontor.errors import ConfigError
from kontor.ports import Store
from kontor.web import WebSettings, run_web

#: Intervals change with a deployment; asking Prefect's server every second would be a load of its own.
SOURCE_SECONDS = 30.0


@dataclass
class PageDesk:
    """What the page knows of a desk beside its store."""

    home: Home
    project: Project
    store: Store
    _sources: dict[str, tuple[float, Ports, Source]] = field(default_factory=dict)

    def accounts(self) -> Sequence[str]:
        """The accounts that prefect.yaml has deployments for."""
        return sorted(self.project.accounts())

    def timeframe(self) -> str:
        """Of the candles that are kept."""
        return load_config(self.project.config_file).candles.timeframe

    async def overview(self, account: str) -> dict[str, Any]:
        """The account's status, as `kontor status --json` has it."""
        return (await self.status(account)).to_json()

    async def status(self, account: str) -> DeskStatus:
        """The account's status, from the store that is open here."""
        known = self._sources.get(account)
        if known is None or time.monotonic() - known[0] > SOURCE_SECONDS:
            known = time.monotonic(), desk_ports(self.home), await read_source(self.home, account)
            self._sources[account] = known
        _, ports, (_, intervals, remarks) = known
        return await status_of(self.store, account, ports, intervals, remarks)


async def serve_page(home: Home, project: Project, exposure: Exposure, port: int) -> None:
    """Serve page and figures until a signal; raises KontorError when no desk has run here, or the port is taken."""
    password = read_auth(home)
    if not password:
        raise ConfigError("is missing, and nobody is let in without; 'kontor up' makes it", where=str(home.auth_file))
    settings = WebSettings(password, port=port, host=exposure.host, public_url=exposure.public_url)
    async with desk_store(home) as store:
        desk = PageDesk(home, project, store)
        registry = new_registry()
        registry.register(DeskCollector(desk.accounts, from_inside(asyncio.get_running_loop(), desk.status)))
        following = asyncio.create_task(OrderFigures(registry).follow(store, desk.accounts()))
        try:
            with serving(home.metrics, DESK, registry):
                await run_web(settings, store, desk)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
