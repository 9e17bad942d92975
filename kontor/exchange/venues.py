"""What ccxt does not tell about a venue, as data: one entry per venue family."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from kontor.domain.ledger import EntryKind
from kontor.errors import AlreadyPlaced, ExchangeError, InvalidOrder, NotPlaced, RateLimited, Rejected


def milliseconds(moment: datetime) -> int:
    """A moment as epoch milliseconds."""
    return int(moment.timestamp() * 1000)


def _okx_expiry(expires_at: datetime) -> Mapping[str, str]:
    # The signature covers timestamp, method, path and body; this header is not among them.
    return {"expTime": str(milliseconds(expires_at))}


@dataclass(frozen=True, slots=True)
class Venue:
    """How a venue differs from what ccxt's unified interface says."""

    # Codes whose meaning for an order is known although ccxt raises a bare or misleading class for them.
    codes: Mapping[str, type[ExchangeError]] = field(default_factory=dict)
    # Constructor options: market kinds we do not trade cost requests and memory.
    options: Mapping[str, Any] = field(default_factory=dict)
    # Headers that make the venue drop an order arriving later than a moment.
    expiry_headers: Callable[[datetime], Mapping[str, str]] | None = None
    # Open orders come in pages; the parameter takes the last venue order id seen.
    open_orders_after: str = ""
    # Fills come in pages likewise; the parameter takes the last of the ids that stand under this key in a raw fill.
    fills_after: tuple[str, str] | None = None
    # Fills of all symbols must be asked for kind by kind.
    fills_by_kind: bool = False
    # ccxt's own request for it, where its unified one asks for one kind of market only and so misses transfers.
    ledger_method: str = ""
    # The same for what is older than that request tells, and how far back it does tell.
    ledger_archive: str = ""
    ledger_reach: timedelta = timedelta(days=7)
    # Parameters that narrow the account's ledger down to transfers.
    ledger_params: Mapping[str, str] = field(default_factory=dict)
    # The account statement comes in pages; the parameter takes the last bill id seen.
    bills_after: str = ""
    # What the types of its rows are, where ccxt lumps them together.
    bill_kinds: Mapping[str, EntryKind] = field(default_factory=dict)
    # Stops rest at the venue under ids of ours, and its dead man's switch leaves them alone.
    stop_orders: bool = False
    # Entries bring theirs along, under ids of ours.
    attached_stops: bool = False
    # A batch may hold orders of several kinds of market.
    mixed_batches: bool = False
    # Column of a raw candle, and its text while the candle is unfinished.
    unfinished: tuple[int, str] | None = None
    absence_grace: timedelta = timedelta(seconds=10)
    # Seldom asked paths with a limit of their own, which ccxt's weights charge to everybody: one in five seconds is 50.
    own_limits: frozenset[str] = frozenset()


OKX = Venue(
    codes={
        "50011": RateLimited,
        "50061": RateLimited,
        # Our own expiry has passed: the venue looked at nothing but the header.
        "50036": NotPlaced,
        "51011": AlreadyPlaced,
        "51016": AlreadyPlaced,
        # The same of stop orders, whose client ids are counted apart.
        **dict.fromkeys(("51065", "51068"), AlreadyPlaced),
        # Frozen by auto-deleveraging or liquidation, and limits of the account: definite answers of the venue.
        **dict.fromkeys(("50012", "50017", "50018", "50019", "50020", "50021", "50022", "50023", "50028"), Rejected),
        **dict.fromkeys(("51017", "51018", "51019", "51023", "51025", "54000", "54001", "54072", "54074"), Rejected),
        # A reduce-only order without a position to reduce.
        **dict.fromkeys(("51169", "51170"), InvalidOrder),
    },
    options={"fetchMarkets": {"types": ["spot", "swap"]}, "tgtCcy": "base_ccy"},
    own_limits=frozenset({"system/status"}),
    expiry_headers=_okx_expiry,
    ledger_method="private_get_account_bills",
    ledger_archive="private_get_account_bills_archive",
    ledger_params={"type": "1"},
    bills_after="after",
    bill_kinds={
        "1": EntryKind.TRANSFER,
        "2": EntryKind.TRADE,
        "3": EntryKind.TRADE,
        # Liquidation and auto-deleveraging are fills too.
        "5": EntryKind.TRADE,
        "6": EntryKind.TRANSFER,
        "7": EntryKind.INTEREST,
        "8": EntryKind.FUNDING,
        "9": EntryKind.TRADE,
    },
    stop_orders=True,
    attached_stops=True,
    open_orders_after="after",
    fills_after=("after", "billId"),
    fills_by_kind=True,
    mixed_batches=True,
    unfinished=(8, "0"),
)
BINANCE = Venue(
    codes={"-4116": AlreadyPlaced},
    options={"fetchMarkets": {"types": ["spot", "linear"]}, "warnOnFetchOpenOrdersWithoutSymbol": False},
)
BYBIT = Venue(
    codes={"110072": AlreadyPlaced, "170141": AlreadyPlaced},
    options={"fetchMarkets": {"types": ["spot", "linear"]}},
)

VENUES: Mapping[str, Venue] = {
    **dict.fromkeys(("okx", "okxus", "myokx"), OKX),
    "binance": BINANCE,
    **dict.fromkeys(("binanceus", "binanceusdm"), replace(BINANCE, options={})),
    "bybit": BYBIT,
    **dict.fromkeys(("bybiteu", "bybitid"), replace(BYBIT, options={})),
}
ORDINARY = Venue()


def venue_of(exchange_id: str) -> Venue:
    """What is known of a venue; one without an entry behaves as ccxt says."""
    return VENUES.get(exchange_id, ORDINARY)
