"""What the paper venue tells its callers: frozen values named after OKX's fields, in snake case.

Quantities are OKX's: contracts on swaps, base currency on spot. Moments are integer milliseconds of venue time, as on
the wire. A `None` is rendered as OKX's empty string, a Decimal with `format(value, "f")` (`str` would write 1E-8).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from kontor.paper.quotes import Book, Candle, Instrument, Level, PublicTrade, Ticker

__all__ = [
    "CANCELED",
    "FILLED",
    "LIVE",
    "OPEN_STATES",
    "PARTIALLY_FILLED",
    "ZERO",
    "AccountConfig",
    "AccountInfo",
    "Bill",
    "Book",
    "CancelAllAfter",
    "Candle",
    "Event",
    "Fill",
    "Instrument",
    "Leg",
    "Level",
    "Order",
    "OrderAck",
    "PublicTrade",
    "Ticker",
    "VenueConfig",
    "VenueError",
]

LIVE, PARTIALLY_FILLED, FILLED, CANCELED = "live", "partially_filled", "filled", "canceled"
OPEN_STATES = frozenset({LIVE, PARTIALLY_FILLED})
ZERO = Decimal(0)


class Leg(NamedTuple):
    """What one position of an account is known by."""

    inst_id: str
    mgn_mode: str  # cross | isolated; cash on spot, where there are none
    pos_side: str  # net | long | short


class VenueError(Exception):
    """A refusal in OKX's words: `code` and `message` go to the client as they are."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class AccountConfig:
    """An account as the caller wants it to exist; one that is stored already keeps its funds and takes the new
    secrets.
    """

    name: str
    api_key: str
    secret: str = field(repr=False)
    passphrase: str = field(repr=False)
    funds: tuple[tuple[str, Decimal], ...] = (("USD", Decimal(100_000)),)
    parent: str | None = None  # the main account's name, for a sub-account
    permissions: tuple[str, ...] = ("read_only", "trade")


@dataclass(frozen=True, slots=True)
class VenueConfig:
    """How a venue is made up. `source` is `synthetic` or `replay:FOLDER`; `replay_warmup` is the share of the data
    that is history at first start.
    """

    markets: int = 40
    seed: int = 7
    source: str = "synthetic"
    tick_ms: int = 1000
    replay_warmup: float = 0.5
    funding_rate: Decimal = Decimal("0.0001")
    accounts: tuple[AccountConfig, ...] = ()


@dataclass(slots=True)
class Order:
    """An order as OKX shows it. Callers read it at once and never change it; events carry copies of their moment."""

    account: str
    inst_id: str
    inst_type: str
    ord_id: str
    cl_ord_id: str  # '' when the client gave none
    tag: str
    side: str  # buy | sell
    ord_type: str  # limit | market | ioc | fok | post_only | optimal_limit_ioc
    td_mode: str  # cash | cross | isolated
    tgt_ccy: str  # base_ccy | quote_ccy | '' (swap)
    reduce_only: bool
    px: Decimal | None
    sz: Decimal  # quote currency when tgt_ccy is quote_ccy
    lever: Decimal | None
    stp_mode: str
    c_time: int
    u_time: int
    state: str = LIVE
    acc_fill_sz: Decimal = ZERO
    avg_px: Decimal | None = None
    fill_px: Decimal | None = None  # of the last fill
    fill_sz: Decimal = ZERO
    fill_time: int | None = None
    trade_id: str = ""
    fee: Decimal = ZERO
    fee_ccy: str = ""
    pnl: Decimal = ZERO
    cancel_source: str = ""
    cancel_source_reason: str = ""
    exec_type: str = ""  # of the last fill: T taker, M maker
    fill_fee: Decimal = ZERO
    fill_pnl: Decimal = ZERO
    # The engine's own bookkeeping, in lots and ticks.
    seq: int = 0
    px_ticks: int = 0
    lots: int = 0
    lots_filled: int = 0
    notional: Decimal = ZERO  # sum of price times quantity over its fills
    pos_side: str = "net"
    category: str = "normal"
    source: str = ""  # what placed it, by OKX's numbers; '' for the client itself
    algo_id: str = ""  # of the algo order that placed it
    algo_cl_ord_id: str = ""
    attached: str = ""  # stop losses and take profits to place once it is filled, as JSON

    @property
    def leg(self) -> Leg:
        """The position it opens or closes."""
        return Leg(self.inst_id, self.td_mode, self.pos_side)

    @property
    def is_open(self) -> bool:
        """Whether it can still be filled."""
        return self.state in OPEN_STATES


@dataclass(frozen=True, slots=True)
class Fill:
    """One fill of one order; the two sides of a match between accounts share the trade id."""

    account: str
    inst_id: str
    inst_type: str
    trade_id: str
    ord_id: str
    cl_ord_id: str
    bill_id: str
    tag: str
    side: str
    fill_px: Decimal
    fill_sz: Decimal
    exec_type: str  # T taker, M maker
    fee: Decimal
    fee_ccy: str
    fee_rate: Decimal
    fill_pnl: Decimal
    ts: int
    pos_side: str = "net"
    sub_type: str = ""  # OKX's number: bought, sold, opened, closed or liquidated


@dataclass(frozen=True, slots=True)
class Bill:
    """One movement of cash. `kind` is transfer, trade, liquidation, delivery, margin, funding or clawback; `ref` is
    the transfer's name or the trade's id. `pnl` and `fee` are parts of the change; the rest is what was paid, or
    moved into an isolated position (`pos_change`).
    """

    bill_id: str
    account: str
    ccy: str
    change: Decimal
    balance: Decimal
    kind: str
    ref: str
    inst_id: str
    ts: int
    sub_type: str = ""  # OKX's number
    pnl: Decimal = ZERO
    fee: Decimal = ZERO
    px: Decimal | None = None
    sz: Decimal | None = None
    ord_id: str = ""
    cl_ord_id: str = ""
    exec_type: str = ""
    trade_id: str = ""
    mgn_mode: str = ""
    tag: str = ""
    pos_change: Decimal = ZERO
    pos_balance: Decimal = ZERO
    source: str = ""  # of a transfer: 6 the funding account, 18 the trading account
    target: str = ""


@dataclass(frozen=True, slots=True)
class OrderAck:
    """OKX's answer to one order, cancel or amend: `s_code` '0' means accepted."""

    ord_id: str
    cl_ord_id: str
    tag: str
    ts: int
    s_code: str = "0"
    s_msg: str = ""


@dataclass(frozen=True, slots=True)
class CancelAllAfter:
    """The dead man's switch: `trigger_time` is 0 when disarmed."""

    trigger_time: int
    ts: int


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """Who an API key belongs to, and what it may do."""

    name: str
    uid: str
    main_uid: str
    api_key: str
    secret: str = field(repr=False)
    passphrase: str = field(repr=False)
    parent: str | None
    permissions: tuple[str, ...]
    acct_lv: str = "2"  # futures mode
    pos_mode: str = "net_mode"


@dataclass(frozen=True, slots=True)
class Event:
    """Something to push: `channel` is orders, orders-algo, fills, positions, account, tickers or candles; `key` is the
    bar of a candle, else ''.

    `data` is an Order, AlgoOrder, Fill, Position, AccountBalance, Ticker or Candle. `account` is '' on public channels.
    """

    channel: str
    account: str
    inst_id: str
    data: Any
    ts: int
    key: str = ""
