"""The Streams port on a fake venue: everything is told as it happens, except while the connection is away."""

import random
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

import numpy as np

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.market import TIMEFRAMES, Candles, Ticker
from kontor.domain.order import OrderReport, Side
from kontor.domain.trade import Trade
from kontor.errors import StreamBroken
from kontor.ports import Clock
from kontor.resilience.connection_gate import ConnectionGate
from tests.fakes.venue import PRICE, Venue

URL = "ws://fake"
# Seconds between two looks at the venue: what a push takes to arrive.
LOOK_SECONDS = 0.5


class FakeStreams:
    """One socket for everything. It is lost now and then, and then connects through the gate, as real ones do."""

    channels = frozenset({"tickers", "candles", "trades", "orders", "fills", "positions", "balance"})

    def __init__(
        self,
        venue: Venue,
        clock: Clock,
        gate: ConnectionGate,
        rng: random.Random,
        *,
        lasts: float = 600.0,
        fails: float = 0.3,
    ) -> None:
        self._venue, self._clock, self.gate, self._rng, self._lasts = venue, clock, gate, rng, lasts
        self._fails = fails
        self.breaks = self.unreadable = 0
        self.unknown: dict[str, int] = {}
        self._lost_at: float | None = None
        # While it is, each connection is refused before it reaches the venue; when that was tried.
        self.is_refused = False
        self.tries: list[float] = []
        self._connecting = False
        self._seen_orders: dict[str, OrderReport] = {}
        self._seen_fills = len(venue.fills)
        self._seen_candles: dict[str, int] = {}
        self._numbers = 0

    def is_live(self, channel: str) -> bool:
        """Whether the socket is up."""
        del channel
        return self._lost_at is not None and self._clock.monotonic() < self._lost_at

    def left_out(self, channel: str) -> frozenset[str]:
        """Every market is streamed."""
        del channel
        return frozenset()

    async def tickers(self, symbols: Collection[str], *, seconds: float) -> Mapping[str, Ticker]:
        """Every market, a little off its price."""
        await self._listen(seconds)
        now = self._clock.now()
        return {symbol: Ticker(symbol, self._price(), now) for symbol in symbols}

    async def candles(self, symbols: Collection[str], timeframe: str, *, seconds: float) -> Mapping[str, Candles]:
        """One flat candle of each market as each one's time is over."""
        await self._listen(seconds)
        step = int(TIMEFRAMES[timeframe].total_seconds() * 1000)
        number = int(self._clock.now().timestamp() * 1000) // step - 1
        due = [symbol for symbol in symbols if self._seen_candles.get(symbol, -1) < number]
        self._seen_candles.update(dict.fromkeys(due, number))
        row = [number * step, *[float(PRICE)] * 4, 1.0]
        return {symbol: np.array([row], dtype=np.float64) for symbol in due}

    async def trades(self, symbols: Collection[str], *, seconds: float) -> Mapping[str, Sequence[Trade]]:
        """One trade of each market."""
        await self._listen(seconds)
        self._numbers += 1
        now = self._clock.now()
        return {
            symbol: [Trade(symbol, self._price(), Decimal(1), now, Side.BUY, str(self._numbers))] for symbol in symbols
        }

    async def orders(self, *, seconds: float) -> Sequence[OrderReport]:
        """Orders that have changed."""
        await self._listen(seconds)
        now = dict(self._venue.orders)
        changed = [report for name, report in now.items() if self._seen_orders.get(name) is not report]
        self._seen_orders = now
        return changed

    async def fills(self, *, seconds: float) -> Sequence[Fill]:
        """New fills."""
        await self._listen(seconds)
        new, self._seen_fills = self._venue.fills[self._seen_fills :], len(self._venue.fills)
        return new

    async def positions(self, *, seconds: float) -> Mapping[str, tuple[Position, ...]]:
        """All positions, now and then."""
        await self._listen(seconds)
        return {position.symbol: (position,) for position in self._venue.positions(self._clock.now())}

    async def balance(self, *, seconds: float) -> Balance | None:
        """The balance."""
        await self._listen(seconds)
        return self._venue.balance(self._clock.now())

    def drop_silent(self, limit: float) -> int:
        """Nothing is ever silent here."""
        del limit
        return 0

    async def close(self) -> None:
        """Nothing to close."""

    def refuse(self) -> None:
        """Lose the socket, and let nobody in until `is_refused` is false again."""
        self.is_refused = True
        if self._lost_at is not None:
            self._lost_at = self._clock.monotonic()

    async def _listen(self, seconds: float) -> None:
        if not self.is_live(""):
            await self._connect()
        await self._clock.sleep(min(seconds, LOOK_SECONDS))

    async def _connect(self) -> None:
        """What was told meanwhile is lost: nobody hears of it later."""
        if self._lost_at is not None and not self._connecting:
            self.breaks += 1
            self.gate.lost(URL, "gone")
            self._lost_at = None
        if self._connecting:
            raise StreamBroken("not connected")
        self._connecting = True
        try:
            permit = await self.gate.enter(URL)
            self.tries.append(self._clock.monotonic())
            if self.is_refused:
                self.gate.failed(URL, permit, "connection refused", reached=False)
                raise StreamBroken("connection refused")
            await self._clock.sleep(0.1)
            if self._rng.random() < self._fails:
                self.gate.failed(URL, permit, "reset")
                raise StreamBroken("reset")
            self.gate.connected(URL, permit)
        finally:
            self._connecting = False
        self._lost_at = self._clock.monotonic() + self._rng.expovariate(1 / self._lasts)
        self._seen_orders, self._seen_fills = dict(self._venue.orders), len(self._venue.fills)

    def _price(self) -> Decimal:
        return PRICE + Decimal(self._rng.randint(-5, 5)) / 10
