"""What an account orders from the paper venue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kontor.paper.algos.model import AlgoAck, AlgoOrder
from kontor.paper.model import CancelAllAfter, Fill, Order, OrderAck, VenueError
from kontor.paper.open_venue import OpenVenue


class VenueOrders(OpenVenue):
    """Trading.

    Bodies are OKX's request objects as they came, strings or JSON numbers. An answer's `s_code` tells a refusal;
    nothing is raised.
    """

    def place_order(self, account: str, body: Mapping[str, Any]) -> OrderAck:
        """Place one order: instId tdMode side ordType sz [px clOrdId tag tgtCcy reduceOnly posSide stpMode]."""
        return self._engine.trading.place(account, body, self._caught_up())

    def place_orders(self, account: str, bodies: Sequence[Mapping[str, Any]]) -> list[OrderAck]:
        """Place several (at most 20, the server's check); each has its own answer."""
        return [self._engine.trading.place(account, body, self._caught_up()) for body in bodies]

    def cancel_order(self, account: str, body: Mapping[str, Any]) -> OrderAck:
        """Cancel by ordId or clOrdId: 51400 unknown, 51401 canceled already, 51402 filled already."""
        return self._engine.amendments.cancel(account, body, self._caught_up())

    def cancel_orders(self, account: str, bodies: Sequence[Mapping[str, Any]]) -> list[OrderAck]:
        """Cancel several; each has its own answer."""
        return [self._engine.amendments.cancel(account, body, self._caught_up()) for body in bodies]

    def amend_order(self, account: str, body: Mapping[str, Any]) -> OrderAck:
        """Change newSz and newPx of a resting limit order; cxlOnFail is honoured. It keeps its place in the queue
        only when it gets smaller.
        """
        return self._engine.amendments.amend(account, body, self._caught_up())

    def place_algo(self, account: str, body: Mapping[str, Any]) -> AlgoAck:
        """Place an algo order: instId tdMode side ordType (conditional, oco, trigger, move_order_stop), sz or
        closeFraction, and the prices it waits for.
        """
        return self._engine.algos.place(account, body, self._caught_up())

    def cancel_algos(self, account: str, bodies: Sequence[Mapping[str, Any]]) -> list[AlgoAck]:
        """Cancel several by algoId or algoClOrdId; each has its own answer: 51400 unknown, 51401 canceled already,
        51402 triggered already.
        """
        return [self._engine.algos.cancel(account, body, self._caught_up()) for body in bodies]

    def amend_algo(self, account: str, body: Mapping[str, Any]) -> AlgoAck:
        """Change newSz and the prices of one that waits (newSlTriggerPx, newSlOrdPx, newTp..., newTriggerPx, newOrdPx);
        cxlOnFail is honoured.
        """
        return self._engine.algo_amendments.amend(account, body, self._caught_up())

    def algo(self, account: str, algo_id: str = "", algo_cl_ord_id: str = "") -> AlgoOrder:
        """An algo order by either id (algoId wins), live or recent: VenueError 51603 when there is none."""
        self._caught_up()
        return self._engine.algos.one(self._engine.state.account(account), algo_id, algo_cl_ord_id)

    def algos_pending(self, account: str) -> list[AlgoOrder]:
        """Algo orders that wait, newest first; page by `algo_id`, which grows with time."""
        self._caught_up()
        return self._engine.algos.pending(self._engine.state.account(account))

    def algos_history(self, account: str) -> list[AlgoOrder]:
        """Algo orders that have ended and are kept (the last 20,000), newest first."""
        self._caught_up()
        return self._engine.algos.history(self._engine.state.account(account))

    def cancel_all_after(self, account: str, timeout_seconds: int) -> CancelAllAfter:
        """Cancel every resting order `timeout_seconds` (10 to 120; 0 disarms) from now unless called again.
        VenueError 51000 outside that.
        """
        return self._engine.timeline.cancel_all_after(account, timeout_seconds, self._caught_up())

    def order(self, account: str, inst_id: str, ord_id: str | None = None, cl_ord_id: str | None = None) -> Order:
        """An order by either id (ordId wins), live or recent: VenueError 51603 when there is none."""
        self._caught_up()
        order = self._engine.amendments.find(self._engine.state.account(account), inst_id, ord_id, cl_ord_id)
        if order is None:
            raise VenueError("51603", "Order does not exist")
        return order

    def orders_pending(
        self, account: str, inst_type: str | None = None, inst_id: str | None = None, ord_type: str | None = None
    ) -> list[Order]:
        """Resting orders, newest first; page by `ord_id`, which grows with time."""
        self._caught_up()
        return self._engine.reports.orders_pending(account, inst_type, inst_id, ord_type)

    def orders_history(
        self,
        account: str,
        inst_type: str | None = None,
        inst_id: str | None = None,
        ord_type: str | None = None,
        state: str | None = None,
    ) -> list[Order]:
        """Finished orders that are kept (the last 20,000), newest first."""
        self._caught_up()
        return self._engine.reports.orders_history(account, inst_type, inst_id, ord_type, state)

    def fills(
        self, account: str, inst_type: str | None = None, inst_id: str | None = None, ord_id: str | None = None
    ) -> list[Fill]:
        """Fills that are kept (the last 50,000), newest first; page by `bill_id`, filter time by `ts`."""
        self._caught_up()
        return self._engine.reports.fills(account, inst_type, inst_id, ord_id)
