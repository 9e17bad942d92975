"""Keeps one process's rate budget within its share of the account's limit; the other processes do the same.

Beside the requests, never before one: a request takes a token here or waits for one here. The store is asked about
once a second, and written when something has changed, or to say that we are still there.
"""

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from kontor.errors import StoreError
from kontor.ports import Clock, DeskState
from kontor.resilience.budget_state import RATE_BUDGETS, BudgetRow, ReportedBudget, rows_of, value_of
from kontor.resilience.rate_budget import RateBudget, Share
from kontor.resilience.rate_shares import (
    EXPECTED,
    HEADROOM,
    SILENT,
    Holding,
    Needs,
    floor_of,
    remembered,
    taken_by,
    target_of,
)

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
REFRESH_SECONDS = 0.8
# A row is written at least this often.
WORD_SECONDS = 2.0
# Ours ends before others take us for silent: they count from when the row was made, and clocks differ a little.
GRANT_SECONDS = SILENT.total_seconds() - 1.0
# A newcomer waits this long for the others to make room.
JOIN_SECONDS = 5.0
JOIN_LOOK_SECONDS = 0.25
# Needs go down slowly: who polled a moment ago polls again.
DECAY = 0.85
# A pause that ends so much later than the one that is known is another one.
TOLERANCE = timedelta(seconds=0.2)
# Smaller moves are not worth a write.
MATERIAL = 0.05


class BudgetKeeper:
    """One process's part in sharing one account's limit."""

    def __init__(self, state: DeskState, account: str, process: str, budget: RateBudget, clock: Clock) -> None:
        self._state, self._account, self._process = state, account, process
        self.budget = budget
        self._clock = clock
        self._needs = Needs()
        self._counted_at = clock.monotonic()
        self._written_at = float("-inf")
        self._is_written = False
        self._floor = 0.0
        # The end of the newest pause that the others know, from us or among themselves.
        self._known_pause = clock.now()
        # The end of the newest pause that was asked of this process.
        self._told_pause: datetime | None = None

    async def join(self) -> None:
        """Take a share before the first request; raises StoreError. Whoever spends already makes room within seconds.

        The first of all begins with a full bucket; others may have spent theirs a moment ago.
        """
        self.budget.grant(Share(0.0, 0.0))
        self._needs = Needs(data=1.0)
        began = self._clock.monotonic()
        while True:
            await self.refresh()
            is_in = self.budget.share.rate >= floor_of(EXPECTED) / 2
            if is_in or self._clock.monotonic() - began > JOIN_SECONDS:
                # From here on it counts what is spent.
                self._needs = Needs()
                return
            await self._clock.sleep(JOIN_LOOK_SECONDS)

    async def keep(self) -> None:
        """Refresh until canceled; while the store is away the grant runs out and the floor is left."""
        refreshed_at = self._clock.monotonic()
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            if self._clock.monotonic() - refreshed_at < REFRESH_SECONDS and not self._is_pause_news():
                continue
            refreshed_at = self._clock.monotonic()
            try:
                await self.refresh()
            except StoreError as error:
                logger.warning("rate_share_not_refreshed account=%s error=%s", self._account, error)
            except Exception:
                # Whatever stands in the store: without a keeper this process would be left with its floor for good.
                logger.exception("rate_share_not_refreshed account=%s", self._account)

    async def refresh(self) -> None:
        """Hear what the others hold and need, give up what should be theirs, take what is free; raises StoreError."""
        began, now = self._clock.monotonic(), self._clock.now()
        rows = rows_of(await self._value())
        self._hear_pauses(rows)
        changed_needs = self._count(began)
        held = self.budget.share
        target = target_of(self._process, _holdings(rows, self._row(now, held).holding), now)
        given_up = Share(min(target.rate, held.rate), min(target.burst, held.burst))
        if given_up != held:
            # First here, then for the others to see.
            self.budget.grant(given_up, seconds=GRANT_SECONDS, floor=self._floor)
        moves = abs(target.rate - held.rate) > MATERIAL or abs(target.burst - held.burst) > MATERIAL
        is_due = began - self._written_at >= WORD_SECONDS
        if moves or changed_needs or is_due or self._is_pause_news():
            await self._write(given_up, began, now)

    async def leave(self) -> None:
        """Say that this process spends nothing any more; raises StoreError."""
        now = self._clock.now()
        self.budget.grant(Share(0.0, 0.0))
        row = self._row(now, Share(0.0, 0.0), has_left=True)
        await self._state.update_attribute(
            self._account, RATE_BUDGETS, lambda value: value_of(_with(rows_of(value), row, now)), now, durable=False
        )

    async def _value(self) -> object:
        found = await self._state.attribute(self._account, RATE_BUDGETS)
        return found.value if found else None

    async def _write(self, held: Share, began: float, now: datetime) -> None:
        """Write our row with what may be held from now on, and hold it."""
        own, process, limit = self._row(now, held), self._process, self.budget.limit

        def change(value: object) -> object:
            rows = rows_of(value)
            # A row that is gone holds nothing: others may have taken what was ours.
            is_known = not self._is_written or any(row.holding.process == process for row in rows)
            ours = held if is_known else Share(0.0, 0.0)
            holdings = _holdings(rows, own.holding)
            share = taken_by(process, target_of(process, holdings, now), ours, holdings, now)
            holding = replace(own.holding, share=share, floor=floor_of(len(holdings)))
            reported = replace(own.reported, per_second=limit * share.rate)
            return value_of(_with(rows, replace(own, holding=holding, reported=reported), now))

        written = rows_of(await self._state.update_attribute(self._account, RATE_BUDGETS, change, now, durable=False))
        mine = next(row.holding for row in written if row.holding.process == process)
        elapsed = self._clock.monotonic() - began
        self.budget.grant(mine.share, seconds=max(GRANT_SECONDS - elapsed, 0.0), floor=mine.floor)
        if not self._is_written and len(written) == 1:
            self.budget.fill()
        self._written_at, self._is_written, self._floor = began, True, mine.floor
        self._known_pause = max(self._known_pause, own.paused_until or now)

    def _row(self, now: datetime, share: Share, *, has_left: bool = False) -> BudgetRow:
        budget = self.budget
        holding = Holding(self._process, now, self._needs, share, floor_of(EXPECTED), has_left)
        reported = ReportedBudget(self._process, budget.per_second, budget.left, budget.waiting, now)
        return BudgetRow(holding, reported, self._own_pause(now))

    def _count(self, now: float) -> bool:
        """Bring our needs up to date; whether others should hear of it before the next regular word."""
        elapsed, self._counted_at = now - self._counted_at, now
        if elapsed <= 0:
            return False
        spent, known = self.budget.take_spending(), self._needs
        capacity = self.budget.limit * elapsed
        urgent = 1.0 if spent.urgent_waited else min(HEADROOM * spent.urgent / capacity, 1.0)
        data = 1.0 if spent.data_waited else min(HEADROOM * spent.data / capacity, 1.0)
        self._needs = Needs(max(urgent, known.urgent * DECAY), max(data, known.data * DECAY))
        return self._needs.urgent - known.urgent > MATERIAL or self._needs.data - known.data > MATERIAL

    def _hear_pauses(self, rows: list[BudgetRow]) -> None:
        """What the exchange has asked one process is meant for the account."""
        for row in rows:
            if row.paused_until is not None and row.holding.process != self._process:
                self.budget.pause((row.paused_until - self._clock.now()).total_seconds())
                self._known_pause = max(self._known_pause, row.paused_until)

    def _own_pause(self, now: datetime) -> datetime | None:
        """The end of a pause that nobody else has told; what was heard is not told on: it would grow each time."""
        if (left := self.budget.paused_for) <= 0:
            return None
        ends_at = now + timedelta(seconds=left)
        if ends_at - self._known_pause > TOLERANCE:
            self._told_pause = ends_at
        return self._told_pause

    def _is_pause_news(self) -> bool:
        ends_at = self._clock.now() + timedelta(seconds=self.budget.paused_for)
        return self.budget.paused_for > 0 and ends_at - self._known_pause > TOLERANCE


def _holdings(rows: list[BudgetRow], own: Holding) -> list[Holding]:
    return [*(row.holding for row in rows if row.holding.process != own.process), own]


def _with(rows: list[BudgetRow], own: BudgetRow, now: datetime) -> list[BudgetRow]:
    """The rows that are remembered, with ours as it is now; a pause is remembered to its end, whoever told it."""
    kept = remembered([row.holding for row in rows], now)
    others = (row for row in rows if row.holding.process != own.holding.process)
    return [*(row for row in others if row.holding in kept or (row.paused_until or now) > now), own]
