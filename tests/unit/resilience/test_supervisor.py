"""The supervisor: one child's failure is its own affair, nothing outlives it, nothing is hidden."""

import asyncio

import pytest

from kontor.resilience.clock import VirtualClock
from kontor.resilience.supervisor import GaveUp, Restart, RestartPolicy, Supervisor, flatten


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def failures() -> list[tuple[str, str, float | None]]:
    return []


@pytest.fixture
def supervisor(clock: VirtualClock, failures: list[tuple[str, str, float | None]]) -> Supervisor:
    return Supervisor(
        "desk", clock=clock, on_failure=lambda name, error, pause: failures.append((name, str(error), pause))
    )


async def test_one_childs_failure_neither_ends_its_siblings_nor_goes_unnoticed(
    supervisor: Supervisor, clock: VirtualClock, failures: list[tuple[str, str, float | None]]
) -> None:
    """Strategies, exits and risk checks are isolated from one another."""
    beats = 0

    async def heart() -> None:
        nonlocal beats
        while True:
            await clock.sleep(1)
            beats += 1

    async def broken() -> None:
        raise ValueError("no price")

    supervisor.add("heart", heart)
    supervisor.add("strategy", broken, RestartPolicy(pause=1, longest_pause=4))
    running = asyncio.create_task(supervisor.run())
    await clock.advance(60)
    supervisor.stop()
    await running
    assert beats == 60
    assert supervisor.children["heart"].starts == 1
    pauses = [pause for _, _, pause in failures if pause is not None]
    assert 15 <= len(pauses) <= 40
    assert max(pauses) <= 4
    assert {(name, error) for name, error, _ in failures} == {("strategy", "no price")}


async def test_a_stop_lets_every_child_clean_up_and_leaves_none(supervisor: Supervisor, clock: VirtualClock) -> None:
    """What a child holds, a socket or a lease, it gives back before `run` returns."""
    cleaned: list[str] = []

    def child(name: str):  # noqa: ANN202
        async def work() -> None:
            try:
                await clock.sleep(3600)
            except asyncio.CancelledError:
                cleaned.append(name)
                raise

        return work

    for name in ("tickers", "orders", "risk"):
        supervisor.add(name, child(name))
    before = asyncio.all_tasks()
    running = asyncio.create_task(supervisor.run())
    await clock.advance(1)
    supervisor.stop()
    await running
    assert sorted(cleaned) == ["orders", "risk", "tickers"]
    assert asyncio.all_tasks() == before
    assert not any(each.is_running for each in supervisor.children.values())


async def test_a_cancellation_from_outside_ends_everything_too(supervisor: Supervisor, clock: VirtualClock) -> None:
    """A flow that Prefect cancels must leave nothing behind, and must not swallow it."""
    supervisor.add("tickers", lambda: clock.sleep(3600), RestartPolicy(Restart.ALWAYS))
    before = asyncio.all_tasks()
    running = asyncio.create_task(supervisor.run())
    await clock.advance(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("how", ["stopped", "canceled", "given up"])
async def test_a_child_that_fails_while_it_ends_is_not_started_again(
    supervisor: Supervisor, clock: VirtualClock, failures: list[tuple[str, str, float | None]], how: str
) -> None:
    """Its last words may find no store any more. Taken for a failure like others, it would live on and end nothing."""
    ended = 0

    async def work() -> None:
        nonlocal ended
        try:
            await clock.sleep(3600)
        finally:
            ended += 1
            raise OSError("the store is closed")

    async def broken() -> None:
        await clock.sleep(2)
        raise ValueError("no price")

    supervisor.add("tickers", work, RestartPolicy(Restart.ALWAYS))
    supervisor.add("other", broken if how == "given up" else lambda: clock.sleep(3600), RestartPolicy(most_failures=0))
    running = asyncio.create_task(supervisor.run())
    await clock.advance(1)
    if how == "stopped":
        supervisor.stop()
    elif how == "canceled":
        running.cancel()
    await clock.advance(60)
    assert running.done()
    assert ended == 1
    assert ("tickers", "the store is closed", None) in failures
    assert running.cancelled() == (how == "canceled")
    if how == "stopped":
        assert running.exception() is None
    if how == "given up":
        told = running.exception()
        assert told is not None
        assert {type(error) for error in flatten(told)} == {GaveUp, ValueError, OSError}


async def test_exception_groups_properly_handle_multiple_concurrent_failures(
    supervisor: Supervisor, clock: VirtualClock, failures: list[tuple[str, str, float | None]]
) -> None:
    """Testing requirement 5 of the best-practices document: every error is told, however deep it lies."""

    async def two_at_once() -> None:
        async def fails(error: Exception) -> None:
            raise error

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fails(ValueError("bad price")))
            tasks.create_task(fails(OSError("socket gone")))

    supervisor.add("market", two_at_once, RestartPolicy(pause=0.1, most_failures=2, window=60))
    running = asyncio.create_task(supervisor.run())
    await clock.advance(10)
    with pytest.raises(ExceptionGroup) as raised:
        await running
    errors = list(flatten(raised.value))
    [gave_up] = [str(error) for error in errors if isinstance(error, GaveUp)]
    assert gave_up.startswith("desk: market failed 3 times within 60 s, last with ExceptionGroup")
    assert sum(isinstance(error, ValueError) for error in errors) == 3
    assert sum(isinstance(error, OSError) for error in errors) == 3
    assert len(failures) == 3


async def test_old_failures_do_not_count_against_a_child(supervisor: Supervisor, clock: VirtualClock) -> None:
    """One failure an hour is life."""

    async def fails_hourly() -> None:
        await clock.sleep(3600)
        raise OSError("nightly maintenance")

    supervisor.add("tickers", fails_hourly, RestartPolicy(most_failures=2, window=60))
    running = asyncio.create_task(supervisor.run())
    await clock.advance(24 * 3600)
    assert not running.done()
    assert supervisor.children["tickers"].starts == 24
    assert len(supervisor.children["tickers"].errors) == 1
    supervisor.stop()
    await running


async def test_each_child_restarts_by_its_own_policy(supervisor: Supervisor, clock: VirtualClock) -> None:
    """Always, on failure, never: and `run` returns when nobody is left to work."""

    async def ends() -> None:
        await clock.sleep(1)

    async def fails() -> None:
        await clock.sleep(1)
        raise OSError("down")

    supervisor.add("always", ends, RestartPolicy(Restart.ALWAYS, pause=1, longest_pause=1))
    supervisor.add("once", ends)
    supervisor.add("never", fails, RestartPolicy(Restart.NEVER))
    running = asyncio.create_task(supervisor.run())
    await clock.advance(20)
    starts = {name: child.starts for name, child in supervisor.children.items()}
    assert starts["once"] == starts["never"] == 1
    assert starts["always"] >= 10
    supervisor.stop()
    await running


async def test_it_ends_when_all_children_have(supervisor: Supervisor) -> None:
    """Nothing to look after, nothing to wait for."""
    await supervisor.run()
    supervisor.add("once", lambda: asyncio.sleep(0))
    await supervisor.run()
    with pytest.raises(ValueError, match="has a child once already"):
        supervisor.add("once", lambda: asyncio.sleep(0))
