"""The port to what a venue tells by itself."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.market import Candles, Ticker
from kontor.domain.order import OrderReport
from kontor.domain.trade import Trade


class Streams(Protocol):
    """Live data of one account at one venue, over connections that are made on first use and again when they break.

    Each reader waits at most `seconds` and returns what is new since it was called last, nothing included. It raises
    StreamBroken when a connection was lost, and connects again on the next call. `breaks` goes up with every gap in
    what was heard: whoever relies on having heard everything reconciles by REST then.
    """

    @property
    def channels(self) -> frozenset[str]:
        """What this venue streams, out of tickers, candles, trades, orders, fills, positions, balance."""
        ...

    @property
    def breaks(self) -> int:
        """How many gaps there have been so far."""
        ...

    @property
    def unknown(self) -> Mapping[str, int]:
        """Messages nobody understood, by their kind: how many so far."""
        ...

    @property
    def unreadable(self) -> int:
        """Messages that could not be read so far."""
        ...

    def is_live(self, channel: str) -> bool:
        """The channel is subscribed, as far as one can see acknowledged, and every connection has been heard lately."""
        ...

    def left_out(self, channel: str) -> frozenset[str]:
        """Symbols the channel was asked for and does not deliver, such as a market the venue has only just listed."""
        ...

    async def tickers(self, symbols: Collection[str], *, seconds: float) -> Mapping[str, Ticker]:
        """The newest ticker of each symbol that has changed; other symbols than last time are subscribed or dropped."""
        ...

    async def candles(self, symbols: Collection[str], timeframe: str, *, seconds: float) -> Mapping[str, Candles]:
        """Candles that have finished."""
        ...

    async def trades(self, symbols: Collection[str], *, seconds: float) -> Mapping[str, Sequence[Trade]]:
        """Each symbol's public trades since the last call, oldest first; the newest of more than can be kept."""
        ...

    async def orders(self, *, seconds: float) -> Sequence[OrderReport]: ...

    async def fills(self, *, seconds: float) -> Sequence[Fill]: ...

    async def positions(self, *, seconds: float) -> Mapping[str, tuple[Position, ...]]:
        """The open positions of each symbol whose positions have changed; none when it is flat now."""
        ...

    async def balance(self, *, seconds: float) -> Balance | None: ...

    def drop_silent(self, limit: float) -> int:
        """Break connections on which nothing was heard for `limit` seconds; returns how many."""
        ...

    async def close(self) -> None: ...
