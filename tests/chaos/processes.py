"""The processes of a campaign: the venue, which can be restarted on its port, and the executors, which get killed."""

import asyncio
import json
import os
import random
import re
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tests.chaos.executors import Spec, as_argument

# On a machine that is busy with other things.
START_SECONDS = 300
ROOT = Path(__file__).resolve().parents[2]


class VenueProcess:
    """A paper exchange in a process of its own, with its books in a file."""

    def __init__(self, home: Path, *, markets: int, seed: int) -> None:
        self.home, self._markets, self._seed = home, markets, seed
        # An address of its own: while the venue is down nobody else's connection, from 127.0.0.1, may take its port.
        self.host = "127." + ".".join(str(random.SystemRandom().randint(1, 254)) for _ in range(3))
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def books(self) -> Path:
        return self.home / "paper.sqlite3"

    async def start(self) -> None:
        """Listen; from the second start on the same port."""
        options = {
            "host": self.host,
            "port": self.port,
            "home": self.home,
            "markets": self._markets,
            "seed": self._seed,
        }
        given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        log = self.home / "venue.log"
        with log.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "kontor.paper", "--rate-limit-factor", "0", *given),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        assert self._process.stdout is not None
        line = (await asyncio.wait_for(self._process.stdout.readline(), START_SECONDS)).decode()
        found = re.search(r":(\d+)\s*$", line)
        assert found, f"the paper exchange did not start: {line!r}; {log.read_text()[-2000:]}"
        self.port = int(found[1])

    async def stop(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """End it, gently or not."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signum)
            await self._process.wait()

    async def restart(self, signum: signal.Signals) -> None:
        """End it and start it again with the same books."""
        await self.stop(signum)
        await self.start()


class ExecutorProcesses:
    """Executors of one account; there may be several, of which one holds the lease."""

    def __init__(self, spec: Spec) -> None:
        self._spec = replace(spec)
        self._parent: asyncio.subprocess.Process | None = None
        self.pids: list[int] = []
        # One question to the parent at a time: its answers name nobody.
        self._asking = asyncio.Lock()

    async def open(self) -> None:
        """Import everything once."""
        self._parent = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.chaos.executors", as_argument(self._spec)),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert (await self._read()) == "ready"

    async def spawn(self, **differences: str) -> int:
        """Start one more executor, with some of the spec's fields different."""
        assert self._parent is not None
        assert self._parent.stdin is not None
        async with self._asking:
            self._parent.stdin.write(f"{json.dumps(differences)}\n".encode())
            await self._parent.stdin.drain()
            pid = int(await self._read())
            self.pids.append(pid)
        return pid

    def kill(self, pid: int) -> None:
        """End an executor between two instructions."""
        self.pids.remove(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def signal(self, pid: int, signum: signal.Signals) -> None:
        """Stop or continue an executor."""
        with suppress(ProcessLookupError):
            os.kill(pid, signum)

    async def close(self) -> None:
        """End all of them, gently at first, and their parent."""
        for pid in self.pids:
            self.signal(pid, signal.SIGCONT)
            self.signal(pid, signal.SIGTERM)
        for _ in range(100):
            if not any(is_alive(pid) for pid in self.pids):
                break
            await asyncio.sleep(0.1)
        for pid in list(self.pids):
            self.kill(pid)
        if self._parent is not None and self._parent.returncode is None:
            assert self._parent.stdin is not None
            self._parent.stdin.close()
            await self._parent.wait()

    async def _read(self) -> str:
        assert self._parent is not None
        assert self._parent.stdout is not None
        line = (await asyncio.wait_for(self._parent.stdout.readline(), START_SECONDS)).decode().strip()
        assert line, "the executors' parent process ended"
        return line


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
