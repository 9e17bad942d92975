"""Which alerts go out now, and which wait for a digest: decided by all processes of a desk as one."""

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kontor.notify.lane import Lane
from kontor.notify.queued import sameness
from kontor.notify.redaction import redact
from kontor.notify.repeats import Repeats
from kontor.notify.shared import SharedPacing
from kontor.ports import Alert

logger = logging.getLogger(__name__)

Lanes = Sequence[Lane]


@dataclass(slots=True)
class Taken:
    """An alert that nothing was decided of, and the same ones that came right behind it."""

    first: Alert
    last: Alert
    # What the same ones have in common; None where each is news.
    key: Hashable | None = None
    more: int = 0
    is_stamped: bool = False


@dataclass
class Decisions:
    """Hands alerts to the lanes; without `shared`, or out of its reach, by what this process alone has told."""

    repeats: Repeats = field(default_factory=Repeats)
    shared: SharedPacing | None = None
    moment: Callable[[], float] = time.time
    # Whether to ask now and then for digests that processes left which are no more.
    looks: bool = False
    # What is being decided of.
    pending: list[Taken] = field(default_factory=list, init=False)
    # Decided without the others, because what is shared could not be reached.
    is_alone: bool = field(default=False, init=False)

    def due_in(self, lanes: Lanes) -> float | None:
        """Seconds until a digest is due, as far as this process knows."""
        due_at = self.repeats.next_due_at()
        waits = [lane.policy.next_due_in() for lane in lanes]
        waits.append(None if due_at is None else max(0.0, due_at - self.moment()))
        return min((wait for wait in waits if wait is not None), default=None)

    async def decide(self, lanes: Lanes) -> None:
        """Say of everything that is pending whether it goes out now; deliver the digests that are due."""
        if self.shared is None:
            self._distribute(lanes)
        elif self._none_can_be_held(lanes):
            self._distribute(lanes, with_digests=False)
        elif self.pending or await self._is_something_due(lanes, self.shared):
            await self._decide_together(lanes, self.shared)

    def flush(self, lanes: Lanes) -> None:
        """Tell all that is held back, unless that is shared: then it is for the others, or for the next start."""
        if self.shared is not None and not self.is_alone:
            return
        digests = self.repeats.flush(self.moment())
        for lane in lanes:
            for digest in digests:
                lane.offer(digest)
            lane.release(due_only=False)

    async def _decide_together(self, lanes: Lanes, shared: SharedPacing) -> None:
        is_decided = False
        try:
            async with shared.turn() as decided:
                self._adopt_or_begin(lanes, decided)
                self._distribute(lanes)
                is_decided = True
                decided.update(self._dump(lanes, decided))
            self.is_alone = False
        except Exception as error:  # noqa: BLE001 - whatever keeps the store or Prefect's API away keeps no alert away
            self._go_alone(lanes, error, keep_held=is_decided)
            if not is_decided:
                self._distribute(lanes)

    def _none_can_be_held(self, lanes: Lanes) -> bool:
        """Trades by day and halts: no pause that others know of concerns them, so they wait for no store."""
        return bool(self.pending) and all(
            sameness(taken.first) is None and lane.takes_now(taken.first) for taken in self.pending for lane in lanes
        )

    async def _is_something_due(self, lanes: Lanes, shared: SharedPacing) -> bool:
        if self.looks and not self.is_alone:
            try:
                self._adopt_or_begin(lanes, await shared.look())
            except Exception as error:  # noqa: BLE001 - likewise
                logger.debug("nothing shared to look at: %s", redact(str(error)))
        due_in = self.due_in(lanes)
        return due_in is not None and due_in <= 0

    def _adopt_or_begin(self, lanes: Lanes, decided: dict[str, Any]) -> None:
        """What another version kept may mean nothing to this one: pauses that are lost are no reason to be silent."""
        try:
            self._adopt(lanes, decided)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            logger.warning("what was told cannot be read, begun afresh: %s: %s", type(error).__name__, error)
            decided.clear()

    def _adopt(self, lanes: Lanes, decided: dict[str, Any]) -> None:
        """Go on from what all processes have decided, with what this one has decided alone meanwhile."""
        channels = decided.get("channels", {})
        known = [(lane.policy, channels[lane.channel.name]) for lane in lanes if lane.channel.name in channels]
        if self.is_alone:
            self.repeats.join(decided.get("repeats", {}))
            for policy, kept in known:
                policy.join(kept)
        elif decided:
            self.repeats.load(decided.get("repeats", {}))
            for policy, kept in known:
                policy.load(kept)

    def _dump(self, lanes: Lanes, decided: dict[str, Any]) -> dict[str, Any]:
        """What all processes go on from; a channel that this one does not have keeps what it had."""
        mine = {lane.channel.name: lane.policy.dump() for lane in lanes if lane.channel.is_for_people}
        return {"repeats": self.repeats.dump(), "channels": {**decided.get("channels", {}), **mine}}

    def _go_alone(self, lanes: Lanes, error: Exception, *, keep_held: bool) -> None:
        if self.is_alone:
            return
        self.is_alone = True
        logger.warning("alerts are paced by this process alone: %s: %s", type(error).__name__, redact(str(error)))
        if keep_held:
            return
        self.repeats.forget_held()
        for lane in lanes:
            lane.policy.forget_held()

    def _distribute(self, lanes: Lanes, *, with_digests: bool = True) -> None:
        now = self.moment()
        found = self.repeats.due(now) if with_digests else []
        for taken in self.pending:
            found += [admitted] if (admitted := self.repeats.admit(taken.first, now)) else []
            self.repeats.count(taken.last, taken.more, now)
        self.pending = []
        for lane in lanes:
            for queued in found:
                lane.offer(queued)
            if with_digests:
                lane.release(due_only=True)
