"""What the processes of a desk share of what people were told: the pauses, the counts, and what waits for a digest."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

import anyio

from kontor.errors import StoreError
from kontor.ports import DeskState

logger = logging.getLogger(__name__)

# It belongs to the desk, and to none of its accounts.
ACCOUNT, ATTRIBUTE, LEASE = "", "alerts_paced", "alerts"
# A process that was killed during its turn holds up the others for so long; they then decide on their own.
TTL = timedelta(seconds=5)
WAIT_SECONDS = 3.0
ASK_SECONDS = 0.05


class SharedPacing(Protocol):
    """The pacing of all processes of a desk, which outlives each of them."""

    def turn(self) -> AbstractAsyncContextManager[dict[str, Any]]:
        """What all processes have decided so far, to be changed; raises when it cannot be had in time."""
        ...

    async def look(self) -> dict[str, Any]:
        """The same, only to be read."""
        ...


@dataclass
class StoredPacing:
    """Kept in the desk's store; `state` is asked for each time, as the store's address may change."""

    state: Callable[[], Awaitable[DeskState]]
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    _owner: str = field(default_factory=lambda: uuid4().hex, init=False)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[dict[str, Any]]:
        """The decisions so far; what is in the dictionary at the end is kept. Errors of the store pass through."""
        with anyio.fail_after(WAIT_SECONDS):
            state = await self.state()
            while (lease := await state.acquire_lease(LEASE, self._owner, TTL, self.now())) is None:  # noqa: ASYNC110
                await anyio.sleep(ASK_SECONDS)
            found = await state.attribute(ACCOUNT, ATTRIBUTE)
        decided: dict[str, Any] = dict(found.value) if found and found.value else {}
        try:
            yield decided
            if not found or decided != found.value:
                await state.set_attribute(ACCOUNT, ATTRIBUTE, decided, self.now())
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(WAIT_SECONDS):
                try:
                    await state.release_lease(lease)
                except StoreError as error:
                    logger.debug("lease on the alerts not given back, it lapses: %s", error)

    async def look(self) -> dict[str, Any]:
        """The decisions so far."""
        with anyio.fail_after(WAIT_SECONDS):
            state = await self.state()
            found = await state.attribute(ACCOUNT, ATTRIBUTE)
        return dict(found.value) if found and found.value else {}
