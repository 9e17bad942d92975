"""The flows that both worker types run in the benchmark."""

# ruff: noqa: ASYNC110, ASYNC240 - a file is how the benchmark tells flows in other processes to end

import asyncio
from pathlib import Path

from prefect import flow, get_run_logger, task


@task
async def fetch(number: int) -> int:
    await asyncio.sleep(0.02)
    return number


@task
async def save(number: int) -> int:
    return number


@flow(timeout_seconds=30)
async def tick(number: int = 1) -> int:
    """An updater as the desk has them: two tasks, a log line, a result."""
    get_run_logger().info("tick %s", number)
    return await save(await fetch(number))


@flow
async def hold(until: str) -> None:
    """Stay alive until a file appears."""
    while not Path(until).exists():
        await asyncio.sleep(0.5)
