"""The desk's child processes as one crew: started in order, kept alive, stopped in reverse order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from deployments.children import Child, ChildSpec, bound_logs, describe_exit
from deployments.home import Home
from deployments.instance import DeskRecord
from kontor.errors import KontorError

T = TypeVar("T")
Say = Callable[[str], None]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
# A child that worked for this long has recovered from whatever ended it before.
STEADY_SECONDS = 60.0
# One that asks to be started again sooner than this after its start has not worked at all.
WORTH_A_START_SECONDS = 10.0
# From this many ends in a row on, the end of the log is shown too.
TROUBLE = 3
LOG_CHECK_SECONDS = 30.0


class StartFailed(KontorError):
    """The desk could not be brought up."""


@dataclass
class Restarts:
    """When a child that ended is started again: at once if it asked for that, else ever later while it keeps ending."""

    ends_in_a_row: int = 0

    def pause_after(self, uptime: float, *, asked_for: bool) -> float:
        """Seconds to wait before the next start, given how long the last one lasted."""
        if uptime >= STEADY_SECONDS:
            self.ends_in_a_row = 0
        if asked_for and uptime >= WORTH_A_START_SECONDS:
            return 0.0
        self.ends_in_a_row += 1
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.ends_in_a_row - 1, 30))


@dataclass
class Crew:
    """The children of one `kontor up`, each change of which is written to the desk's record at once."""

    home: Home
    record: DeskRecord
    say: Say
    _children: list[Child] = field(default_factory=list, init=False)
    _keepers: list[asyncio.Task[None]] = field(default_factory=list, init=False)
    _first_death: asyncio.Future[None] = field(init=False)
    _started_up: bool = field(default=False, init=False)
    _stopping: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._first_death = asyncio.get_running_loop().create_future()

    async def start(self, spec: ChildSpec) -> Child:
        """Start a child and keep it."""
        child = Child(spec, self.home.logs / f"{spec.name.replace(' ', '-')}.log")
        self._children.append(child)
        await child.start()
        self._write_record()
        self._keepers.append(asyncio.create_task(self._keep(child), name=f"keep {spec.name}"))
        return child

    async def bring_up(self, steps: Awaitable[T]) -> T:
        """Take the steps to a running desk; a child that ends meanwhile ends them with StartFailed."""
        task = asyncio.ensure_future(steps)
        try:
            await asyncio.wait({task, self._first_death}, return_when=asyncio.FIRST_COMPLETED)
            if self._first_death.done() and not task.done():
                self._first_death.result()
            result = await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._started_up = True
        return result

    async def wait_until(self, check: Callable[[], Awaitable[bool]], child: Child, limit: timedelta) -> None:
        """Wait for a child to answer; raises StartFailed after `limit`, with the end of its log."""
        try:
            async with asyncio.timeout(limit.total_seconds()):
                while not await check():  # noqa: ASYNC110 - another process cannot set our event
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise StartFailed(
                f"the {child.spec.name} did not answer within {limit.total_seconds():.0f} s{_log_end(child)}"
            ) from None

    async def supervise(self) -> None:
        """Never returns: children are kept alive by their keepers, logs are kept bounded here."""
        while True:
            bound_logs(self.home.logs)
            await asyncio.sleep(LOG_CHECK_SECONDS)

    def find(self, name: str) -> Child | None:
        """The child of this name."""
        return next((child for child in self._children if child.spec.name == name), None)

    async def is_whole(self) -> bool:
        """Whether every child is running or about to be started again: its keeper still looks after it."""
        return not any(keeper.done() for keeper in self._keepers)

    async def stop(self) -> list[str]:
        """End all children, the last started first; returns the names of those that could not be ended."""
        self._stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        if self._first_death.done():
            self._first_death.exception()
        left = []
        for child in reversed(self._children):
            if child.ref is not None:
                self.say(f"stopping the {child.spec.name}")
            if not await child.stop():
                left.append(child.spec.name)
            self._write_record()
        return left

    def hurry(self) -> None:
        """End every child at once; for those who cannot wait."""
        for child in self._children:
            child.kill()

    async def _keep(self, child: Child) -> None:
        restarts = Restarts()
        while True:
            began = time.monotonic()
            code = await child.wait()
            if self._stopping:
                return
            uptime = time.monotonic() - began
            if not self._started_up:
                self._report_death(child, code)
                return
            pause = restarts.pause_after(uptime, asked_for=code == child.spec.restart_code)
            sentence = f"the {child.spec.name} ended ({describe_exit(code)}) after {uptime:.0f} s; starting it again"
            in_trouble = restarts.ends_in_a_row >= TROUBLE
            self.say(f"{sentence} in {pause:g} s{_log_end(child) if in_trouble else ''}")
            await asyncio.sleep(pause)
            try:
                await child.start()
            except OSError as error:
                self.say(f"the {child.spec.name} could not be started ({error.strerror}); trying again")
            self._write_record()

    def _report_death(self, child: Child, code: int) -> None:
        if not self._first_death.done():
            sentence = (
                f"the {child.spec.name} ended while the desk was starting ({describe_exit(code)}){_log_end(child)}"
            )
            self._first_death.set_exception(StartFailed(sentence))

    def _write_record(self) -> None:
        refs = [child.ref for child in self._children]
        self.record.children = [ref for ref in refs if ref is not None]
        self.record.save(self.home)


def _log_end(child: Child) -> str:
    lines = child.last_lines()
    return f"; the end of {child.log_file}:\n{lines}" if lines else f"; {child.log_file} is empty"
