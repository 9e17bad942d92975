"""The last public trades of each watched market, as shared state: `kontor get trades`, or `$trades` in an updater."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kontor.domain.trade import Trade
from kontor.ports import Clock, DeskState

TRADES = "trades"
# The attribute is written whole: more often than this costs more than it tells.
TELL_SECONDS = 1.0


class RecentTrades:
    """At most `keep` trades of each symbol, the newest; written when there are new ones, once a second at most."""

    def __init__(self, state: DeskState, account: str, *, keep: int, clock: Clock) -> None:
        self._state, self._account, self._keep, self._clock = state, account, keep, clock
        self._symbols = frozenset[str]()
        self._trades: dict[str, deque[Trade]] = {}
        self._told_at = float("-inf")
        self._has_news = False

    def add(self, trades: Mapping[str, Sequence[Trade]]) -> None:
        """Trades as they come, oldest first; those of markets that are not watched any more are late, and dropped."""
        for symbol, new in trades.items():
            if symbol not in self._symbols:
                continue
            self._trades.setdefault(symbol, deque(maxlen=self._keep)).extend(new)
            self._has_news = self._has_news or bool(new)

    def follow(self, symbols: Collection[str]) -> None:
        """These markets are watched from now on; the others are forgotten."""
        self._symbols = frozenset(symbols)
        for symbol in self._trades.keys() - self._symbols:
            del self._trades[symbol]
            self._has_news = True

    async def tell(self) -> None:
        """Share what there is, if it is time to."""
        now = self._clock.monotonic()
        if not self._keep or not self._has_news or now - self._told_at < TELL_SECONDS:
            return
        self._told_at, self._has_news = now, False
        value = {symbol: [_to_json(trade) for trade in kept] for symbol, kept in sorted(self._trades.items())}
        await self._state.set_attribute(self._account, TRADES, value, self._clock.now())


def _to_json(trade: Trade) -> dict[str, Any]:
    return {
        "at": trade.traded_at.isoformat(),
        "price": str(trade.price),
        "quantity": str(trade.quantity),
        "side": trade.side.value if trade.side else None,
        "id": trade.trade_id,
    }
