"""What the exchange as a whole goes through: instruments that are suspended or taken off, and maintenance."""

from __future__ import annotations

import json
from dataclasses import dataclass

from kontor.paper.algos.model import CANCELED
from kontor.paper.executions import DELIVERY
from kontor.paper.model import Instrument
from kontor.paper.state import State
from kontor.paper.trading import Trading

LIVE, SUSPENDED, EXPIRED = "live", "suspend", "expired"
_DELIVERED = ("7", "The instrument has been taken off.")
SCHEDULED, ONGOING, COMPLETED = "scheduled", "ongoing", "completed"
_KEPT = 50


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A stretch of time, in milliseconds, in which nothing is traded and accounts cannot be reached."""

    begin: int
    end: int
    title: str = "System upgrade"

    def state(self, at: int) -> str:
        """OKX's word for how far it is."""
        return SCHEDULED if at < self.begin else ONGOING if at < self.end else COMPLETED


class House:
    """Listings and maintenance, both kept across restarts."""

    def __init__(self, state: State, trading: Trading) -> None:
        self._state = state
        self._trading = trading
        self.maintenance: list[Maintenance] = []

    # Listings

    def suspend(self, inst_id: str, *, on: bool) -> Instrument:
        """Stop or resume trading in an instrument: orders stay, and nothing matches."""
        listed = self._state.market.instrument(inst_id)
        if listed.state == EXPIRED:
            raise ValueError(f"{inst_id} has been taken off and cannot be traded again")
        self._state.changes.settings = True
        return self._state.market.relist(listed, SUSPENDED if on else LIVE, listed.exp_time)

    def announce(self, inst_id: str, exp_time: int | None) -> Instrument:
        """Say when an instrument is taken off, or (None) that it stays."""
        listed = self._state.market.instrument(inst_id)
        self._state.changes.settings = True
        return self._state.market.relist(listed, listed.state, exp_time)

    def due(self, now_ms: int) -> list[tuple[int, int]]:
        """When instruments are taken off up to now, and the places of those in the list."""
        return [
            (listed.exp_time, listed.index)
            for listed in self._state.market.listed
            if listed.exp_time is not None and listed.exp_time <= now_ms and listed.state != EXPIRED
        ]

    def take_off(self, instrument: Instrument, at: int) -> None:
        """End an instrument: orders are canceled, positions settled at the last price; coins stay."""
        state = self._state
        for account in state.accounts:
            name = account.info.name
            for order in [o for o in account.open_orders.values() if o.inst_id == instrument.inst_id]:
                state.cancel(order, *_DELIVERED, at)
            for position in list(account.positions.values()):
                if position.lots and position.inst_id == instrument.inst_id:
                    _, last = state.prices(instrument.inst_id)
                    self._trading.force(account, position, last, DELIVERY, at)
            for algo in [a for a in account.live_algos.values() if a.inst_id == instrument.inst_id]:
                state.end_algo(algo, CANCELED, at)
                state.note_algo(algo, at)
            state.drop_pointless(name, instrument, at)
        state.market.relist(instrument, EXPIRED, instrument.exp_time)
        state.changes.settings = True

    # Maintenance

    def plan(self, maintenance: Maintenance) -> None:
        """Announce maintenance."""
        if maintenance.end <= maintenance.begin:
            raise ValueError("maintenance must end after it begins")
        self.maintenance = [*self.maintenance, maintenance][-_KEPT:]
        self._state.changes.settings = True

    def call_off(self, at: int) -> int:
        """End what is under way and drop what is planned; how many it were."""
        ended = [each for each in self.maintenance if each.state(at) != COMPLETED]
        self.maintenance = [each for each in self.maintenance if each not in ended]
        self.maintenance += [Maintenance(each.begin, at, each.title) for each in ended if each.state(at) == ONGOING]
        self._state.changes.settings = True
        return len(ended)

    def closed(self, at: int) -> Maintenance | None:
        """The maintenance under way at a moment."""
        return next((each for each in self.maintenance if each.begin <= at < each.end), None)

    # Restarts

    def stored(self) -> str:
        """Everything, for a restart."""
        changed = {
            listed.inst_id: (listed.state, listed.exp_time)
            for listed in self._state.market.listed
            if listed.state != LIVE or listed.exp_time is not None
        }
        windows = [(each.begin, each.end, each.title) for each in self.maintenance]
        return json.dumps({"listings": changed, "maintenance": windows})

    def restore(self, stored: str) -> None:
        """Go on as stored; an instrument that is no longer listed at all is nobody's concern."""
        found = json.loads(stored)
        self.maintenance = [Maintenance(*each) for each in found["maintenance"]]
        known = {listed.inst_id: listed for listed in self._state.market.listed}
        for inst_id, (state, exp_time) in found["listings"].items():
            if inst_id in known:
                self._state.market.relist(known[inst_id], state, exp_time)
