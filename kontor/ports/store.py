"""The port of the durable store as a whole."""

from typing import Protocol

from kontor.ports.account_store import AccountStore
from kontor.ports.desk_state import DeskState
from kontor.ports.market_store import MarketStore
from kontor.ports.order_queue import OrderQueue


class Store(Protocol):
    """The durable store of one desk."""

    @property
    def market(self) -> MarketStore: ...

    @property
    def account(self) -> AccountStore: ...

    @property
    def orders(self) -> OrderQueue: ...

    @property
    def desk(self) -> DeskState: ...

    async def migrate(self) -> None:
        """Bring the schema up to date; safe to call from several processes at once."""
        ...

    async def close(self) -> None: ...
