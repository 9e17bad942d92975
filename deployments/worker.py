"""The Prefect worker type `in-process`: flow runs inside one process and one event loop, on time at a second's scale.

Prefect's command line and server find it through the entry point group `prefect.collections`:
`prefect worker start --pool desk --type in-process`. What it does and what it costs: docs/worker.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

import anyio.abc
from prefect.context import AsyncClientContext
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED, get_current_settings, temporary_settings
from prefect.states import Crashed
from prefect.types._datetime import now
from prefect.workers.base import BaseWorker

from deployments.in_process.cancellation import Stopper
from deployments.in_process.catalog import DeploymentCatalog
from deployments.in_process.containment import contained_tasks
from deployments.in_process.drain import RESTART_EXIT_CODE, Drain
from deployments.in_process.heartbeats import keep_beating
from deployments.in_process.identity import ProcessIdentity
from deployments.in_process.intake import Intake
from deployments.in_process.job import JobConfiguration, JobResult, JobVariables
from deployments.in_process.life import Lives
from deployments.in_process.listener import Listener
from deployments.in_process.loops import background, repeat
from deployments.in_process.memory import MemoryKeeper, resident_mb
from deployments.in_process.orphans import OrphanSweep
from deployments.in_process.pulse import pulsing
from deployments.in_process.requests import Requests
from deployments.in_process.runs import ActiveRun, RunRegistry
from deployments.in_process.seams import DefaultResultStorage, shared_process
from deployments.in_process.settings import InProcessSettings
from deployments.in_process.shared import kept_open
from deployments.in_process.slots import Slots
from deployments.in_process.watchdog import watched_loop

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import WorkerFlowRunResponse

    from deployments.metrics.runs import RunFigures

_MEMORY_CHECK = 5.0
_DEFAULTS_CHECK = 60.0
_LAST_WORDS = 5.0


class InProcessWorker(BaseWorker[JobConfiguration, JobVariables, JobResult]):
    """Runs flow runs in its own event loop (synchronous flows in threads) instead of starting a process for each."""

    type = "in-process"
    job_configuration = JobConfiguration
    job_configuration_variables = JobVariables
    _display_name = "In-process"
    _description = (
        "Run flows inside the worker's own process and event loop. For many short runs with schedules of seconds: "
        "no process is started per run, and flows share connections and caches. "
        "Flows are imported from installed packages; deploy them with 'pull: []'."
    )
    _documentation_url = ""
    _logo_url = (
        "https://raw.githubusercontent.com/PrefectHQ/prefect/420d0d6a78bb6df1fc18bcf188fdad43c1d22ea9/"
        "assets/block-logos/process.png"
    )
    stop_signals: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, *args: Any, settings: InProcessSettings | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.settings = settings or InProcessSettings()
        self.identity = ProcessIdentity.current()
        self._memory = MemoryKeeper()

    async def start(
        self, run_once: bool = False, with_healthcheck: bool = False, printer: Callable[..., None] = print
    ) -> None:
        """Work until told to stop, then drain; raises `SystemExit` with the exit code if that is not 0."""
        with contextlib.ExitStack() as stack:
            if with_healthcheck:
                from prefect.workers.server import _run_healthcheck_server

                query_seconds = get_current_settings().worker.query_seconds
                stack.enter_context(
                    _run_healthcheck_server(lambda: self.is_worker_still_polling(query_interval_seconds=query_seconds))
                )
            async with self:
                stack.enter_context(self._stop_signals())
                printer(f"Worker {self.name!r} started!")
                self._started_event = await self._emit_worker_started_event()
                left = await (self._work_once() if run_once else self._work())
            printer(f"Worker {self.name!r} stopped!")
        if left:
            await _leave_without(left, self._drain.exit_code)
        if self._drain.exit_code:
            sys.exit(self._drain.exit_code)

    async def setup(self) -> None:
        """Prefect's setup, and the parts that need a loop and a client."""
        stack = self._parts_stack = contextlib.AsyncExitStack()
        self._result_storage = DefaultResultStorage()
        stack.enter_context(shared_process(self._result_storage))
        stack.enter_context(contained_tasks(asyncio.get_running_loop()))
        await stack.enter_async_context(pulsing(self.settings.pulse_fd))
        await stack.enter_async_context(kept_open())
        # One client for the worker and for all its runs; opening one costs 30 ms and a connection pool.
        with temporary_settings({PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False}):
            await stack.enter_async_context(AsyncClientContext())
        await super().setup()
        self._registry = RunRegistry()
        self._stopper = Stopper(self.settings)
        self._drain = Drain(self._registry, self._stopper, self.settings)
        self._wanted = asyncio.Event()
        self._threads = ThreadPoolExecutor(self.settings.sync_threads, thread_name_prefix="flow")
        self._catalog = DeploymentCatalog(self.client)
        self._lives = Lives(
            worker_name=self.name,
            identity=self.identity,
            client=self.client,
            catalog=self._catalog,
            registry=self._registry,
            slots=Slots(self._limit, on_free=self._wanted.set),
            threads=self._threads,
            figures=self._serve_figures(stack),
        )
        self._intake = Intake(self.client, self._lives, self._wanted)
        self._requests = Requests(self.client, self._registry, self._stopper, self.identity)
        self._sweep = OrphanSweep(
            client=self.client,
            catalog=self._catalog,
            registry=self._registry,
            identity=self.identity,
            pool=self._work_pool_name,
            queues=self._work_queues,
        )

    def _serve_figures(self, stack: contextlib.AsyncExitStack) -> RunFigures | None:
        """Figures of runs and sessions, served until the teardown where the settings say so."""
        if self.settings.metrics_folder is None:
            return None
        from deployments.metrics.endpoint import new_registry, serving
        from deployments.metrics.resources import ResourcesCollector
        from deployments.metrics.runs import RunFigures

        registry = new_registry()
        registry.register(ResourcesCollector(asyncio.get_running_loop()))
        figures = RunFigures(registry)
        stack.enter_context(serving(self.settings.metrics_folder, self.name, registry))
        return figures

    async def teardown(self, *exc_info: Any) -> None:
        """Prefect's teardown, and the end of our own parts."""
        try:
            await super().teardown(*exc_info)
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            await self._parts_stack.aclose()

    # ---- working -------------------------------------------------------------------------------------------------

    async def _work(self) -> list[ActiveRun]:
        """Work until the drain is over; returns the runs that would not end."""
        query_seconds = get_current_settings().worker.query_seconds
        async with (
            background(
                repeat("poll", self._poll, query_seconds, wake=self._wanted),
                repeat("heartbeat", self._sync_and_initialize, self.heartbeat_interval_seconds),
                repeat("sweep", self._sweep.sweep, self.settings.sweep_interval.total_seconds()),
                repeat("memory", self._check_memory, _MEMORY_CHECK),
                repeat("defaults", partial(self._result_storage.refresh, self.client), _DEFAULTS_CHECK),
                self._listener().listen(),
                keep_beating(self._registry),
            ),
            watched_loop(self.settings.loop_block),
        ):
            await self._drain.requested.wait()
        async with background(self._listener().listen()):
            return await self._drain.run(self._abandon)

    async def _work_once(self) -> list[ActiveRun]:
        """Sweep and poll once, and wait for what that began."""
        await self._result_storage.refresh(self.client)
        await self._sweep.sweep()
        await self._poll()
        while len(self._registry) and not self._drain.requested.is_set():
            await self._registry.wait_until_empty(1.0)
        return await self._drain.run(self._abandon) if self._drain.requested.is_set() else []

    async def _poll(self) -> list[FlowRun]:
        """Take on every run that is due within the prefetch time."""
        if self._work_pool is None:
            await self._sync_and_initialize()
        response = await self._get_scheduled_flow_runs()
        self._last_polled_time = now("UTC")
        return await self._submit_scheduled_flow_runs(response)

    async def _submit_scheduled_flow_runs(self, flow_run_response: list[WorkerFlowRunResponse]) -> list[FlowRun]:
        if self._drain.requested.is_set() or not flow_run_response:
            return []
        return await self._intake.take([entry.flow_run for entry in flow_run_response], self.work_pool)

    def _listener(self) -> Listener:
        return Listener(
            on_canceling=self._requests.cancel,
            on_suspended=self._requests.suspend,
            on_wanted=self._wanted.set,
            on_deployment_changed=self._catalog.forget,
            on_connect=self._catch_up,
        )

    async def _catch_up(self) -> None:
        """Act on what was asked for while nobody listened."""
        self._wanted.set()
        await self._requests.catch_up()

    async def _check_memory(self) -> None:
        self._memory.look()
        ceiling = self.settings.memory_ceiling_mb
        if ceiling is not None and (held := resident_mb()) > ceiling:
            self._drain.request(f"memory {held:.0f} MB is over the ceiling of {ceiling} MB", RESTART_EXIT_CODE)

    # ---- stopping ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _stop_signals(self) -> Iterator[None]:
        """Drain on SIGTERM and SIGINT, instead of what the command line installed; only a main thread can."""
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in self.stop_signals}
        try:
            for number in self.stop_signals:
                loop.add_signal_handler(number, partial(self._drain.request, f"signal {number.name}"))
        except (ValueError, RuntimeError):
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    async def _abandon(self, run: ActiveRun) -> None:
        message = f"Stopped with its worker, which it ignored: {self._drain.reason}."
        try:
            async with asyncio.timeout(5):
                await self.client.set_flow_run_state(run.id, Crashed(message=message), force=True)
        except Exception:
            self._logger.exception("event=state-not-settled run=%s", run.name)

    # ---- Prefect's interface ---------------------------------------------------------------------------------------

    async def _setup_cancellation_observer(self) -> None:
        """Nothing: the listener hears of cancellations, pending and running ones alike."""

    async def run(
        self,
        flow_run: FlowRun,
        configuration: JobConfiguration,  # noqa: ARG002 - made from the same deployment by the catalog
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> JobResult:
        """Run one flow run to its end, as Prefect's own submission does."""
        run = await self._lives.begin(flow_run, self.work_pool)
        if task_status is not None:
            task_status.started(os.getpid())
        if run is not None:
            await run.ended.wait()
        return JobResult(status_code=0, identifier=self.identity.infrastructure_pid(flow_run.id))

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: JobConfiguration,  # noqa: ARG002 - a run is known by its id here
        grace_seconds: int = 30,
    ) -> None:
        """Stop the run that lives at this id, if it lives in this process."""
        await self._requests.kill(infrastructure_pid, grace_seconds=grace_seconds)


async def _leave_without(left: list[ActiveRun], exit_code: int) -> None:
    """End the process although runs are left that nothing can stop; their states have been settled."""
    # Nothing that usually happens at exit will: what waits to be sent goes now.
    for queue in (APILogWorker, EventsWorker):
        await cast("Awaitable[Any]", queue.drain_all(timeout=_LAST_WORDS))
    sys.stderr.write(f"Left {len(left)} run(s) that ignore cancellation: {', '.join(run.name for run in left)}\n")
    sys.stderr.flush()
    os._exit(exit_code or 1)
