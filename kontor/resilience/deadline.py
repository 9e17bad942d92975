"""A deadline around one operation, with an error that names it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from kontor.errors import KontorError


class DeadlineExceeded(KontorError):
    """An operation took longer than it was given."""

    def __init__(self, operation: str, seconds: float) -> None:
        self.operation, self.seconds = operation, seconds
        super().__init__(f"{operation}: not done within {seconds:g} s")


@asynccontextmanager
async def deadline(operation: str, seconds: float) -> AsyncGenerator[None]:
    """Cancel the block after `seconds` and raise DeadlineExceeded.

    A TimeoutError from inside the block, and a cancellation from outside, pass through as they are.
    """
    timeout = asyncio.timeout(seconds)
    try:
        async with timeout:
            yield
    except TimeoutError:
        if timeout.expired():
            raise DeadlineExceeded(operation, seconds) from None
        raise
