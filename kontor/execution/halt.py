"""The halt switch of an account: while it is set the gate takes no new risk and the executor sends none."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from kontor.domain.snapshot import Snapshot
from kontor.ports import DeskState

log = logging.getLogger(__name__)

HALTED = "halted"
KEY_REFUSED = "Trading halted: the exchange refuses the key"
# Longer than it takes to write a halt; should its writer die meanwhile, the next refusal halts.
BLOCKING = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Halt:
    """Why an account is halted, and by whom; with `blocked` nothing at all can be sent (the key is refused)."""

    reason: str
    actor: str
    at: datetime
    blocked: bool = False


async def halt(state: DeskState, account: str, reason: str, *, actor: str, at: datetime, blocked: bool = False) -> Halt:
    """Stop taking risk on an account until a person resumes it; the first reason stays, a block is added to it."""
    known = await halted(state, account)
    if known is not None and (known.blocked or not blocked):
        return known
    await state.set_attribute(account, HALTED, {"reason": reason, "actor": actor, "blocked": blocked}, at)
    log.error("trading halted account=%s actor=%s reason=%s", account, actor, reason)
    return Halt(reason, actor, at, blocked)


async def block(state: DeskState, account: str, reason: str, *, actor: str, at: datetime) -> bool:
    """Halt because the key is refused; True for one caller alone, in all processes: the one to tell a person."""
    known = await halted(state, account)
    if known is not None and known.blocked:
        return False
    # Several calls are refused at the same moment, in several processes.
    if await state.acquire_lease(f"block:{account}", uuid4().hex, BLOCKING, at) is None:
        return False
    known = await halted(state, account)
    if known is not None and known.blocked:
        return False
    await halt(state, account, reason, actor=actor, at=at, blocked=True)
    return True


async def resume(state: DeskState, account: str, *, actor: str, at: datetime) -> Halt | None:
    """Clear the switch; returns the halt that ended, None when there was none."""
    known = await halted(state, account)
    if known is not None:
        await state.set_attribute(account, HALTED, None, at)
        log.warning("trading resumed account=%s actor=%s reason_was=%s", account, actor, known.reason)
    return known


async def halted(state: DeskState, account: str) -> Halt | None:
    """The halt in force, None when the account trades."""
    return halt_of(await state.attribute(account, HALTED))


def halt_of(found: Snapshot[Any] | None) -> Halt | None:
    """The halt that the attribute HALTED means."""
    if found is None or not found.value:
        return None
    value = found.value
    return Halt(value["reason"], value.get("actor", ""), found.at, bool(value.get("blocked")))
