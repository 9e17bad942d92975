"""What a worker does with the due runs a poll has found: takes them on, and skips what is too late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, WorkPool
from prefect.logging import get_logger
from prefect.settings import get_current_settings
from prefect.types._datetime import now

from deployments.in_process.backlog import collapse, newest_due
from deployments.in_process.life import Lives

logger = get_logger("worker.in_process.intake")


class Intake:
    """Begins each run once, whatever a poll finds again; what is skipped is skipped beside the polls."""

    def __init__(self, client: PrefectClient, lives: Lives, wanted: asyncio.Event) -> None:
        self._client = client
        self._lives = lives
        self._wanted = wanted
        self._skipping: set[UUID] = set()
        self._background: set[asyncio.Task[None]] = set()

    async def take(self, flow_runs: Iterable[FlowRun], work_pool: WorkPool) -> list[FlowRun]:
        """The runs that were begun: of a backlog only what is still worth running."""
        moment = now("UTC")
        found = {run.id: run for run in flow_runs}
        backlog = collapse(self._unknown(found.values()), moment)
        page = get_current_settings().server.api.default_limit
        if len(found) >= page and backlog.to_skip:
            self._wanted.set()
            found |= {run.id: run for run in await newest_due(self._client, backlog, moment, page)}
            backlog = collapse(self._unknown(found.values()), moment)
        begun = [run for run in backlog.to_run if await self._lives.begin(run, work_pool)]
        if backlog.to_skip:
            logger.warning("event=backlog skipped=%d running=%d", len(backlog.to_skip), len(begun))
            self._skipping |= {flow_run.id for flow_run, _ in backlog.to_skip}
            task = asyncio.create_task(self._skip(backlog.to_skip))
            self._background.add(task)
            task.add_done_callback(self._background.discard)
        return begun

    def _unknown(self, flow_runs: Iterable[FlowRun]) -> list[FlowRun]:
        """Those that are neither taken on nor being skipped."""
        return [run for run in flow_runs if run.id not in self._lives.registry and run.id not in self._skipping]

    async def _skip(self, late: list[tuple[FlowRun, datetime]]) -> None:
        for flow_run, newest in late:
            try:
                await self._lives.skip(flow_run, newest)
            except Exception:
                logger.exception("event=skip-failed flow_run_id=%s", flow_run.id)
            finally:
                self._skipping.discard(flow_run.id)
