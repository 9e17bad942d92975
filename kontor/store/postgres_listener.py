"""News of commits by LISTEN, on one connection that is opened when somebody first wants to know."""

import asyncio
import logging
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kontor.store.changes import Changes

CHANNEL = "kontor_changes"

logger = logging.getLogger(__name__)


class PostgresListener:
    """Feeds `Changes` from NOTIFY; a broken connection is opened again by whoever waits next."""

    def __init__(self, engine: AsyncEngine, changes: Changes) -> None:
        self._engine = engine
        self._changes = changes
        self._connection: AsyncConnection | None = None
        self._is_listening = False
        self._opening = asyncio.Lock()

    async def watch(self, account: str) -> None:
        """Listen, and remember where the account stands."""
        if not self._is_listening:
            async with self._opening:
                if not self._is_listening:
                    await self._listen()
        self._changes.watch(account)

    async def close(self) -> None:
        """Stop listening and give the connection up."""
        connection, self._connection = self._connection, None
        self._is_listening = False
        if connection is not None:
            # Not back to the pool: it carries a listener.
            await connection.invalidate()
            await connection.close()

    async def _listen(self) -> None:
        await self.close()
        connection = await self._engine.connect()
        self._connection = connection
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        raw: Any = (await connection.get_raw_connection()).driver_connection
        await raw.add_listener(CHANNEL, self._on_notice)
        raw.add_termination_listener(self._on_lost)
        self._is_listening = True
        # Whatever happened while nobody listened.
        self._changes.advance_all()

    def _on_notice(self, _connection: Any, _pid: int, _channel: str, account: str) -> None:
        self._changes.advance(account)

    def _on_lost(self, _connection: Any) -> None:
        if self._is_listening:
            logger.warning("store listener lost its connection")
            self._is_listening = False
            # Those who wait look for themselves, and listen anew when they come back.
            self._changes.advance_all()
