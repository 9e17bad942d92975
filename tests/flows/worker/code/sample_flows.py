"""Flows that the worker's tests run, on both worker types; each writes what happens to a trace."""

# ruff: noqa: ASYNC110, ASYNC240 - polling a file is how the tests talk to a flow in another process

import asyncio
import time
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.futures import wait
from prefect.runtime import flow_run as this_run
from prefect.settings import get_current_settings


def write(trace: str, line: str) -> None:
    with Path(trace).open("a") as file:
        file.write(line + "\n")


def noting(name: str) -> Any:
    def hook(flow: Any, flow_run: Any, state: Any) -> None:
        write(flow_run.parameters["trace"], f"{name} {state.name}")

    hook.__name__ = f"note_{name}"
    return hook


HOOKS: dict[str, Any] = {
    "on_running": [noting("running")],
    "on_completion": [noting("completion")],
    "on_failure": [noting("failure")],
    "on_cancellation": [noting("cancellation")],
    "on_crashed": [noting("crashed")],
}


@task
async def double(number: int) -> int:
    return 2 * number


@task
def double_in_thread(number: int) -> int:
    return 2 * number


@flow(persist_result=True, **HOOKS)
async def returns(trace: str, number: int = 1) -> int:
    get_run_logger().info("number %s", number)
    write(trace, "ran")
    return await double(number)


@flow(persist_result=True, **HOOKS)
def returns_from_thread(trace: str, number: int = 1) -> int:
    get_run_logger().info("number %s", number)
    write(trace, "ran")
    return double_in_thread(number)


@flow(persist_result=True)
async def tells_its_retries(trace: str) -> int:
    return get_current_settings().client.max_retries


@flow(retries=1, retry_delay_seconds=1, **HOOKS)
async def fails_once(trace: str) -> str:
    write(trace, f"attempt {this_run.run_count}")
    if this_run.run_count == 1:
        raise RuntimeError("the first attempt fails")
    return "done"


@flow(**HOOKS)
async def fails(trace: str) -> None:
    raise ValueError("no luck today")


@flow(**HOOKS)
def fails_in_thread(trace: str) -> None:
    raise ValueError("no luck today")


@flow(timeout_seconds=1, **HOOKS)
async def overstays(trace: str) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        write(trace, "cleaned up")


@flow(**HOOKS)
async def exits(trace: str) -> None:
    raise SystemExit(3)


@flow(**HOOKS)
async def exits_in_a_task_of_its_own(trace: str) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    try:
        await asyncio.create_task(leave())
    except RuntimeError as error:
        write(trace, f"{type(error).__name__}")
        raise


@flow(**HOOKS)
async def child(trace: str) -> str:
    write(trace, "child")
    return "child's result"


@flow(log_prints=True, **HOOKS)
async def parent(trace: str) -> str:
    write(trace, "parent")
    futures = [double_in_thread.submit(number) for number in range(3)]
    wait(futures)
    print("the total is", sum(future.result() for future in futures))
    return await child(trace)


@flow(**HOOKS)
async def endless_child(trace: str) -> None:
    write(trace, "child began")
    try:
        while True:
            await asyncio.sleep(0.05)
    finally:
        write(trace, "child cleaned up")


@flow(**HOOKS)
async def parent_of_endless(trace: str) -> None:
    await endless_child(trace)


@flow(**HOOKS)
async def endless(trace: str) -> None:
    write(trace, "began")
    try:
        while True:
            await asyncio.sleep(0.05)
    finally:
        write(trace, "cleaned up")


@flow(**HOOKS)
def endless_in_thread(trace: str) -> None:
    write(trace, "began")
    try:
        while True:
            time.sleep(0.01)
    finally:
        write(trace, "cleaned up")


@flow(**HOOKS)
async def stubborn(trace: str) -> None:
    write(trace, "began")
    while not Path(trace + ".release").exists():
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            write(trace, "ignored")


@flow(**HOOKS)
async def retries_much_later(trace: str) -> None:
    write(trace, "attempt")
    raise RuntimeError("again, please")


@flow(**HOOKS)
async def blocks_the_loop(trace: str) -> None:
    time.sleep(0.8)  # noqa: ASYNC251 - the mistake that the watchdog is to name


@flow(**HOOKS)
async def takes(trace: str, seconds: float) -> None:
    write(trace, "began")
    await asyncio.sleep(seconds)
    write(trace, "ended")


@flow(**HOOKS)
def takes_in_thread(trace: str, seconds: float) -> None:
    write(trace, "began")
    time.sleep(seconds)
    write(trace, "ended")


@flow(persist_result=True, **HOOKS)
async def pauses(trace: str) -> str:
    write(trace, "before")
    pausing: Any = pause_flow_run(timeout=120, poll_interval=1)
    await pausing
    write(trace, "after")
    return "resumed"


@flow(persist_result=True, **HOOKS)
async def suspends(trace: str) -> str:
    write(trace, f"attempt {this_run.run_count}")
    suspending: Any = suspend_flow_run(timeout=120)
    await suspending
    return "resumed"


retries_later = retries_much_later.with_options(name="retries-later", retries=1, retry_delay_seconds=600)


@flow(**HOOKS)
async def counts(trace: str) -> None:
    try:
        while True:
            await double(1)
            write(trace, "step")
            await asyncio.sleep(0.1)
    finally:
        write(trace, "stopped")


@flow(**HOOKS)
async def ticks(trace: str) -> None:
    while True:
        write(trace, "tick")
        await asyncio.sleep(0.1)
