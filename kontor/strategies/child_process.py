"""The desk's end of a strategy's process: its start, its frames, its end."""

import asyncio
import os
import pickle
import sys
from dataclasses import dataclass
from typing import Any, Self

from kontor.config import StrategySettings
from kontor.errors import ConfigError, StrategyFailed
from kontor.strategies.answers import Unreadable, read_answer
from kontor.strategies.child import LENGTH
from kontor.strategies.registry import sound_need
from kontor.strategies.source import Version
from kontor.strategies.view import DataNeed

# A thousand orders and the largest state are a tenth of it; reading more would hold up everybody else.
MAX_ANSWER_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class ChildProcess:
    """A process that decides for one strategy; `asked` counts its decisions."""

    process: asyncio.subprocess.Process
    # What it was started with: other settings, or an edited file, want another process.
    version: Version
    need: DataNeed | None = None
    asked: int = 0

    @classmethod
    async def start(cls, version: Version) -> Self:
        """Start it; it has loaded nothing of the strategy yet."""
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

    @property
    def has_ended(self) -> bool:
        """It is gone, of itself or not."""
        return self.process.returncode is not None

    async def prepare(self, settings: StrategySettings) -> DataNeed:
        """Have it made there, and learn what it needs; raises ConfigError when settings or code are wrong."""
        word, result = await self._ask(pickle.dumps(settings))
        if word == "wrong":
            where, problem = result
            raise ConfigError(str(problem), where=str(where))
        if word != "ready":
            raise StrategyFailed(str(result))
        self.need = sound_need(result)
        return self.need

    async def decide(self, view: bytes) -> Any:
        """What it wants, unchecked; raises StrategyFailed with what it raised."""
        self.asked += 1
        word, result = await self._ask(view)
        if word != "decided":
            raise StrategyFailed(str(result))
        return result

    async def _ask(self, frame: bytes) -> tuple[str, Any]:
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise BrokenPipeError
        stdin.write(LENGTH.pack(len(frame)) + frame)
        await stdin.drain()
        (length,) = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
        if length > MAX_ANSWER_BYTES:
            await self.end()
            return "failed", f"its decision has {length} bytes, above {MAX_ANSWER_BYTES}"
        try:
            return read_answer(await stdout.readexactly(length))
        except Unreadable as error:
            return "failed", f"its decision cannot be read: {error}"

    async def end(self) -> None:
        """End it at once, and wait until it is gone."""
        if self.process.returncode is None:
            self.process.kill()
        if self.process.stdin is not None:
            self.process.stdin.close()
        await asyncio.shield(self.process.wait())
