"""The port of the orders: the queue, their history and fills."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from kontor.domain.fill import Fill
from kontor.domain.order import Order, OrderEvent, OrderState
from kontor.domain.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class DueOrders:
    """What an executor looks at, as of one moment."""

    # As `OrderQueue.pending` has them.
    pending: Sequence[Order] = ()
    # Sent, or about to be, and not yet answered for.
    submitted: Sequence[Order] = ()
    # Live at the venue, and somebody has asked for their cancel.
    to_cancel: Sequence[Order] = ()
    # The attribute that was asked for with them.
    attribute: Snapshot[Any] | None = None


@dataclass(frozen=True, slots=True)
class HistoryMark:
    """A place in the history of an account: the numbers of the last event and the last fill that were seen."""

    event: int = 0
    fill: int = 0


@dataclass(frozen=True, slots=True)
class News:
    """A piece of history: events with their orders as they are now, fills, and where to read on."""

    events: Sequence[tuple[OrderEvent, Order]]
    fills: Sequence[Fill]
    mark: HistoryMark


class FillCounts(NamedTuple):
    """How many fills there are, how many of them belong to an order, and how many to one of a strategy."""

    every: int
    linked: int
    of_strategies: int


class OrderQueue(Protocol):
    """Every order ever wanted, its history and fills; the queue is the orders that are INITIALIZED."""

    async def enqueue(self, orders: Sequence[Order], actor: str) -> Sequence[Order]:
        """Commit new orders; one whose client_order_id is known is returned as stored and changes nothing."""
        ...

    async def pending(self, account: str, *, limit: int = 100) -> Sequence[Order]:
        """INITIALIZED orders by priority and age, at most the first one per symbol; those with a SUBMITTED order of
        unknown outcome ahead on their symbol wait.
        """
        ...

    async def due(self, account: str, *, limit: int = 100, attribute: str | None = None) -> DueOrders:
        """Everything an executor has to look at, in one consistent reading: it is on every order's way.

        `attribute` names one of the account that decides what may be sent, such as its halt.
        """
        ...

    async def record(
        self,
        changes: Sequence[tuple[Order, Order]],
        *,
        actor: str,
        at: datetime,
        detail: str = "",
        fencing: int | None = None,
    ) -> Sequence[bool]:
        """Commit (old, new) pairs with their events in one transaction.

        Optimistic: a pair whose stored row no longer equals `old` in state, filled quantity, attempts, unknown_since
        and cancel_requested_at is left alone and answered False: read again and decide again. With `fencing`, raises
        LeaseLost and writes nothing when the lease `executor:{account}` has a newer number.
        """
        ...

    async def request_cancel(self, client_order_ids: Sequence[str], *, actor: str, at: datetime) -> Sequence[Order]:
        """Durably ask for cancels: one never sent becomes CANCELED at once, a live one gets cancel_requested_at."""
        ...

    async def get(self, client_order_id: str) -> Order | None: ...

    async def find(
        self,
        account: str,
        *,
        states: Collection[OrderState] | None = None,
        symbol: str | None = None,
        since: datetime | None = None,
        cancel_requested: bool = False,
        limit: int = 1000,
    ) -> Sequence[Order]:
        """Orders, newest first; with `cancel_requested` only those whose cancel somebody has asked for."""
        ...

    async def by_venue_order_id(
        self, account: str, venue_order_ids: Collection[str]
    ) -> Mapping[tuple[str, str], Order]:
        """Orders by symbol and the venue's id: some venues number the orders of each market anew."""
        ...

    async def counts(self, account: str) -> Mapping[OrderState, int]: ...

    async def events(self, client_order_id: str) -> Sequence[OrderEvent]: ...

    async def save_fills(self, account: str, fills: Sequence[Fill]) -> Sequence[Fill]:
        """Commit fills by trade id; returns those that were new. A fill seen twice counts once."""
        ...

    async def fills(
        self, account: str, *, client_order_id: str | None = None, since: datetime | None = None, limit: int = 1000
    ) -> Sequence[Fill]: ...

    async def strategy_fills(self, account: str, *, since: datetime | None = None) -> Sequence[tuple[str, Fill]]:
        """Every fill (since a moment) of an order that a strategy placed, with the strategy's name, oldest first."""
        ...

    async def owned_fills(self, account: str, *, since: datetime | None = None) -> Sequence[tuple[str | None, Fill]]:
        """Every fill (since a moment), oldest first, with the strategy of its order; None for one that no strategy
        placed: by hand, adopted, or not linked to an order (yet).
        """
        ...

    async def count_fills(self, account: str) -> FillCounts:
        """How many fills `owned_fills` has without `since`; cheap."""
        ...

    async def short_of_fills(self, account: str, *, limit: int = 100) -> Sequence[Order]:
        """Orders whose recorded fills sum to less than their filled quantity, oldest first."""
        ...

    async def history_end(self, account: str) -> HistoryMark:
        """Where the history of orders and fills ends now: whoever follows it from here hears of nothing before."""
        ...

    async def news(self, account: str, since: HistoryMark, *, limit: int = 200) -> News:
        """What was committed after `since`, each once, oldest first; at most `limit` events and as many fills."""
        ...

    async def wait_for_change(self, account: str, *, seconds: float) -> bool:
        """True as soon as any process has committed an order, cancel request or fill; False after `seconds`."""
        ...
