"""What a stream tells, in our words."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from kontor.domain.market import Market
from kontor.errors import ExchangeError
from kontor.exchange.connection import Connection
from kontor.exchange.stream_client import StreamEvents
from kontor.ports import Clock

logger = logging.getLogger(__name__)

T = TypeVar("T")
Entry = Mapping[str, Any]


class StreamEntries:
    """Reads the entries of ccxt's caches."""

    def __init__(self, connection: Connection, events: StreamEvents, clock: Clock) -> None:
        self._connection, self._events, self._clock = connection, events, clock
        # What has been said of already that it came of something that is no market here.
        self._not_markets: set[str] = set()

    def parse_all(
        self, what: str, raw: Sequence[Entry], parse: Callable[[Entry, Market, datetime], T], *, is_missed: bool = True
    ) -> list[T]:
        """The entries in our words; one that cannot be read is told with its keys.

        It counts as a gap where it `is_missed`: where REST is asked for what was not heard.
        """
        markets, now, found = self._connection.markets, self._clock.now(), list[T]()
        for entry in raw:
            market = markets.get(str(entry.get("symbol")))
            if market is None:
                if what not in self._not_markets:
                    self._not_markets.add(what)
                    logger.warning("left_out what=%s symbol=%s reason=not a market here", what, entry.get("symbol"))
                continue
            try:
                found.append(parse(entry, market, now))
            except (KeyError, ValueError, TypeError, ExchangeError) as error:
                # Of an order or a fill also which; elsewhere there is no such key.
                name = entry.get("clientOrderId")
                about = f" client_order_id={name}" if name else ""
                self._events.entry_not_readable(f"{what} with keys {sorted(entry)}{about}", error, is_missed=is_missed)
        return found
