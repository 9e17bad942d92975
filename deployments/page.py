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
from deployments.metrics.following import StoreFigures
from deployments.metrics.merged import DESK
from deployments.project import Project
from kontor.config import load_config
from kontor.errors import ConfigError, KontorError
from kontor.ports import Store
from kontor.web import WebSettings, run_web

#: Intervals change with a deployment; asking Prefect's server every second would be a load of its own.
KEPT_SECONDS = 30.0


@dataclass
class PageDesk:
    """What the page knows of a desk beside its store; files and server are asked again after half a minute."""

    home: Home
    project: Project
    store: Store
    #: Prefect's UI as people elsewhere type it; empty where they have none.
    public_url: str = ""
    _known: dict[str, tuple[float, Any]] = field(default_factory=dict)

    def accounts(self) -> Sequence[str]:
        """The accounts that prefect.yaml has deployments for, read again every half minute.

        While the file cannot be read, as in the middle of an edit, they are those of before.
        """
        known = self._recent("accounts")
        if known is None:
            before = self._known.get("accounts", (0.0, []))[1]
            try:
                known = sorted(self.project.accounts())
            except KontorError:
                known = before
            self._keep("accounts", known)
        return known

    def timeframe(self) -> str:
        """Of the candles that are kept."""
        known = self._recent("timeframe")
        return known or self._keep("timeframe", load_config(self.project.config_file).candles.timeframe)

    async def overview(self, account: str) -> dict[str, Any]:
        """The account's status, as `kontor status --json` has it."""
        found = (await self.status(account)).to_json()
        return found | {"prefect_url": self.public_url} if self.public_url else found

    async def status(self, account: str) -> DeskStatus:
        """The account's status, from the store that is open here."""
        name = f"source {account}"
        known: tuple[Ports, Source] | None = self._recent(name)
        ports, source = known or self._keep(name, (desk_ports(self.home), await read_source(self.home, account)))
        _, intervals, remarks = source
        return await status_of(self.store, account, ports, intervals, remarks)

    def _recent(self, name: str) -> Any:
        found = self._known.get(name)
        return found[1] if found is not None and time.monotonic() - found[0] < KEPT_SECONDS else None

    def _keep(self, name: str, value: Any) -> Any:
        self._known[name] = time.monotonic(), value
        return value


async def serve_page(home: Home, project: Project, exposure: Exposure, port: int) -> None:
    """Serve page and figures until a signal; raises KontorError when no desk has run here, or the port is taken."""
    password = read_auth(home)
    if not password:
        raise ConfigError("is missing, and nobody is let in without; 'kontor up' makes it", where=str(home.auth_file))
    settings = WebSettings(password, port=port, host=exposure.host, public_url=exposure.public_url)
    async with desk_store(home) as store:
        desk = PageDesk(home, project, store, Exposure.from_environment().public_url)
        registry = new_registry()
        registry.register(DeskCollector(desk.accounts, from_inside(asyncio.get_running_loop(), desk.status)))
        following = asyncio.create_task(StoreFigures(registry).follow(store, desk.accounts))
        try:
            with serving(home.metrics, DESK, registry):
                await run_web(settings, store, desk)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
