"""What happened since the last flush: rows to store and events to push, in the order in which they came about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kontor.paper.accounts import Account
from kontor.paper.algos.model import AlgoOrder
from kontor.paper.model import Bill, Event, Fill, Leg, Order
from kontor.paper.positions import PositionState


@dataclass(slots=True)
class Sequences:
    """The last number given to each kind of thing."""

    order: int = 0
    trade: int = 0
    bill: int = 0
    position: int = 0
    rank: int = 0
    algo: int = 0
    transfer: int = 0

    def next_order(self) -> str:
        """An order id; ids grow with time, as text too."""
        self.order += 1
        return str(1_000_000_000_000_000_000 + self.order)

    def next_trade(self) -> str:
        """A trade id."""
        self.trade += 1
        return str(100_000_000 + self.trade)

    def next_bill(self) -> str:
        """A bill id; ids grow with time, as text too."""
        self.bill += 1
        return str(2_000_000_000_000_000_000 + self.bill)

    def next_position(self) -> str:
        """A position id."""
        self.position += 1
        return str(3_000_000_000_000_000_000 + self.position)

    def next_algo(self) -> str:
        """An algo id; ids grow with time, as text too."""
        self.algo += 1
        return str(4_000_000_000_000_000_000 + self.algo)

    def next_transfer(self) -> int:
        """A transfer id."""
        self.transfer += 1
        return 500_000_000 + self.transfer

    def next_rank(self) -> int:
        """A place at the end of every queue."""
        self.rank += 1
        return self.rank


@dataclass(slots=True)
class Changes:
    """Collected by the engine, emptied by a flush."""

    orders: dict[str, Order] = field(default_factory=dict)
    algos: dict[str, AlgoOrder] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)
    positions: dict[tuple[str, Leg], PositionState] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    depths: set[int] = field(default_factory=set)
    shocked: bool = False
    settings: bool = False  # of the exchange itself

    def __bool__(self) -> bool:
        return bool(
            self.orders or self.algos or self.accounts or self.fills or self.bills or self.shocked or self.settings
        )

    def clear(self) -> None:
        """Start over."""
        for collected in (
            self.orders,
            self.algos,
            self.fills,
            self.bills,
            self.positions,
            self.accounts,
            self.depths,
        ):
            collected.clear()
        self.shocked = self.settings = False


class Feed:
    """Subscribers, what public data they watch, and the events that wait for the next flush."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Event], None]] = []
        self._watched: dict[tuple[str, str, str], int] = {}
        self._waiting: list[Event] = []

    @property
    def listening(self) -> bool:
        """Whether anybody would hear an event."""
        return bool(self._callbacks)

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Deliver to `callback` from now on; the result stops it."""
        self._callbacks.append(callback)

        def stop() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return stop

    def watch(self, channel: str, inst_id: str, key: str) -> None:
        """Count one more watcher."""
        name = (channel, inst_id, key)
        self._watched[name] = self._watched.get(name, 0) + 1

    def unwatch(self, channel: str, inst_id: str, key: str) -> None:
        """Count one fewer."""
        name = (channel, inst_id, key)
        if self._watched.get(name, 0) <= 1:
            self._watched.pop(name, None)
        else:
            self._watched[name] -= 1

    def watched(self, channel: str) -> list[tuple[str, str]]:
        """Instruments, with their keys, that somebody watches on a channel."""
        return [(inst_id, key) for name, inst_id, key in self._watched if name == channel]

    def emit(self, event: Event) -> None:
        """Keep an event for the next flush."""
        if self._callbacks:
            self._waiting.append(event)

    def deliver(self, extra: Iterable[Event] = ()) -> None:
        """Hand everything that waits to everybody."""
        waiting, self._waiting = self._waiting, []
        for event in (*waiting, *extra):
            for callback in tuple(self._callbacks):
                callback(event)
