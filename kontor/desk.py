"""The desk: one account's exchange, store, clock and settings, put together in one place; and its gate."""

from dataclasses import dataclass
from datetime import datetime

from kontor.config import KontorConfig
from kontor.errors import ConfigError
from kontor.ports import Clock, DeskState, Exchange, ExchangeSettings, Notifier, Store

GATE = "gate"
# Where a person's word is kept that an account trades real money.
LIVE = "live_accepted"
# With what the account trades as this desk reaches it.
STAKES = "account_mode"
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


async def accept_live(state: DeskState, account: str, exchange_id: str, at: datetime) -> None:
    """Keep that a person has said by name that this account trades real money there."""
    await state.set_attribute(account, LIVE, {"exchange_id": exchange_id}, at)


async def note_stakes(state: DeskState, settings: ExchangeSettings, at: datetime) -> None:
    """Keep with what an account trades, for whoever shows it without the block."""
    await state.set_attribute(settings.account, STAKES, settings.stakes, at)


async def stakes_of(state: DeskState, account: str) -> str | None:
    """`paper`, `sandbox` or `live`, as the account was reached last; None before it ever was."""
    known = await state.attribute(account, STAKES)
    return None if known is None else str(known.value)


async def require_accepted(state: DeskState, settings: ExchangeSettings) -> None:
    """Raises ConfigError for an account with real money that nobody has accepted by name, at that exchange."""
    if settings.mode != "live":
        return
    known = await state.attribute(settings.account, LIVE)
    if known is None or not known.value or known.value.get("exchange_id") != settings.exchange_id:
        raise ConfigError(
            f"it trades real money at {settings.exchange_id}, which nobody has accepted by name; run"
            f" 'kontor live {settings.account}', which checks it first",
            where=f"account {settings.account}",
        )
