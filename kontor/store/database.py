"""What the SQL adapters of the ports need from a database: units of work, sections, and news of changes."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


class Database(Protocol):
    """SQLite or PostgreSQL. A unit of work is a plain function of a Connection: it runs whole, in one transaction."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one consistent snapshot."""
        ...

    async def write(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Run `work` and commit; on an error nothing of it is stored.

        Without `durable` a power cut may take back the last commits: right for what the venue can be asked for again.
        """
        ...

    def serialize(self, conn: Connection, *key: str) -> None:
        """From here to the commit, nobody else is in the section named by `key`."""
        ...

    def announce(self, conn: Connection, account: str) -> None:
        """Wake those who wait for changes of `account`, in any process, when this transaction commits."""
        ...

    async def watch(self, account: str) -> None:
        """From here on `wait_for_change` misses nothing of this account; a second call changes nothing."""
        ...

    async def wait_for_change(self, account: str, *, seconds: float) -> bool:
        """True as soon as something was announced since the last True; False after `seconds`."""
        ...

    async def migrate(self) -> None:
        """Bring the schema up to date."""
        ...

    async def close(self) -> None:
        """Close every connection and thread."""
        ...
