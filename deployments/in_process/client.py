"""The worker's Prefect client as one run's engine sees it: patient, and aware of what the claim has settled already."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.context import SettingsContext, get_settings_context
from prefect.logging import get_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES
from prefect.types import DateTime

logger = get_logger("worker.in_process.client")

#: Seconds between tries while the API does not answer.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 3.0
_SERVER_ERROR, _FORBIDDEN = 500, 403


def is_outage(error: BaseException) -> bool:
    """Whether the API is away rather than unwilling."""
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        # A CSRF token that lapsed or was replaced: the client has asked for a new one by now.
        return status >= _SERVER_ERROR or (status == _FORBIDDEN and "CSRF" in error.response.text)
    return isinstance(error, httpx.TransportError)


_impatient: SettingsContext | None = None


@contextmanager
def without_client_retries() -> Iterator[None]:
    """Calls made inside fail at once; Prefect's client would otherwise wait up to half a minute between tries."""
    global _impatient  # noqa: PLW0603 - building a settings context costs milliseconds, entering this one nothing
    if _impatient is None:
        current = get_settings_context()
        settings = current.settings.copy_with_update(updates={PREFECT_CLIENT_MAX_RETRIES: 0})
        _impatient = SettingsContext(profile=current.profile, settings=settings)
    token = SettingsContext.__var__.set(_impatient)
    try:
        yield
    finally:
        SettingsContext.__var__.reset(token)


def _pauses() -> Iterator[float]:
    """How long to wait before each further try, for ever."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


def _raise_unless_outage(error: Exception) -> None:
    if not is_outage(error):
        raise error
    logger.debug("event=api-away error=%r", error)


class ThreadRunClient(SyncPrefectClient):
    """A view of a started synchronous client for one flow run's engine, as patient as `RunClient`."""

    def __init__(self, shared: SyncPrefectClient) -> None:
        vars(self).update(vars(shared))

    def request(self, *args: Any, **options: Any) -> httpx.Response:
        """The API's answer, whenever it comes."""
        for pause in _pauses():
            try:
                with without_client_retries():
                    return super().request(*args, **options)
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                _raise_unless_outage(error)
            time.sleep(pause)
        raise AssertionError  # the pauses never end


class RunClient(PrefectClient):
    """A view of a started client for one flow run's engine.

    An API that is away is waited for, as long as it takes: the run's state has to be true in the end. The two calls
    with which an engine learns what the worker knows already are answered here.
    """

    def __init__(self, shared: PrefectClient, flow_run: FlowRun | None) -> None:
        vars(self).update(vars(shared))
        self._run_to_begin = flow_run

    async def request(self, *args: Any, **options: Any) -> httpx.Response:
        """The API's answer, whenever it comes; the body, and so the transition's id, is the same in each try."""
        for pause in _pauses():
            try:
                with without_client_retries():
                    return await super().request(*args, **options)
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                _raise_unless_outage(error)
            await asyncio.sleep(pause)
        raise AssertionError  # the pauses never end

    async def update_flow_run(self, flow_run_id: UUID, *args: Any, **options: Any) -> Any:
        """Nothing for the run at hand: its claim has written its policy, version and infrastructure."""
        if self._run_to_begin is None or flow_run_id != self._run_to_begin.id:
            return await super().update_flow_run(flow_run_id, *args, **options)
        return None

    async def read_flow_run(self, flow_run_id: UUID) -> FlowRun:
        """The run at hand as it has just begun; read from the API from its second attempt on."""
        run = self._run_to_begin
        if run is None or flow_run_id != run.id or run.state is None or not run.state.is_running():
            return await super().read_flow_run(flow_run_id)
        self._run_to_begin = None
        run.run_count += 1
        run.start_time = run.start_time or cast("DateTime", run.state.timestamp)
        return run
