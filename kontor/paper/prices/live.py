"""Prices as a real exchange tells them: the present as it comes, the past out of its candles.

What is not known yet is noted as wanted, and stands in flat until somebody (the feed) has fetched it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from kontor.paper.model import Instrument, PublicTrade
from kontor.paper.prices.source import MINUTE_MS, NATIVE_MINUTES, Bars, Floats, path_through

_KEPT_BARS = 6000  # of each length and market
_KEPT_ROWS = 5  # minutes whose ticks are remembered one by one
_KEPT_TRADES = 500
# Open, high, low, close, volume.
Bar = tuple[float, float, float, float, float]


class Wanted(NamedTuple):
    """Bars of one market that have been asked for and are not known: from number `first` to before `stop`."""

    price_key: str
    minutes: int
    first: int
    stop: int


@dataclass(slots=True)
class _Minute:
    """What has been traded within one minute, by the trades' own time."""

    prices: list[float]
    volume: float = 0.0
    # Something of it may have been missed.
    has_gap: bool = False

    def shorten(self) -> None:
        """Keep open, high, low and close, which are all that is looked at."""
        if len(self.prices) > 4:  # noqa: PLR2004 - those four
            self.prices = [self.prices[0], max(self.prices), min(self.prices), self.prices[-1]]


@dataclass(slots=True)
class _LiveMarket:
    """One market: its present minute tick by tick, and the bars that are known."""

    price: float
    minute: int
    row: Floats
    # Ticks of the present minute that have been given their price, and all prices of the last of them.
    place: int = -1
    prices: list[float] = field(default_factory=list)
    rows: OrderedDict[int, Floats] = field(default_factory=OrderedDict)
    made: OrderedDict[int, _Minute] = field(default_factory=OrderedDict)
    bars: dict[int, OrderedDict[int, Bar]] = field(default_factory=dict)
    # Number of the oldest bar there is, by length, once that is known.
    oldest: dict[int, int] = field(default_factory=dict)
    trades: deque[PublicTrade] = field(default_factory=lambda: deque(maxlen=_KEPT_TRADES))


class LiveSource:
    """Prices of markets at another exchange; `name` is that exchange.

    A price told during one tick rules from the next one on: what has been answered for a tick is never changed.
    """

    def __init__(self, name: str, tick_ms: int) -> None:
        self.name = name
        self.tick_ms = tick_ms
        self._per_minute = MINUTE_MS // tick_ms
        self._markets: dict[str, _LiveMarket] = {}
        self.wanted: set[Wanted] = set()
        # Lengths of bars that the exchange does not have.
        self.unsupported: set[int] = set()
        # Called with a market's key when ticks of its present minute have changed.
        self.on_change: Callable[[str], None] = lambda _key: None
        # Why prices stand still; empty while they are live.
        self.trouble = ""

    # What the exchange tells

    def open_market(self, key: str, price: float, now_ms: int) -> None:
        """Begin with a market at its last price."""
        minute = now_ms // MINUTE_MS
        self._markets[key] = _LiveMarket(price, minute, np.full(self._per_minute, price))
        self._made(self._markets[key], minute).has_gap = True

    def told(self, key: str, price: float, now_ms: int) -> None:
        """The market stands at this price now."""
        market = self._markets[key]
        step = now_ms // self.tick_ms + 1
        self._roll(market, step // self._per_minute)
        place = step % self._per_minute
        if place != market.place:
            market.place, market.prices = place, []
        market.prices.append(price)
        before = market.row[:place]
        highest, lowest = max(market.prices), min(market.prices)
        # An order that was touched within the tick shall see it: a new extreme of the minute is what the tick shows.
        is_high = len(before) > 0 and highest > before.max()
        is_low = len(before) > 0 and lowest < before.min()
        market.row[place:] = price
        market.row[place] = highest if is_high else lowest if is_low else price
        market.price = price
        self.on_change(key)

    def traded(self, key: str, trade: PublicTrade, quantity: float, now_ms: int) -> None:
        """A trade, with its quantity in base currency: it moves the price and belongs to its minute's bar."""
        market = self._markets[key]
        self.told(key, float(trade.px), now_ms)
        made = self._made(market, trade.ts // MINUTE_MS)
        made.prices.append(float(trade.px))
        if len(made.prices) > _KEPT_TRADES:
            made.shorten()
        made.volume += quantity
        market.trades.append(trade)

    def learned(self, key: str, minutes: int, bars: Iterable[tuple[int, Bar]]) -> None:
        """Whole bars by number, as the exchange has them."""
        known = self._markets[key].bars.setdefault(minutes, OrderedDict())
        for number, bar in bars:
            known[number] = bar
        while len(known) > _KEPT_BARS:
            known.popitem(last=False)

    def searched(self, key: str, minutes: int, numbers: range) -> bool:
        """The exchange has told all it has of these bars; whether that changes anything.

        What is missing behind a known bar was a time without trades; what is missing before all of them never was.
        """
        market = self._markets[key]
        known, news = market.bars.setdefault(minutes, OrderedDict()), False
        before = known.get(numbers.start - 1)
        for number in numbers:
            if number in known:
                before = known[number]
            elif before is not None:
                close = before[3]
                known[number] = before = (close, close, close, close, 0.0)
                news = True
        if before is None or numbers.start not in known:
            oldest = min(known, default=numbers.stop)
            if oldest > numbers.start:
                market.oldest[minutes] = max(min(oldest, numbers.stop), market.oldest.get(minutes, 0))
                news = True
        return news

    def missed(self, since_ms: int, now_ms: int) -> None:
        """Something may not have been heard between two moments: these minutes are to be fetched."""
        for market in self._markets.values():
            for minute in range(since_ms // MINUTE_MS, now_ms // MINUTE_MS + 1):
                self._made(market, minute).has_gap = True

    def take_wanted(self) -> set[Wanted]:
        """What has been asked for in vain since the last time."""
        wanted, self.wanted = self.wanted, set()
        return wanted

    # What the venue asks

    def settings(self) -> dict[str, str]:
        """Where prices come from, and the tick length."""
        return {"source": f"live:{self.name}", "tick_ms": str(self.tick_ms)}

    def since_ms(self, instrument: Instrument, minutes: int) -> int:
        """When the oldest bar of this length begins, as far as is known."""
        return self._markets[instrument.price_key].oldest.get(minutes, 0) * minutes * MINUTE_MS

    def recorded_trades(self, instrument: Instrument, limit: int) -> list[PublicTrade] | None:
        """The market's own last trades, newest first."""
        return list(self._markets[instrument.price_key].trades)[: -limit - 1 : -1]

    def volume_until(self, instrument: Instrument, minute: int, ticks: int) -> Floats:
        """What has been traded in a minute so far."""
        del ticks
        made = self._markets[instrument.price_key].made.get(minute)
        return np.array([made.volume if made else 0.0])

    def bars(self, instrument: Instrument, minutes: int, first: int, count: int) -> Bars:
        """Whole bars of one market; those that are not known stand in flat."""
        market = self._markets[instrument.price_key]
        found: list[Bar | None] = []
        missing: list[int] = []
        for number in range(first, first + count):
            bar, is_final = self._bar(market, minutes, number)
            found.append(bar)
            if not is_final:
                missing.append(number)
        if missing:
            self._want(instrument.price_key, minutes, missing[0], missing[-1] + 1)
        filled = list(_filled(found, market.price))
        columns = np.array(filled, dtype=np.float64).reshape(count, 5).T
        return Bars(*columns)

    def table(self, instruments: Sequence[Instrument], minutes: int, first: int, count: int) -> Bars:
        """Whole bars of many markets, a row each."""
        rows = [self.bars(instrument, minutes, first, count) for instrument in instruments]
        return Bars(*(np.stack(column) for column in zip(*rows, strict=True)))

    def ticks(self, instruments: Sequence[Instrument], minute: int) -> Floats:
        """The ticks of one minute; those still to come stand at the last price."""
        return np.stack([self._ticks(self._markets[i.price_key], i, minute) for i in instruments])

    def _ticks(self, market: _LiveMarket, instrument: Instrument, minute: int) -> Floats:
        if minute == market.minute:
            return market.row
        if minute > market.minute:
            return np.full(self._per_minute, market.price)
        if minute in market.rows:
            return market.rows[minute]
        return path_through(self.bars(instrument, 1, minute, 1), self._per_minute)[0]

    def _roll(self, market: _LiveMarket, minute: int) -> None:
        """Begin a new minute where the last one ended."""
        if minute <= market.minute:
            return
        market.rows[market.minute] = market.row
        while len(market.rows) > _KEPT_ROWS:
            market.rows.popitem(last=False)
        market.minute, market.row = minute, np.full(self._per_minute, market.price)
        market.place, market.prices = -1, []

    def _made(self, market: _LiveMarket, minute: int) -> _Minute:
        if minute not in market.made:
            if market.made:
                # Most likely it is over: of thousands of minutes, each trade would be too much to keep.
                next(reversed(market.made.values())).shorten()
            market.made[minute] = _Minute([])
            while len(market.made) > _KEPT_BARS:
                market.made.popitem(last=False)
        return market.made[minute]

    def _bar(self, market: _LiveMarket, minutes: int, number: int) -> tuple[Bar | None, bool]:
        """A bar if there is one, and whether nothing better is to be had."""
        known = market.bars.get(minutes, {}).get(number)
        if known is not None or number < market.oldest.get(minutes, 0):
            return known, True
        if minutes == 1:
            return self._young(market, number)
        shorter = NATIVE_MINUTES[NATIVE_MINUTES.index(minutes) + 1]
        size = minutes // shorter
        parts = [self._bar(market, shorter, at) for at in range(number * size, (number + 1) * size)]
        bars = [bar for bar, is_final in parts if bar is not None and is_final]
        return (_joined(bars), True) if len(bars) == size else (None, False)

    def _young(self, market: _LiveMarket, minute: int) -> tuple[Bar | None, bool]:
        """A minute that has just been, or is."""
        made = market.made.get(minute)
        is_whole = made is None or not made.has_gap
        if minute < market.minute and made is not None and made.prices:
            prices = made.prices
            return (prices[0], max(prices), min(prices), prices[-1], made.volume), is_whole
        if minute >= market.minute:
            row = market.row if minute == market.minute else np.full(1, market.price)
        elif minute in market.rows:
            row = market.rows[minute]
        else:
            return None, False
        volume = made.volume if made else 0.0
        return (float(row[0]), float(row.max()), float(row.min()), float(row[-1]), volume), is_whole

    def _want(self, key: str, minutes: int, first: int, stop: int) -> None:
        """Note what to fetch, in bars that the exchange has."""
        while minutes in self.unsupported and minutes > 1:
            shorter = NATIVE_MINUTES[NATIVE_MINUTES.index(minutes) + 1]
            first, stop, minutes = first * (minutes // shorter), stop * (minutes // shorter), shorter
        self.wanted.add(Wanted(key, minutes, first, stop))


def _joined(bars: Sequence[Bar]) -> Bar:
    return (
        bars[0][0],
        max(bar[1] for bar in bars),
        min(bar[2] for bar in bars),
        bars[-1][3],
        sum(bar[4] for bar in bars),
    )


def _filled(bars: Sequence[Bar | None], last: float) -> Iterable[Bar]:
    """Bars without holes: flat at the close before, or at the next open."""
    first = next((bar[0] for bar in bars if bar is not None), last)
    for bar in bars:
        if bar is None:
            yield first, first, first, first, 0.0
        else:
            first = bar[3]
            yield bar
