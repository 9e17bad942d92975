"""Accounts: cash, positions, orders and the one place through which every cash movement goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from kontor.paper.algos.model import AlgoOrder
from kontor.paper.model import ZERO, AccountConfig, AccountInfo, Bill, Fill, Instrument, Order
from kontor.paper.positions import PositionState

KEPT_ORDERS, KEPT_FILLS, KEPT_BILLS, KEPT_CLIENT_IDS = 20_000, 50_000, 50_000, 100_000
KEPT_ALGOS = 20_000
DEFAULT_LEVERAGE = Decimal(3)


@dataclass(slots=True)
class Resting:
    """What the resting orders of one instrument would open: lots and value by side, reduce-only ones left out."""

    buy_lots: int = 0
    buy_value: Decimal = ZERO
    sell_lots: int = 0
    sell_value: Decimal = ZERO


@dataclass(slots=True)
class Account:
    """One account's book."""

    info: AccountInfo
    number: int
    cash: dict[str, Decimal] = field(default_factory=dict)
    positions: dict[str, PositionState] = field(default_factory=dict)
    leverages: dict[str, Decimal] = field(default_factory=dict)
    open_orders: dict[str, Order] = field(default_factory=dict)
    by_ord_id: dict[str, Order] = field(default_factory=dict)
    client_ids: dict[str, str] = field(default_factory=dict)  # client id to order id, oldest first
    finished: deque[Order] = field(default_factory=deque)
    algos: dict[str, AlgoOrder] = field(default_factory=dict)  # live and finished, by algo id, oldest first
    live_algos: dict[str, AlgoOrder] = field(default_factory=dict)
    algo_client_ids: dict[str, str] = field(default_factory=dict)  # client id to algo id, oldest first
    fills: deque[Fill] = field(default_factory=lambda: deque(maxlen=KEPT_FILLS))
    bills: deque[Bill] = field(default_factory=lambda: deque(maxlen=KEPT_BILLS))
    frozen: dict[str, Decimal] = field(default_factory=dict)  # by spot orders, by currency
    resting: dict[str, Resting] = field(default_factory=dict)  # by swap orders, by instrument
    cancel_after: int = 0  # the dead man's switch goes off at this moment; 0 is disarmed
    u_time: int = 0

    def leverage(self, instrument: Instrument) -> Decimal:
        """The leverage set for an instrument."""
        return self.leverages.get(instrument.inst_id, min(DEFAULT_LEVERAGE, Decimal(instrument.max_lever)))

    def position_lots(self, inst_id: str) -> int:
        """Signed lots held."""
        position = self.positions.get(inst_id)
        return position.lots if position else 0

    def remember(self, order: Order) -> None:
        """Make an order findable by its ids."""
        self.by_ord_id[order.ord_id] = order
        if order.cl_ord_id:
            self.client_ids[order.cl_ord_id] = order.ord_id
            if len(self.client_ids) > KEPT_CLIENT_IDS:
                del self.client_ids[next(iter(self.client_ids))]

    def retire(self, order: Order) -> None:
        """Keep a finished order for a while."""
        self.open_orders.pop(order.ord_id, None)
        self.finished.append(order)
        if len(self.finished) > KEPT_ORDERS:
            self.by_ord_id.pop(self.finished.popleft().ord_id, None)

    def remember_algo(self, algo: AlgoOrder) -> None:
        """Make an algo order findable by its ids; the oldest finished ones are forgotten."""
        self.algos[algo.algo_id] = algo
        if algo.is_live:
            self.live_algos[algo.algo_id] = algo
        if algo.algo_cl_ord_id:
            self.algo_client_ids[algo.algo_cl_ord_id] = algo.algo_id
            if len(self.algo_client_ids) > KEPT_CLIENT_IDS:
                del self.algo_client_ids[next(iter(self.algo_client_ids))]
        if len(self.algos) > KEPT_ALGOS:
            done = next((known for known in self.algos if known not in self.live_algos), None)
            if done is not None:
                del self.algos[done]

    def hold(self, order: Order, instrument: Instrument, sign: int) -> None:
        """Freeze (+1) or release (-1) what the open part of a resting order ties up."""
        lots = (order.lots - order.lots_filled) * sign
        if instrument.is_swap:
            if order.reduce_only:
                return
            resting = self.resting.setdefault(instrument.inst_id, Resting())
            value = lots * order.px_ticks * lot_tick_value(instrument)
            if order.side == "buy":
                resting.buy_lots += lots
                resting.buy_value += value
            else:
                resting.sell_lots += lots
                resting.sell_value += value
        elif order.side == "buy":
            self._freeze(instrument.quote_ccy, lots * order.px_ticks * lot_tick_value(instrument))
        else:
            self._freeze(instrument.base_ccy, lots * instrument.lot_sz)

    def _freeze(self, ccy: str, quantity: Decimal) -> None:
        self.frozen[ccy] = self.frozen.get(ccy, ZERO) + quantity

    def bills_newest_first(self) -> list[Bill]:
        """The cash movements that are kept."""
        return list(reversed(self.bills))


def lot_tick_value(instrument: Instrument) -> Decimal:
    """The value in quote currency of one lot at a price of one tick."""
    return instrument.lot_sz * instrument.ct_val * instrument.tick_sz


class Accounts:
    """All accounts, by name and by key."""

    def __init__(self) -> None:
        self._by_name: dict[str, Account] = {}
        self._by_key: dict[str, Account] = {}

    def __iter__(self) -> Iterator[Account]:
        return iter(list(self._by_name.values()))

    def __getitem__(self, name: str) -> Account:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def by_key(self, api_key: str) -> AccountInfo | None:
        """Whose key this is."""
        found = self._by_key.get(api_key)
        return found.info if found else None

    def put(self, config: AccountConfig) -> Account:
        """Make an account without funds, or give the one of this name new secrets."""
        owner = self._by_key.get(config.api_key)
        if owner is not None and owner.info.name != config.name:
            raise ValueError(
                f"account {config.name}: its API key belongs to account {owner.info.name}; give each one its own"
            )
        if config.parent is not None and config.parent not in self._by_name:
            raise ValueError(
                f"account {config.name}: its main account {config.parent} does not exist; add that one first"
            )
        known = self._by_name.get(config.name)
        number = known.number if known else len(self._by_name) + 1
        main = self._by_name[config.parent].info.uid if config.parent else str(_uid(number))
        info = AccountInfo(
            config.name,
            str(_uid(number)),
            main,
            config.api_key,
            config.secret,
            config.passphrase,
            config.parent,
            tuple(config.permissions),
        )
        if known:
            self._by_key.pop(known.info.api_key, None)
            known.info = info
        account = known or Account(info, number)
        self._by_name[config.name] = self._by_key[config.api_key] = account
        return account


def _uid(number: int) -> int:
    return 44_000_000_000 + number
