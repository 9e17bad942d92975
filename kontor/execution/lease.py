"""Holding the executor's lease: renewed in the background, and checked against our own clock before every send."""

import asyncio
import logging
from datetime import timedelta

from kontor.errors import LeaseLost, StoreError
from kontor.ports import Clock, DeskState, Lease

log = logging.getLogger(__name__)


def lease_name(account: str) -> str:
    """The name of the lease that makes one executor the only one for an account."""
    return f"executor:{account}"


class HeldLease:
    """A lease in force; `keep` renews it until it is lost, `check` says whether it may still be relied on."""

    def __init__(self, state: DeskState, clock: Clock, lease: Lease, ttl: timedelta, taken_at: float) -> None:
        self.lease = lease
        self._state, self._clock, self._ttl = state, clock, ttl
        # By the clock that never goes back: a step of the wall clock must not stretch a lease.
        self._lapses_at = taken_at + ttl.total_seconds()

    @classmethod
    async def acquire(cls, state: DeskState, clock: Clock, name: str, owner: str, ttl: timedelta) -> "HeldLease | None":
        """The lease, or None while somebody else has it."""
        taken_at = clock.monotonic()
        lease = await state.acquire_lease(name, owner, ttl, clock.now())
        return None if lease is None else cls(state, clock, lease, ttl, taken_at)

    def check(self) -> None:
        """Raise LeaseLost unless the lease holds for at least another fifth of its time."""
        # By both clocks: the one that never goes back stands still while a machine sleeps.
        by_the_wall = (self.lease.expires_at - self._clock.now()).total_seconds()
        left = min(self._lapses_at - self._clock.monotonic(), by_the_wall)
        if left < self._ttl.total_seconds() / 5:
            raise LeaseLost(
                f"lease {self.lease.name} of {self.lease.owner} has {left:.1f} s left; nothing more is sent under it"
            )

    async def keep(self) -> None:
        """Renew until the lease is lost; raises LeaseLost then. A store that cannot be written is asked again."""
        pause = self._ttl.total_seconds() / 4
        while True:
            await self._clock.sleep(pause)
            taken_at = self._clock.monotonic()
            try:
                self.lease = await self._state.renew_lease(self.lease, self._ttl, self._clock.now())
            except LeaseLost:
                raise
            except StoreError as error:
                log.warning("lease not renewed name=%s error=%s", self.lease.name, error)
                self.check()
                continue
            self._lapses_at = taken_at + self._ttl.total_seconds()

    async def release(self) -> None:
        """Give it back, so that the next executor need not wait; a store that fails lets it lapse instead."""
        try:
            async with asyncio.timeout(self._ttl.total_seconds() / 2):
                await self._state.release_lease(self.lease)
        except (StoreError, TimeoutError) as error:
            log.warning("lease not released name=%s error=%s; it lapses by itself", self.lease.name, error)
