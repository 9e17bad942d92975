"""Virtual time for tests: a test of ten minutes takes milliseconds."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from kontor.resilience.virtual_time import VirtualClock, VirtualLoop

P = ParamSpec("P")
T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)

__all__ = ["START", "LoopClock", "VirtualLoop", "in_virtual_time"]


class LoopClock(VirtualClock):
    """The Clock port on the running loop's time."""

    def __init__(self) -> None:
        super().__init__(START)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Run an async test on a virtual loop; a test of ten minutes takes milliseconds."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(test(*args, **kwargs))

    # pytest-asyncio must not take the wrapped coroutine function for its own.
    del run.__wrapped__
    return run
