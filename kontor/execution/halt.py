"""The halt switch of an account: while it is set the gate takes no new risk and the executor sends none."""

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from kontor.domain.snapshot import Snapshot
from kontor.ports import DeskState

log = logging.getLogger(__name__)

HALTED = "halted"
CLOCK, SHUTDOWN = "clock check", "shutdown"
# Who ends a halt of theirs again without a person: it gives way to one that only a person ends.
_ENDS_ITSELF = frozenset({CLOCK, SHUTDOWN})
# What people are told of a halt, where its caller knows better words.
TITLE = "Trading halted"
KEY_REFUSED = "Trading halted: the exchange refuses the key"
# Longer than it takes to write a halt; should its writer die meanwhile, the next refusal halts.
BLOCKING = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Halt:
    """Why an account is halted, and by whom; with `blocked` nothing at all can be sent (the key is refused).

    With `cancels` what rests already and could still take risk is canceled, for as long as the halt lasts.
    """

    reason: str
    actor: str
    at: datetime
    blocked: bool = False
    cancels: bool = False
    title: str = TITLE

    @property
    def ends_itself(self) -> bool:
        """Whoever called it ends it again: the clock is right, the desk is started anew."""
        return self.actor in _ENDS_ITSELF and not self.blocked


async def halt(
    state: DeskState,
    account: str,
    reason: str,
    *,
    actor: str,
    at: datetime,
    blocked: bool = False,
    cancels: bool = False,
    title: str = TITLE,
) -> Halt:
    """Stop taking risk on an account until a person resumes it; the first reason that lasts stays.

    A block, or the wish that resting entries be canceled, is added to a halt that is in force. Whoever halts tells
    nobody: watch-desk follows the switch, and tells each halt once, under `title`.
    """
    known = await halted(state, account)
    wanted = Halt(reason, actor, at, blocked, cancels, title)
    if known is not None:
        wanted = _both(known, wanted)
        if wanted == known:
            return known
    value = {
        "reason": wanted.reason,
        "actor": wanted.actor,
        "blocked": wanted.blocked,
        "cancels": wanted.cancels,
        "title": wanted.title,
        "since": wanted.at.isoformat(),
    }
    await state.set_attribute(account, HALTED, value, at)
    log.error("trading halted account=%s actor=%s reason=%s", account, wanted.actor, wanted.reason)
    return wanted


def _both(known: Halt, wanted: Halt) -> Halt:
    """One halt for two: a block names itself, what lasts goes before what passes, and otherwise the first one stays."""
    is_more = (wanted.blocked and not known.blocked) or (known.ends_itself and wanted.actor not in _ENDS_ITSELF)
    told = wanted if is_more else known
    return replace(told, blocked=known.blocked or wanted.blocked, cancels=known.cancels or wanted.cancels)


async def block(state: DeskState, account: str, reason: str, *, actor: str, at: datetime) -> bool:
    """Halt because the key is refused; True for one caller alone, in all processes: the one whose halt it is."""
    known = await halted(state, account)
    if known is not None and known.blocked:
        return False
    # Several calls are refused at the same moment, in several processes.
    if await state.acquire_lease(f"block:{account}", uuid4().hex, BLOCKING, at) is None:
        return False
    known = await halted(state, account)
    if known is not None and known.blocked:
        return False
    await halt(state, account, reason, actor=actor, at=at, blocked=True, title=KEY_REFUSED)
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
    at = datetime.fromisoformat(value["since"]) if "since" in value else found.at
    flags = bool(value.get("blocked")), bool(value.get("cancels"))
    return Halt(value["reason"], value.get("actor", ""), at, *flags, title=value.get("title", TITLE))
