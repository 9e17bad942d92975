"""A venue that is open: its time, its file, its events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kontor.paper.clock import PaperClock, VenueClock
from kontor.paper.engine import Engine, LiveMarkets
from kontor.paper.model import Event, VenueConfig


class OpenVenue:
    """An engine behind a clock."""

    def __init__(
        self,
        config: VenueConfig | None = None,
        *,
        clock: VenueClock | None = None,
        path: str | Path | None = None,
        live: LiveMarkets | None = None,
    ) -> None:
        """Open the venue; `path` is its SQLite file, None keeps everything in memory. `live` replaces the source that
        `config` names.

        `notices` then holds sentences worth logging, such as a seed other than the stored one.
        """
        self.config = config or VenueConfig()
        self.clock: VenueClock = clock or PaperClock()
        self._engine = Engine(self.config, self.clock, path, live)
        self.notices: tuple[str, ...] = self._engine.notices

    # Time and durability

    def now(self) -> int:
        """Venue time in milliseconds."""
        return self.clock.now_ms()

    def advance(self, now_ms: int | None = None) -> None:
        """Bring prices, resting orders and timers up to `now_ms` (default: the clock). Cheap when nothing is due;
        call it every tick or so.
        """
        self._engine.advance(self.clock.now_ms() if now_ms is None else now_ms)

    def flush(self) -> None:
        """Commit what happened, then deliver its events. Raises VenueError 50013 when the file cannot be written;
        nothing is delivered then.
        """
        self._engine.flush()

    def close(self) -> None:
        """Flush and close the file. Calling it again does nothing."""
        self._engine.close()

    def _caught_up(self) -> int:
        now = self.clock.now_ms()
        self._engine.advance(now)
        return now

    # Events

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Deliver every event to `callback` from within `flush()`; returns the way to stop it. A callback must not
        call the venue's trading methods.
        """
        return self._engine.state.feed.subscribe(callback)

    def watch(self, channel: str, inst_id: str, key: str = "") -> None:
        """Ask for `tickers` or `candles` (key: the bar, `1m`) events of an instrument; counted, so that each watch
        needs its unwatch.
        """
        self._engine.state.feed.watch(channel, inst_id, key)

    def unwatch(self, channel: str, inst_id: str, key: str = "") -> None:
        """Take back one `watch`."""
        self._engine.state.feed.unwatch(channel, inst_id, key)
