"""Prefect's flow engines, changed where they assume that the process belongs to one run."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from anyio import CancelScope
from prefect import flow_engine
from prefect._flow_run_suspension import FlowRunSuspensionRequest, register_flow_run_suspension_request
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.states import Crashed, Scheduled
from prefect.types._datetime import now

from deployments.in_process.client import RunClient, ThreadRunClient
from deployments.in_process.runs import ActiveRun, Phase, StopKind


class ThreadStopped(TerminationSignal):
    """Raised inside a synchronous flow's thread when its run is told to stop."""

    def __init__(self) -> None:
        super().__init__(signal=signal.SIGTERM)


def drained_state(run: ActiveRun, when_drained: str) -> State[Any]:
    """The state of a run that was stopped together with its worker."""
    message = run.stop.message if run.stop else "The worker was stopped."
    if when_drained == "reschedule":
        return Scheduled(scheduled_time=now("UTC"), name="Rescheduled", message=message)
    return Crashed(message=message)


class _SharedProcess:
    """What both engines have in common here: no thread, loop or connection of their own per run."""

    active: ActiveRun
    when_drained: str
    flow_run: Any

    @property
    def heartbeat_seconds(self) -> int | None:
        """None: the worker emits the heartbeats of all its runs."""
        return None

    @contextmanager
    def setup_flow_run_suspension_request(self) -> Iterator[FlowRunSuspensionRequest]:
        """Registered for the worker's one listener, instead of a thread and a websocket per run."""
        request = self._get_flow_run_suspension_request()  # pyright: ignore[reportAttributeAccessIssue]
        with register_flow_run_suspension_request(self.flow_run.id, request):
            request.raise_if_requested()
            yield request

    def _was_drained(self) -> bool:
        return self.active.stop is not None and self.active.stop.kind is StopKind.DRAINED


@dataclass
class AsyncEngine(_SharedProcess, flow_engine.AsyncFlowRunEngine[Any, Any]):
    """An asynchronous flow in the worker's own loop."""

    active: ActiveRun = field(kw_only=True)
    when_drained: str = field(kw_only=True, default="crash")
    _run_client: RunClient | None = field(init=False, default=None)

    @property
    def client(self) -> PrefectClient:
        """The worker's client, as this run may see it."""
        if self._run_client is None:
            assert self.flow_run is not None  # noqa: S101 - the worker always brings the run
            self._run_client = RunClient(super().client, self.flow_run)
        return self._run_client

    async def handle_cancellation(self, exc: BaseException) -> None:
        """Prefect's, told to whoever waits for the run to end."""
        self.active.phase = Phase.ENDING
        await super().handle_cancellation(exc)

    async def handle_crash(self, exc: BaseException) -> None:
        """Prefect's, unless the worker itself ended the run: then its state says so."""
        self.active.phase = Phase.ENDING
        if not self._was_drained():
            return await super().handle_crash(exc)
        with CancelScope(shield=True):
            await self.set_state(drained_state(self.active, self.when_drained), force=True)
            self._raised = exc  # pyright: ignore[reportAttributeAccessIssue]
            self._telemetry.record_exception(exc)
            self._telemetry.end_span_on_failure(self.state.message)
        return None

    async def execute(self) -> State[Any]:
        """The state that the flow ended in."""
        async with self.start():
            while self.is_running():
                async with self.run_context():
                    if self.flow.isgenerator:
                        generated: Any = self.flow.fn(**(self.parameters or {}))
                        async for _ in generated:
                            pass
                        await self.handle_success(None)
                    else:
                        await self.call_flow_fn()
        return self.state


@dataclass
class ThreadEngine(_SharedProcess, flow_engine.FlowRunEngine[Any, Any]):
    """A synchronous flow in a thread of its own."""

    active: ActiveRun = field(kw_only=True)
    when_drained: str = field(kw_only=True, default="crash")
    _user_code: threading.Lock = field(init=False, default_factory=threading.Lock)

    @property
    def client(self) -> SyncPrefectClient:
        """This run's own client, made patient."""
        return ThreadRunClient(super().client)

    def handle_success(self, result: Any) -> Any:
        """Prefect's; from here on a stop comes too late to be raised in the thread."""
        self._leave_user_code()
        return super().handle_success(result)

    def handle_cancellation(self, exc: BaseException) -> None:
        """Prefect's, told to whoever waits for the run to end."""
        self._leave_user_code()
        super().handle_cancellation(exc)

    def handle_crash(self, exc: BaseException) -> None:
        """Prefect's, unless the worker itself ended the run: then its state says so."""
        self._leave_user_code()
        if not self._was_drained():
            return super().handle_crash(exc)
        self.set_state(drained_state(self.active, self.when_drained), force=True)
        self._raised = exc  # pyright: ignore[reportAttributeAccessIssue]
        return None

    def handle_exception(self, exc: Exception, *args: Any, **options: Any) -> State[Any]:
        """Prefect's, out of reach of a stop while the state is proposed."""
        self._leave_user_code()
        return super().handle_exception(exc, *args, **options)

    def interrupt(self) -> None:
        """Raise `ThreadStopped` in the flow at its next byte code; a blocking C call has to return first."""
        with self._user_code:
            if self.active.thread_id is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self.active.thread_id), ctypes.py_object(ThreadStopped)
                )

    def _leave_user_code(self) -> None:
        with self._user_code:
            self.active.thread_id = None

    def execute(self) -> State[Any]:
        """The state that the flow ended in."""
        with self.start():
            while self.is_running():
                with self.run_context():
                    self.active.thread_id = threading.get_ident()
                    if self.flow.isgenerator:
                        generated: Any = self.flow.fn(**(self.parameters or {}))
                        for _ in generated:
                            pass
                        self.handle_success(None)
                    else:
                        self.call_flow_fn()
        return self.state

    async def execute_in(self, executor: Executor) -> State[Any]:
        """The state that the flow ended in, from a thread that a canceled caller interrupts but never abandons."""
        context = copy_context()
        work = asyncio.get_running_loop().run_in_executor(executor, context.run, self.execute)
        while True:
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                if work.done():
                    with suppress(asyncio.CancelledError):
                        return work.result()
                    raise
                self.interrupt()
