"""A whole desk in the life of one process: brought up, looked after, brought down on a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from deployments.bootstrap import Bootstrap
from deployments.crew import Crew, Say
from deployments.farewell import say_farewell
from deployments.home import Home, Ports
from deployments.instance import DeskRecord
from deployments.project import Project
from deployments.systemd import tell, watched
from kontor.errors import KontorError

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_desk(
    home: Home, ports: Ports, project: Project, say: Say, on_ready: Callable[[], Awaitable[None]]
) -> bool:
    """Be the desk until a signal ends it; the home's lock is held by the caller.

    True when it had been up. Raises StartFailed, or what else kept it from coming up, once everything has been stopped
    again; and KontorError naming the processes that could not be stopped.
    """
    previous = DeskRecord.load(home)
    record = DeskRecord.of_this_process(ports)
    record.save(home)
    crew = Crew(home, record, say)
    bootstrap = Bootstrap(home, ports, project, crew, previous, say)

    async def live() -> None:
        watch = await crew.bring_up(bootstrap.run())
        await bootstrap.show_page()
        record.ready = True
        record.save(home)
        await on_ready()
        async with bootstrap.keeping(watch) as guard, watched(guard.is_well):
            await crew.supervise()

    life = asyncio.create_task(live(), name="desk")
    try:
        with _signals(life, crew, say):
            try:
                await asyncio.wait({life})
                tell("STOPPING=1")
                if record.ready:
                    await say_farewell(ports, home, project, say)
            finally:
                left = await crew.stop()
        if not life.cancelled():
            life.result()
    finally:
        record.ready, was_ready = False, record.ready
        record.save(home)
    if left:
        raise KontorError(f"could not be stopped: {', '.join(left)}; end them by hand")
    say("the desk is down")
    return was_ready


@contextmanager
def _signals(life: asyncio.Task[None], crew: Crew, say: Say) -> Iterator[None]:
    """The first signal ends the desk in order, the second one at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if life.done() or life.cancelling():
            say("stopping at once")
            crew.hurry()
        else:
            say("stopping; once more stops at once")
            life.cancel()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
