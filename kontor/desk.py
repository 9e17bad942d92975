"""The desk: one account's exchange, store, clock and settings, put together in one place."""

from dataclasses import dataclass

from kontor.config import KontorConfig
from kontor.ports import Clock, Exchange, Notifier, Store


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything a task needs of one account; built and shared within a process by `tasks.desk`."""

    account: str
    config: KontorConfig
    exchange: Exchange
    store: Store
    clock: Clock
    notifier: Notifier
