"""The store on a SQL database: the four nouns side by side."""

from kontor.store.account import SqlAccountStore
from kontor.store.database import Database
from kontor.store.desk import SqlDeskState
from kontor.store.market import SqlMarketStore
from kontor.store.orders import SqlOrderQueue


class SqlStore:
    """The durable store of one desk, on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.market = SqlMarketStore(database)
        self.account = SqlAccountStore(database)
        self.orders = SqlOrderQueue(database)
        self.desk = SqlDeskState(database)

    async def migrate(self) -> None:
        """Bring the schema up to date; safe to call from several processes at once."""
        await self.database.migrate()

    async def close(self) -> None:
        """Close every connection and thread."""
        await self.database.close()
