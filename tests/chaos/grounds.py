"""Where a campaign takes place: a venue and executors as processes, which it may kill, stop and restart."""

import asyncio
from pathlib import Path
from signal import Signals
from typing import Protocol

from kontor.execution.lease import lease_name
from kontor.ports import DeskState, Lease
from kontor.resilience.clock import SystemClock
from tests.chaos.executors import Spec
from tests.chaos.processes import ExecutorProcesses, VenueProcess

# Waiting for an executor that never comes is a finding too: the campaign then ends with what is stuck.
TAKEOVER_SECONDS = 400.0


class Grounds(Protocol):
    """One desk and one venue."""

    # Whether the desk has flows of its own that track and reconcile.
    tracks_by_itself: bool

    @property
    def spec(self) -> Spec:
        """Where everything is; valid once started."""
        ...

    @property
    def books(self) -> Path:
        """The venue's file."""
        ...

    async def start(self) -> None:
        """Bring up venue and executors."""
        ...

    async def at_work(self, state: DeskState) -> int:
        """The pid of the executor that holds the lease; waits for one that does."""
        ...

    def waiting(self) -> list[int]:
        """Executors that may be killed without being at work."""
        ...

    async def kill(self, pid: int) -> None:
        """End an executor between two instructions; another one comes in its place."""
        ...

    def signal(self, pid: int, signum: Signals) -> None:
        """Stop or continue an executor."""
        ...

    async def restart_venue(self, signum: Signals) -> None:
        """End the venue and start it again with the same books."""
        ...

    async def stop(self) -> None:
        """End everything, in order where that is possible."""
        ...


class BareGrounds:
    """A paper exchange, and executors without Prefect: two, so that one is always ready to take over."""

    tracks_by_itself = False

    def __init__(self, home: Path, *, markets: int, seed: int, executors: int = 2) -> None:
        self._home, self._count = home, executors
        self._venue = VenueProcess(home, markets=markets, seed=seed)
        self._clock = SystemClock()
        self._executors: ExecutorProcesses | None = None

    @property
    def spec(self) -> Spec:
        return Spec(
            store_url=f"sqlite:///{self._home / 'kontor.db'}",
            rest_url=self._venue.url,
            log_file=str(self._home / "executors.log"),
        )

    @property
    def books(self) -> Path:
        return self._venue.books

    async def start(self) -> None:
        await self._venue.start()
        self._executors = ExecutorProcesses(self.spec)
        await self._executors.open()

    async def at_work(self, state: DeskState) -> int:
        processes = self._processes
        while len(processes.pids) < self._count:
            await processes.spawn()
        async with asyncio.timeout(TAKEOVER_SECONDS):
            while True:
                lease = await state.lease(lease_name(self.spec.account))
                for pid in processes.pids:
                    if self._is_held(lease) and lease is not None and lease.owner.startswith(f"chaos {pid}:"):
                        return pid
                await asyncio.sleep(0.03)

    def waiting(self) -> list[int]:
        return list(self._processes.pids)

    async def kill(self, pid: int) -> None:
        if pid in self._processes.pids:
            self._processes.kill(pid)
        await self._processes.spawn()

    def signal(self, pid: int, signum: Signals) -> None:
        self._processes.signal(pid, signum)

    async def restart_venue(self, signum: Signals) -> None:
        await self._venue.restart(signum)

    async def stop(self) -> None:
        if self._executors is not None:
            await self._executors.close()
        await self._venue.stop()

    @property
    def _processes(self) -> ExecutorProcesses:
        assert self._executors is not None
        return self._executors

    def _is_held(self, lease: Lease | None) -> bool:
        return lease is not None and lease.expires_at > self._clock.now()
