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
    wanted = Halt(reason, actor, at, blocked, cancels, title)
    known = await halted(state, account)
    if known is not None and _both(known, wanted) == known:
        return known

    def change(value: Any) -> dict[str, Any]:
        # Of what stands there now: two may halt at the same moment, in two processes.
        known = halt_of(Snapshot(value, at))
        return _to_json(wanted if known is None else _both(known, wanted))

    found = halt_of(Snapshot(await state.update_attribute(account, HALTED, change, at), at)) or wanted
    log.error("trading halted account=%s actor=%s reason=%s", account, found.actor, found.reason)
    return found


def _to_json(wanted: Halt) -> dict[str, Any]:
    return {
        "reason": wanted.reason,
        "actor": wanted.actor,
        "blocked": wanted.blocked,
        "cancels": wanted.cancels,
        "title": wanted.title,
        "since": wanted.at.isoformat(),
    }


def _both(known: Halt, wanted: Halt) -> Halt:
    """One halt for two: a block names itself, what lasts goes before what passes, and otherwise the first one stays.

    Of those that end themselves a shutdown lasts longer than a wrong clock.
    """
    lasts_longer = wanted.actor not in _ENDS_ITSELF or (wanted.actor, known.actor) == (SHUTDOWN, CLOCK)
    is_more = (wanted.blocked and not known.blocked) or (known.ends_itself and lasts_longer)
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


async def resume(
    state: DeskState, account: str, *, actor: str, at: datetime, only_of: str | None = None
) -> Halt | None:
    """Clear the switch; returns the halt that ended, None when there was none.

    With `only_of` that is one that this actor called and that ends itself: somebody else's, called meanwhile, stays.
    """
    ended: list[Halt | None] = []

    def change(value: Any) -> Any:
        known = halt_of(Snapshot(value, at))
        is_meant = known is not None and (only_of is None or (known.ends_itself and known.actor == only_of))
        ended[:] = [known if is_meant else None]
        return None if is_meant else value

    if await halted(state, account) is None:
        return None
    await state.update_attribute(account, HALTED, change, at)
    [known] = ended
    if known is not None:
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
