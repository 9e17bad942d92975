"""The supervisor: long-running children, each started again by its own policy; one's failure does not end the others.

Structured: every child lives in one TaskGroup, so that none outlives `run`, whatever ends it.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from kontor.errors import KontorError
from kontor.ports import Clock

logger = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]
# (child, error, seconds until it is started again; None when it is not)
OnFailure = Callable[[str, BaseException, float | None], None]


class Restart(StrEnum):
    """What follows when a child ends."""

    # Start it again, however it ended.
    ALWAYS = "always"
    # Start it again after an error; a normal end is an end.
    ON_FAILURE = "on failure"
    # Once only; an error is reported, the others go on.
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a child is started again, and after how long: doubling with jitter, never above `longest_pause`."""

    restart: Restart = Restart.ON_FAILURE
    pause: float = 0.5
    longest_pause: float = 30.0
    # Failures within `window` seconds after which the supervisor gives up on everything; None never does.
    most_failures: int | None = None
    window: float = 60.0
    # A child that worked for this long starts over with the shortest pause.
    steady: float = 60.0


class GaveUp(KontorError):
    """A child failed too often; the errors it failed with are in the group this was raised with."""


@dataclass(slots=True)
class Child:
    """One long-running piece of work under supervision."""

    name: str
    work: Work
    policy: RestartPolicy
    starts: int = 0
    is_running: bool = False
    last_error: BaseException | None = None
    failed_at: list[float] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    in_a_row: int = 0


class Supervisor:
    """Runs its children until all have ended, `stop` is called, or one has failed more often than it may."""

    def __init__(
        self, name: str, *, clock: Clock, on_failure: OnFailure | None = None, rng: random.Random | None = None
    ) -> None:
        self.name = name
        self._clock, self._on_failure, self._rng = clock, on_failure, rng or random.Random()
        self.children: dict[str, Child] = {}
        self._stopping = asyncio.Event()
        # Children are being canceled; what they fail with meanwhile. (A task's own count of cancellations also goes up
        # when a TaskGroup within it fails, and stays up.)
        self._is_ending = False
        self._last_errors: list[Exception] = []

    def add(self, name: str, work: Work, policy: RestartPolicy | None = None) -> Child:
        """Put a child under supervision; before `run`."""
        if name in self.children:
            raise ValueError(f"{self.name} has a child {name} already")
        child = self.children[name] = Child(name, work, policy or RestartPolicy())
        return child

    def stop(self) -> None:
        """Cancel every child and let `run` return once all have ended."""
        self._is_ending = True
        self._stopping.set()

    async def run(self) -> None:
        """Start all children, and return when every one has ended for good.

        Raises an ExceptionGroup with every error of a child that failed more often than its policy allows; what other
        children raised while they were being canceled is in it as well. After `stop` that is reported only.
        """
        if not self.children:
            return
        try:
            await self._run()
        except BaseExceptionGroup as group:
            if not self._last_errors:
                raise
            raise group.derive([*group.exceptions, *self._last_errors]) from None

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._keep(child), name=child.name) for child in self.children.values()]
            stopper = group.create_task(self._cancel_when_stopped(tasks), name=f"{self.name} stop")
            try:
                await asyncio.wait(tasks)
            except asyncio.CancelledError:
                self._is_ending = True
                raise
            stopper.cancel()

    async def _cancel_when_stopped(self, tasks: list[asyncio.Task[None]]) -> None:
        await self._stopping.wait()
        for task in tasks:
            task.cancel()

    async def _keep(self, child: Child) -> None:
        while True:
            began = self._clock.monotonic()
            error = await self._once(child)
            if self._is_ending or (error is None and child.policy.restart is not Restart.ALWAYS):
                return
            pause = self._pause_after(child, error, self._clock.monotonic() - began)
            if error is not None:
                self._report(child, error, pause)
            if pause is None:
                return
            await self._clock.sleep(pause)

    async def _once(self, child: Child) -> Exception | None:
        child.starts += 1
        child.is_running = True
        try:
            await child.work()
        except Exception as error:
            # Whatever it was, the policy decides; a cancellation is no Exception.
            child.last_error = error
            if self._is_ending:
                # In the place of the cancellation, which must not be forgotten over it.
                self._last_errors.append(error)
                self._report(child, error, None)
                raise asyncio.CancelledError from error
            return error
        finally:
            child.is_running = False
        return None

    def _pause_after(self, child: Child, error: Exception | None, lasted: float) -> float | None:
        """Seconds until the next start, None for never; raises when the child has failed too often."""
        policy = child.policy
        child.in_a_row = 1 if lasted >= policy.steady else child.in_a_row + 1
        if error is not None:
            self._count(child, error)
            if policy.restart is Restart.NEVER:
                return None
        bound = min(policy.pause * 2.0 ** min(child.in_a_row - 1, 60), policy.longest_pause)
        return self._rng.uniform(bound / 2, bound)

    def _count(self, child: Child, error: Exception) -> None:
        policy = child.policy
        if policy.most_failures is None:
            return
        now = self._clock.monotonic()
        recent = [at for at in child.failed_at if now - at < policy.window]
        child.errors = [*child.errors[len(child.failed_at) - len(recent) :], error]
        child.failed_at = [*recent, now]
        if len(child.failed_at) > policy.most_failures:
            self._report(child, error, None)
            self._is_ending = True
            gave_up = GaveUp(
                f"{self.name}: {child.name} failed {len(child.errors)} times within {policy.window:g} s, "
                f"last with {_one_line(error)}"
            )
            raise ExceptionGroup(str(gave_up), [gave_up, *child.errors])

    def _report(self, child: Child, error: BaseException, pause: float | None) -> None:
        then = "not started again" if pause is None else f"again in {pause:.1f} s"
        logger.warning("child_failed supervisor=%s child=%s error=%s then=%s", self.name, child.name, _all(error), then)
        if self._on_failure is not None:
            self._on_failure(child.name, error, pause)


def flatten(error: BaseException) -> Iterator[BaseException]:
    """Every error in a group, however deep; the error itself when it is none."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from flatten(inner)
    else:
        yield error


def _all(error: BaseException) -> str:
    return "; ".join(_one_line(each) for each in flatten(error))


def _one_line(error: BaseException) -> str:
    return str(error) if isinstance(error, KontorError) else f"{type(error).__name__}: {error}"
