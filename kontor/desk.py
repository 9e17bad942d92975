"""The desk: one account's exchange, store, clock and settings, put together in one place; and its gate."""

from dataclasses import dataclass
from datetime import datetime

from kontor.config import KontorConfig
from kontor.ports import Clock, DeskState, Exchange, Notifier, Store

GATE = "gate"
EXCHANGE_GENERATION = "exchange_generation"


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything a task needs of one account; built and shared within a process by `tasks.desk`."""

    account: str
    config: KontorConfig
    exchange: Exchange
    store: Store
    clock: Clock
    notifier: Notifier


async def open_gate(state: DeskState, account: str, at: datetime) -> None:
    """Let the updaters and the executor of an account work: it is initialized."""
    await state.set_attribute(account, GATE, {"open": True}, at)


async def close_gate(state: DeskState, account: str, at: datetime) -> None:
    """Make every updater wait until the account has been initialized again."""
    await state.set_attribute(account, GATE, {"open": False}, at)


async def is_gate_open(state: DeskState, account: str) -> bool:
    """Whether the account has been initialized since the desk came up; closed until somebody opens it."""
    gate = await state.attribute(account, GATE)
    return gate is not None and bool(gate.value.get("open"))
