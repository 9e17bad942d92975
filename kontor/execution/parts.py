"""What the steps of an order's way need of a desk; a `kontor.desk.Desk` has it all."""

from typing import Protocol

from kontor.config import KontorConfig
from kontor.ports import Clock, Exchange, Store


class Parts(Protocol):
    """One account with its settings, venue, store and clock."""

    @property
    def account(self) -> str:
        """The account's name."""
        ...

    @property
    def config(self) -> KontorConfig:
        """The desk's settings."""
        ...

    @property
    def exchange(self) -> Exchange:
        """The venue."""
        ...

    @property
    def store(self) -> Store:
        """The durable store."""
        ...

    @property
    def clock(self) -> Clock:
        """Time."""
        ...
