"""The desk's child processes, with small children of our own instead of servers and workers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from deployments.children import ChildSpec, bound_logs
from deployments.crew import Crew, StartFailed
from deployments.home import Home, Ports
from deployments.instance import DeskRecord, ProcessRef, end_leftovers, leftovers

IDLE = "import signal; signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)\nwhile 1: signal.pause()"
)
LOCAL = timedelta(seconds=20)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make()
    return home


def child(name: str, code: str, *arguments: str, stop_within: float = 10) -> ChildSpec:
    command = [sys.executable, "-c", code, *arguments]
    return ChildSpec(name, command, os.environ, Path.cwd(), stop_within=timedelta(seconds=stop_within), restart_code=75)


@asynccontextmanager
async def crew_on(home: Home) -> AsyncIterator[tuple[Crew, list[str]]]:
    """A crew that is stopped at the end of the test, and what it said."""
    said: list[str] = []
    crew = Crew(home, DeskRecord.of_this_process(Ports()), said.append)
    try:
        yield crew, said
    finally:
        await crew.stop()


async def until(check: Callable[[], bool]) -> None:
    """Return when the check holds; the test's own timeout ends what never does."""
    async with asyncio.timeout(LOCAL.total_seconds()):
        while not check():  # noqa: ASYNC110 - other processes cannot set our event
            await asyncio.sleep(0.01)


async def nothing() -> None:
    """The steps of a desk without any."""


def pids(home: Home) -> dict[str, int]:
    record = DeskRecord.load(home)
    return {each.name: each.pid for each in record.children} if record else {}


async def test_a_killed_child_is_started_again_and_the_record_follows(home: Home) -> None:
    """`kontor down` and the next `kontor up` go by the record."""
    async with crew_on(home) as (crew, said):
        await crew.start(child("idler", IDLE))
        await crew.bring_up(nothing())
        first = pids(home)["idler"]
        os.kill(first, signal.SIGKILL)
        await until(lambda: pids(home).get("idler", first) != first)
        assert said == ["the idler ended (signal SIGKILL) after 0 s; starting it again in 0.5 s"]
        assert psutil.pid_exists(pids(home)["idler"])


async def test_a_child_with_a_pulse_is_heard_while_its_loop_turns_and_after_a_restart(home: Home) -> None:
    """By a pipe of its own each time: a hanging worker and a busy one differ in nothing else."""
    code = """
import asyncio, signal
from deployments.in_process import pulse
from deployments.in_process.settings import InProcessSettings
pulse.PULSE_SECONDS = 0.01
async def main():
    async with pulse.pulsing(InProcessSettings().pulse_fd):
        await asyncio.Event().wait()
asyncio.run(main())
"""
    async with crew_on(home) as (crew, _):
        beating = await crew.start(replace(child("beating", code), pulse_variable="KONTOR_WORKER_PULSE_FD"))
        await crew.bring_up(nothing())
        await until(beating.had_pulse)
        first = pids(home)["beating"]
        os.kill(first, signal.SIGSTOP)
        await until(lambda: psutil.Process(first).status() == psutil.STATUS_STOPPED)
        beating.had_pulse()
        await asyncio.sleep(0.1)
        assert not beating.had_pulse()
        os.kill(first, signal.SIGKILL)
        await until(lambda: pids(home).get("beating", first) != first)
        await until(beating.had_pulse)
        silent = await crew.start(child("silent", IDLE))
        assert not silent.had_pulse()


async def test_a_child_that_gives_way_does_so_after_a_restart_too(home: Home) -> None:
    """A candle refresh must not take the processor from the orders, today or after a crash."""
    async with crew_on(home) as (crew, _):
        await crew.start(replace(child("idler", IDLE), niceness=10))
        await crew.bring_up(nothing())
        first = pids(home)["idler"]
        usual = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, first) == 10
        os.kill(first, signal.SIGKILL)
        await until(lambda: pids(home).get("idler", first) != first)
        assert os.getpriority(os.PRIO_PROCESS, pids(home)["idler"]) == 10
        assert os.getpriority(os.PRIO_PROCESS, 0) == usual


async def test_a_child_that_keeps_ending_is_reported_with_the_end_of_its_log(home: Home) -> None:
    """The reason is there, one only has to look: so it is shown."""
    async with crew_on(home) as (crew, said):
        await crew.start(child("wreck", "print('no disk left'); raise SystemExit(3)"))
        # It may end before the desk is up: that is another test.
        crew._started_up = True
        await until(lambda: len(said) == 3)
    assert "(exit code 3)" in said[0]
    assert "no disk left" not in said[0]
    assert said[2].endswith("no disk left")


async def test_a_child_that_ends_while_the_desk_starts_ends_the_start_with_its_last_words(home: Home) -> None:
    """Instead of a minute's wait for something that will never answer."""
    async with crew_on(home) as (crew, _):
        await crew.start(child("wreck", "print('address in use'); raise SystemExit(3)"))
        with pytest.raises(
            StartFailed, match=r"(?s)wreck ended while the desk was starting \(exit code 3\).*address in use"
        ):
            await crew.bring_up(asyncio.sleep(LOCAL.total_seconds()))


async def test_a_child_that_never_answers_ends_the_start_at_its_deadline(home: Home) -> None:
    """A server may hang as well as die."""

    async def never() -> bool:
        return False

    async with crew_on(home) as (crew, _):
        idler = await crew.start(child("idler", IDLE))
        with pytest.raises(StartFailed, match=r"the idler did not answer within 0 s; .*idler\.log is empty"):
            await crew.bring_up(crew.wait_until(never, idler, timedelta(seconds=0.2)))


async def test_children_are_stopped_in_reverse_order_each_before_the_next(home: Home, tmp_path: Path) -> None:
    """Orders first, the server they report to last."""
    diary = tmp_path / "diary"
    code = """
import pathlib, signal, sys, time
def stop(*_):
    time.sleep(0.1)
    with open(sys.argv[2], "a") as diary:
        diary.write(sys.argv[1] + " ")
    raise SystemExit
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
signal.pause()
"""
    async with crew_on(home) as (crew, said):
        started = [await crew.start(child(name, code, name, str(diary))) for name in ("server", "updates", "orders")]
        await until(lambda: all(each.last_lines() == "ready" for each in started))
        await crew.bring_up(nothing())
        assert await crew.stop() == []
    assert diary.read_text().split() == ["orders", "updates", "server"]
    assert said == ["stopping the orders", "stopping the updates", "stopping the server"]
    assert pids(home) == {}


async def test_a_child_that_does_not_stop_is_made_to(home: Home) -> None:
    """A stop has an end, whatever a child does."""
    async with crew_on(home) as (crew, _):
        deaf = await crew.start(child("deaf", STUBBORN, stop_within=0.2))
        await until(lambda: deaf.last_lines() == "deaf")
        pid = pids(home)["deaf"]
        assert await crew.stop() == []
    assert not psutil.pid_exists(pid)


async def test_children_end_with_a_supervisor_that_was_killed(home: Home) -> None:
    """Nobody would look after them; on Linux the kernel sees to it, elsewhere the next start does."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells a child that its parent is gone")
    code = f"""
import asyncio, os, pathlib, signal, sys
from datetime import timedelta
from deployments.children import ChildSpec
from deployments.crew import Crew
from deployments.home import Home, Ports
from deployments.instance import DeskRecord
async def main():
    crew = Crew(Home(pathlib.Path({str(home.path)!r})), DeskRecord.of_this_process(Ports()), print)
    await crew.start(ChildSpec("idler", [sys.executable, "-c", {IDLE!r}], os.environ, pathlib.Path.cwd()))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    supervisor = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await supervisor.wait() == -signal.SIGKILL
    record = DeskRecord.load(home)
    assert record is not None
    assert [each.name for each in record.children] == ["idler"]
    await until(lambda: not leftovers(record))


def test_what_a_killed_desk_left_is_ended_and_said(home: Home) -> None:
    """A worker of an earlier desk would execute orders beside the new one's."""
    left = subprocess.Popen([sys.executable, "-c", IDLE])
    try:
        record = DeskRecord.of_this_process(Ports())
        found = ProcessRef.of("worker orders", left.pid)
        assert found is not None
        record.children = [found]
        record.save(home)
        said: list[str] = []
        assert end_leftovers(DeskRecord.load(home), said.append) == 1
        assert said == [f"an earlier desk left the worker orders (pid {left.pid}): ending them"]
        assert end_leftovers(DeskRecord.load(home), said.append) == 0
    finally:
        left.kill()
        left.wait()


def test_a_process_that_was_given_an_old_pid_is_left_alone(home: Home) -> None:
    """After a reboot every recorded pid belongs to somebody else."""
    stranger = subprocess.Popen([sys.executable, "-c", IDLE])
    try:
        record = DeskRecord.of_this_process(Ports())
        record.children = [ProcessRef(name="worker orders", pid=stranger.pid, started=1.0)]
        assert end_leftovers(record, pytest.fail) == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_damaged_record_is_no_record(home: Home) -> None:
    """A disk that was full when it was written must not keep the desk down."""
    home.record_file.write_text('{"supervisor": ')
    assert DeskRecord.load(home) is None


def test_logs_are_bounded_while_their_writer_goes_on(home: Home) -> None:
    """A desk runs for months."""
    log = home.logs / "server.log"
    with log.open("ab") as writer:
        writer.write(b"x" * 2000)
        writer.flush()
        bound_logs(home.logs, limit=1000)
        writer.write(b"later")
    assert log.read_bytes() == b"later"
    assert (home.logs / "server.log.1").stat().st_size == 2000
