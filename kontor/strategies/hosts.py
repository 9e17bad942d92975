"""Where strategies decide: in a process of their own, in a thread, or here and now."""

import asyncio
import logging
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

from kontor.config import StrategySettings
from kontor.errors import StrategyFailed
from kontor.strategies.child import LENGTH
from kontor.strategies.protocol import Strategy
from kontor.strategies.registry import place_of
from kontor.strategies.view import MarketView

log = logging.getLogger(__name__)

START_SECONDS = 20.0
# No decision is this large; a child that sends more is broken.
MAX_ANSWER_BYTES = 64 * 1024 * 1024


class Host(Protocol):
    """Asks a strategy; whatever it does wrong comes out as StrategyFailed, within its timeout."""

    async def decide(self, name: str, settings: StrategySettings, strategy: Strategy[Any], view: MarketView) -> object:
        """What the strategy returned, unchecked."""
        ...


class DirectHost:
    """Calls the strategy where it is: for replays, where nobody else waits."""

    async def decide(self, name: str, settings: StrategySettings, strategy: Strategy[Any], view: MarketView) -> object:
        """What the strategy returned, unchecked."""
        del name, settings
        try:
            return strategy.decide(view)
        except Exception as error:
            raise StrategyFailed(f"{type(error).__name__}: {error}") from error


class IsolatingHost:
    """Decides in processes and threads, one per strategy, kept from run to run. Close it in the end."""

    def __init__(self) -> None:
        self._children: dict[str, _Child] = {}
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._stuck: dict[str, Future[object]] = {}

    async def decide(self, name: str, settings: StrategySettings, strategy: Strategy[Any], view: MarketView) -> object:
        """What the strategy returned, unchecked."""
        if settings.isolation == "thread":
            return await self._in_thread(name, settings, lambda: strategy.decide(view))
        return await self._in_process(name, settings, view)

    def running(self) -> Mapping[str, int]:
        """The process id of each strategy that has a process."""
        return {name: child.process.pid for name, child in self._children.items()}

    async def close(self) -> None:
        """End every process; threads end with their strategy."""
        for name in list(self._children):
            await self._end(name)
        for executor in self._threads.values():
            executor.shutdown(wait=False, cancel_futures=True)
        self._threads.clear()

    async def _in_thread(self, name: str, settings: StrategySettings, work: Callable[[], object]) -> object:
        before = self._stuck.get(name)
        if before is not None and not before.done():
            raise StrategyFailed("still hangs in its thread since an earlier run; isolation: process could end it")
        executor = self._threads.setdefault(name, ThreadPoolExecutor(1, thread_name_prefix=f"strategy-{name}"))
        future = self._stuck[name] = executor.submit(work)
        try:
            async with asyncio.timeout(settings.timeout_seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise StrategyFailed(f"took longer than its timeout of {settings.timeout_seconds:g} s") from None
        except Exception as error:
            raise StrategyFailed(f"{type(error).__name__}: {error}") from error

    async def _in_process(self, name: str, settings: StrategySettings, view: MarketView) -> object:
        done = False
        try:
            child = await self._child(name, settings)
            async with asyncio.timeout(settings.timeout_seconds):
                answer = await child.ask(pickle.dumps(view, protocol=pickle.HIGHEST_PROTOCOL))
            done = True
        except TimeoutError:
            raise StrategyFailed(
                f"took longer than its timeout of {settings.timeout_seconds:g} s and was ended"
            ) from None
        except (asyncio.IncompleteReadError, OSError):
            raise StrategyFailed("its process ended while it decided") from None
        finally:
            if not done:
                await self._end(name)
        word, result = answer
        if word != "decided":
            raise StrategyFailed(str(result))
        return result

    async def _child(self, name: str, settings: StrategySettings) -> "_Child":
        version = settings.model_dump_json(), _source_time(settings)
        child = self._children.get(name)
        if child is not None and (child.version != version or child.process.returncode is not None):
            await self._end(name)
            child = None
        if child is None:
            child = self._children[name] = await _Child.start(version)
            async with asyncio.timeout(START_SECONDS):
                word, reason = await child.ask(pickle.dumps(settings))
            if word != "ready":
                raise StrategyFailed(str(reason))
            log.info("strategy process started strategy=%s pid=%d", name, child.process.pid)
        return child

    async def _end(self, name: str) -> None:
        child = self._children.pop(name, None)
        if child is not None:
            await child.end()


@dataclass(slots=True)
class _Child:
    process: asyncio.subprocess.Process
    # What it was started with: other settings, or an edited file, want another process.
    version: tuple[str, float]

    @classmethod
    async def start(cls, version: tuple[str, float]) -> "_Child":
        # Keys and addresses may stand in the environment; a strategy needs none of them.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ", "VIRTUAL_ENV") if name in os.environ}
        environment = {**kept, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}  # noqa: PTH109
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "kontor.strategies.child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        return cls(process, version)

    async def ask(self, frame: bytes) -> tuple[str, object]:
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise BrokenPipeError
        stdin.write(LENGTH.pack(len(frame)) + frame)
        await stdin.drain()
        (length,) = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
        if length > MAX_ANSWER_BYTES:
            raise BrokenPipeError
        payload = await stdout.readexactly(length)
        try:
            return pickle.loads(payload)  # noqa: S301 - the user's own code answered
        except Exception as error:  # noqa: BLE001 - pickle raises anything
            return "failed", f"its decision cannot be read ({error!r})"

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        if self.process.stdin is not None:
            self.process.stdin.close()
        await asyncio.shield(self.process.wait())


def _source_time(settings: StrategySettings) -> float:
    """When the strategy's file was changed last."""
    spec = find_spec(place_of(settings.use).partition(":")[0])
    return os.stat(spec.origin).st_mtime if spec is not None and spec.origin else 0.0  # noqa: PTH116
