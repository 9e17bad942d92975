"""The port of what the processes of a desk tell one another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from kontor.domain.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Lease:
    """A right that one owner holds until it lapses; a later holder always has a higher fencing number."""

    name: str
    owner: str
    fencing: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What an updater last reported."""

    updater: str
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_error: str | None
    duration: timedelta | None


class DeskState(Protocol):
    """Named attributes, heartbeats and leases: what the processes of a desk tell one another."""

    async def set_attribute(self, account: str, name: str, value: Any, at: datetime, *, merge: bool = False) -> None:
        """Store a JSON value under a name; with `merge`, update an object key by key in one transaction."""
        ...

    async def attribute(self, account: str, name: str) -> Snapshot[Any] | None: ...

    async def attributes(self, account: str) -> Mapping[str, Snapshot[Any]]: ...

    async def update_attribute(
        self, account: str, name: str, change: Callable[[Any], Any], at: datetime, *, durable: bool = True
    ) -> Any:
        """Set an attribute to what `change` makes of its value (None when there is none), in one transaction.

        Returns the new value. `change` may run more than once and in another thread: it is to be pure. Without
        `durable` a power cut may take it back.
        """
        ...

    async def increment(self, account: str, name: str, at: datetime) -> int:
        """Add one to a counter attribute and return it."""
        ...

    async def beat(
        self, account: str, updater: str, at: datetime, *, error: str | None = None, duration: timedelta | None = None
    ) -> None:
        """Report a success, or with `error` a failure, which leaves the last success alone."""
        ...

    async def heartbeats(self, account: str) -> Mapping[str, Heartbeat]: ...

    async def acquire_lease(self, name: str, owner: str, ttl: timedelta, now: datetime) -> Lease | None:
        """The lease, if free, lapsed or already this owner's (same fencing number then); None while it is held."""
        ...

    async def renew_lease(self, lease: Lease, ttl: timedelta, now: datetime) -> Lease:
        """The lease, longer; raises LeaseLost when it lapsed or somebody else has it."""
        ...

    async def release_lease(self, lease: Lease) -> None: ...

    async def lease(self, name: str) -> Lease | None:
        """Who holds it now, or held it last."""
        ...

    async def desk_prefix(self) -> str:
        """Four lower-case characters that mark this desk's client order ids; made once, travels with a backup."""
        ...
