"""A child process of the desk: how it is started, watched and stopped, and where its output goes."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from deployments.instance import ProcessRef

LOG_LIMIT_BYTES = 5_000_000
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run, and how long it may take to stop; it ends with `restart_code` when it wants to be started again."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    stop_within: timedelta = timedelta(seconds=10)
    restart_code: int | None = None
    # How much it gives way to others when processors are short; 0 gives way to nobody.
    niceness: int = 0
    # The environment variable by which it learns of a pipe that it writes to while its loop turns; empty: it has none.
    pulse_variable: str = ""


@dataclass
class Child:
    """One running child, in a session of its own so that a Ctrl-C in the terminal reaches the supervisor alone."""

    spec: ChildSpec
    log_file: Path
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)
    _pulse: int | None = field(default=None, init=False)

    @property
    def ref(self) -> ProcessRef | None:
        """The process, for the record; None before the start and after the end."""
        if self._process is None or self._process.returncode is not None:
            return None
        return ProcessRef.of(self.spec.name, self._process.pid)

    async def start(self) -> None:
        """Start it; its output is appended to its log."""
        with self.log_file.open("ab") as log, self._pulse_pipe() as (passed, told):
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.arguments,
                env={**self.spec.environment, **told},
                cwd=self.spec.directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent(),
                pass_fds=passed,
            )
        if self.spec.niceness:
            # It may have ended already, which `wait` will tell.
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, self.spec.niceness)

    async def wait(self) -> int:
        """Its exit code, once it has ended; negative is the signal that ended it."""
        return await self._started.wait()

    def had_pulse(self) -> bool:
        """Whether it has written to its pipe since this was asked last."""
        found = False
        while self._pulse is not None:
            try:
                read = os.read(self._pulse, 65536)
            except BlockingIOError:
                break
            found = found or bool(read)
            if not read:
                break
        return found

    @contextmanager
    def _pulse_pipe(self) -> Iterator[tuple[Sequence[int], Mapping[str, str]]]:
        """What the next process is given to write to; our end replaces that of the last one."""
        if not self.spec.pulse_variable:
            yield (), {}
            return
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        self._forget_pulse()
        self._pulse = ours
        try:
            yield (theirs,), {self.spec.pulse_variable: str(theirs)}
        finally:
            os.close(theirs)

    def _forget_pulse(self) -> None:
        if self._pulse is not None:
            os.close(self._pulse)
            self._pulse = None

    async def stop(self) -> bool:
        """Ask it to end and wait, then make it end; False when even that did not work."""
        self._signal(signal.SIGTERM)
        is_over = await self._ends_within(self.spec.stop_within)
        if not is_over:
            self.kill()
            is_over = await self._ends_within(timedelta(seconds=5))
        self._forget_pulse()
        return is_over

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def last_lines(self, count: int = 8) -> str:
        """The end of its log."""
        with suppress(FileNotFoundError):
            return "\n".join(tail(self.log_file).splitlines()[-count:])
        return ""

    @property
    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError(f"{self.spec.name} has not been started")
        return self._process

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _ends_within(self, limit: timedelta) -> bool:
        if self._process is None:
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(limit.total_seconds()):
                await self._process.wait()
        return self._process.returncode is not None


def describe_exit(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def tail(path: Path, size: int = 20_000) -> str:
    """The last `size` bytes of a file as text."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace")


def bound_logs(folder: Path, limit: int = LOG_LIMIT_BYTES) -> None:
    """Move the content of each log above the limit aside, over the one moved aside before.

    The file itself stays, since a running child appends to it.
    """
    for log in folder.glob("*.log"):
        if log.stat().st_size > limit:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)


def _end_with_parent() -> Callable[[], None] | None:
    """Makes the kernel stop a child whose supervisor was killed; elsewhere than on Linux the next start finds it."""
    if not sys.platform.startswith("linux"):
        return None
    # Loaded before the fork: between fork and exec a child may do nothing that takes a lock.
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
