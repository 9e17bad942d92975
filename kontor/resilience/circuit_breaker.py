"""The circuit breaker: after several failures in a row it holds calls back, then lets a few through to find out.

    closed --failures in a row--> open --pause over--> half-open --successes--> closed
                                   ^------ a probe fails, longer pause ------|

Why not a library: docs/adr/0006-circuit-breaker.md.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from kontor.errors import CircuitOpen
from kontor.ports import Clock

logger = logging.getLogger(__name__)

# What a caller is told to wait when the probes of a half-open breaker are all under way.
PROBE_SECONDS = 0.5


class BreakerState(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Verdict(StrEnum):
    """What the end of a call says about the other side."""

    # It answered, if only with a refusal.
    SUCCESS = "success"
    FAILURE = "failure"
    # Nothing: the call was canceled, or never got as far as the other side.
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, and how it closes again; seconds."""

    # Failures in a row that open it.
    failures: int = 5
    # The first pause; doubled each time a probe fails, up to `longest_pause`.
    pause: float = 1.0
    longest_pause: float = 4.0
    # Calls let through at once while half-open, and successes that close it.
    probes: int = 1
    successes: int = 2
    # The pause begins with the call that failed, not with its failure: time that was spent waiting counts.
    pause_from_start: bool = False


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """A breaker as people and other processes see it."""

    name: str
    state: BreakerState
    failures: int = 0
    # Since when it has been in this state; None while it never left the first one.
    since: datetime | None = None
    retry_at: datetime | None = None
    reason: str = ""
    # What it is one of several of, which is what people are told of; and whether this change is news of that.
    whole: str = ""
    is_news: bool = True


Judge = Callable[[BaseException], Verdict]
OnChange = Callable[[BreakerStatus], None]


class Permit:
    """The right to make one call; it ends with exactly one verdict, later ones are ignored."""

    __slots__ = ("_breaker", "_generation", "_is_over", "began", "is_probe")

    def __init__(self, breaker: "CircuitBreaker", generation: int, began: float, *, is_probe: bool) -> None:
        self._breaker, self._generation, self.began, self.is_probe = breaker, generation, began, is_probe
        self._is_over = False

    def end(self, verdict: Verdict, reason: str = "") -> None:
        """Tell the breaker how the call went; a result from before its last change of state changes nothing."""
        if self._is_over:
            return
        self._is_over = True
        self._breaker.take(self, self._generation, verdict, reason)


class CircuitBreaker:
    """Counts failures in a row of one group of calls; belongs to one event loop, never waits.

    `on_change` is called after each change of state, within the call that caused it: it must not raise or block.
    """

    def __init__(
        self, name: str, *, clock: Clock, policy: BreakerPolicy | None = None, on_change: OnChange | None = None
    ) -> None:
        self.name = name
        self._clock, self._policy, self._on_change = clock, policy or BreakerPolicy(), on_change
        self._state = BreakerState.CLOSED
        # Goes up with each change of state: results of calls that began before do not count.
        self._generation = 0
        self._failures = self._successes = self._probes = 0
        self._pause = self._policy.pause
        self._opened = 0.0
        self._since: datetime | None = None
        self._reason = ""

    @property
    def state(self) -> BreakerState:
        """Whether calls pass now; an open one whose pause is over says so until somebody asks to pass."""
        return self._state

    @property
    def status(self) -> BreakerStatus:
        """Everything a person would ask."""
        retry_at = None
        if self._state is BreakerState.OPEN:
            retry_at = self._clock.now() + timedelta(seconds=max(self._seconds_left(), 0.0))
        return BreakerStatus(self.name, self._state, self._failures, self._since, retry_at, self._reason)

    def admit(self) -> Permit:
        """The right to make one call now; raises CircuitOpen, which says when to come back."""
        if self._state is BreakerState.OPEN:
            left = self._seconds_left()
            if left > 0:
                raise CircuitOpen(self.name, timedelta(seconds=left), self._reason)
            self._change(BreakerState.HALF_OPEN)
        if self._state is BreakerState.CLOSED:
            return Permit(self, self._generation, self._clock.monotonic(), is_probe=False)
        if self._probes >= self._policy.probes:
            raise CircuitOpen(self.name, timedelta(seconds=PROBE_SECONDS), f"being tried out after {self._reason}")
        self._probes += 1
        return Permit(self, self._generation, self._clock.monotonic(), is_probe=True)

    @contextmanager
    def guard(self, judge: Judge) -> Iterator[Permit]:
        """One call: raises CircuitOpen instead of making it, and counts how it ended as `judge` says.

        A cancellation, and whatever else is no Exception, says nothing about the other side.
        """
        permit = self.admit()
        try:
            yield permit
        except Exception as error:
            permit.end(judge(error), str(error) or type(error).__name__)
            raise
        except BaseException:
            permit.end(Verdict.NOTHING)
            raise
        permit.end(Verdict.SUCCESS)

    def reset(self) -> None:
        """Close it, whatever has been: somebody knows that the other side is well again."""
        self._failures, self._pause, self._reason = 0, self._policy.pause, ""
        if self._state is not BreakerState.CLOSED:
            self._change(BreakerState.CLOSED)

    def take(self, permit: Permit, generation: int, verdict: Verdict, reason: str) -> None:
        """The end of a call that began in `generation`; for Permit."""
        if generation != self._generation:
            return
        if permit.is_probe:
            self._probes -= 1
        if verdict is Verdict.SUCCESS:
            self._succeeded()
        elif verdict is Verdict.FAILURE:
            self._failed(reason, permit.began)

    def _succeeded(self) -> None:
        self._failures = 0
        if self._state is not BreakerState.HALF_OPEN:
            return
        self._successes += 1
        if self._successes >= self._policy.successes:
            self._pause, self._reason = self._policy.pause, ""
            self._change(BreakerState.CLOSED)

    def _failed(self, reason: str, began: float) -> None:
        self._failures += 1
        if self._state is BreakerState.HALF_OPEN:
            self._pause = min(self._pause * 2, self._policy.longest_pause)
        elif self._failures < self._policy.failures:
            return
        self._reason = reason
        self._opened = began if self._policy.pause_from_start else self._clock.monotonic()
        self._change(BreakerState.OPEN)

    def _seconds_left(self) -> float:
        return self._opened + self._pause - self._clock.monotonic()

    def _change(self, state: BreakerState) -> None:
        old, self._state = self._state, state
        self._generation += 1
        self._probes = self._successes = 0
        self._since = self._clock.now()
        log = logger.warning if state is BreakerState.OPEN else logger.info
        log("breaker_%s name=%s from=%s failures=%d reason=%s", state, self.name, old, self._failures, self._reason)
        if self._on_change is not None:
            self._on_change(self.status)
