"""Who looks at the page, and what has changed since they were told last: one look at the store serves them all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import orjson

from kontor.errors import KontorError
from kontor.ports import HistoryMark, Store
from kontor.web import views
from kontor.web.views import Json

log = logging.getLogger(__name__)

#: A browser that has not taken so many messages is gone, or wishes it were.
BACKLOG = 60
#: Enough to overlap with what was sent a second ago; without an overlap everything is sent again.
LIVE_CANDLES = 5
_DAY = timedelta(days=1)


class Desk(Protocol):
    """What the page knows of the desk beside its store."""

    def accounts(self) -> Sequence[str]:
        """The accounts there are."""
        ...

    def timeframe(self) -> str:
        """Of the candles that are kept."""
        ...

    async def overview(self, account: str) -> Json:
        """The account's status: updaters, orders, positions, balance, breakers, streams."""
        ...


@dataclass(frozen=True, slots=True)
class Selection:
    """What one browser looks at."""

    account: str
    symbol: str
    timeframe: str
    #: How far back the equity curve goes; None is to its beginning.
    equity_span: timedelta | None = _DAY


@dataclass(eq=False)
class Viewer:
    """One browser: its selection, what it was told last, and what waits to be sent to it."""

    selection: Selection
    outbox: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(BACKLOG))
    last_candle: float = 0.0
    last_equity: float = 0.0

    def send(self, kind: str, content: Json) -> None:
        """Put a message in line; who does not take them is let go."""
        try:
            self.outbox.put_nowait(orjson.dumps({"kind": kind, **content}))
        except asyncio.QueueFull:
            while not self.outbox.empty():
                self.outbox.get_nowait()
            self.outbox.put_nowait(None)


class Hub:
    """Every viewer of one page."""

    def __init__(self, store: Store, desk: Desk) -> None:
        self._store, self._desk = store, desk
        self._viewers: set[Viewer] = set()
        self._marks: dict[str, HistoryMark] = {}
        # A welcome and a look do not mix: what a new viewer is told must not be older than what it hears next.
        self._turn = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._viewers)

    async def welcome(self, viewer: Viewer) -> None:
        """Tell a new viewer everything, and keep it up to date from then on."""
        async with self._turn:
            await self._tell_everything(viewer)
            self._viewers.add(viewer)

    async def _tell_everything(self, viewer: Viewer) -> None:
        chosen = viewer.selection
        names = await views.symbols(self._store, chosen.account)
        viewer.send(
            "hello",
            {
                "accounts": list(self._desk.accounts()),
                "account": chosen.account,
                "symbols": names if chosen.symbol in {*names, ""} else [chosen.symbol, *names],
                "symbol": chosen.symbol,
                "timeframe": chosen.timeframe,
            },
        )
        # First the mark, then the lists: what comes between is told twice, rather than never.
        if chosen.account not in self._marks:
            self._marks[chosen.account] = await self._store.orders.history_end(chosen.account)
        viewer.send("status", await self._desk.overview(chosen.account))
        viewer.send("trades", await views.trades(self._store, chosen.account))
        await self._draw_chart(viewer)
        await self._draw_equity(viewer)

    def leave(self, viewer: Viewer) -> None:
        """A browser is gone; an account that nobody looks at is not looked at."""
        self._viewers.discard(viewer)
        for account in self._marks.keys() - {each.selection.account for each in self._viewers}:
            del self._marks[account]

    async def run(self, every: float) -> None:
        """Look again and again; trouble with the store is told to those who look, and passes or not."""
        while True:
            await asyncio.sleep(every)
            for account in {each.selection.account for each in self._viewers}:
                await self._guarded(lambda account=account: self._look(account), self._of(account))
            for viewer in tuple(self._viewers):
                await self._guarded(lambda viewer=viewer: self._look_at_prices(viewer), [viewer])

    async def _guarded(self, look: Callable[[], Awaitable[None]], viewers: Sequence[Viewer]) -> None:
        try:
            async with self._turn:
                await look()
        except KontorError as error:
            for viewer in viewers:
                viewer.send("trouble", {"text": str(error)})
        except Exception:
            log.exception("the page could not look at the store")
            for viewer in viewers:
                viewer.send("trouble", {"text": "the desk's state could not be read; the page's log says why"})

    async def _look(self, account: str) -> None:
        """What is one for all who look at an account."""
        viewers = self._of(account)
        status = await self._desk.overview(account)
        for viewer in viewers:
            viewer.send("status", status)
        if not await self._has_news(account):
            return
        trades = await views.trades(self._store, account)
        for viewer in viewers:
            viewer.send("trades", trades)
            await self._draw_markers(viewer)

    async def _has_news(self, account: str) -> bool:
        """Whether orders or fills have changed since the last look."""
        before = mark = self._marks.get(account, HistoryMark())
        while (news := await self._store.orders.news(account, mark)).mark != mark:
            mark = news.mark
        self._marks[account] = mark
        return mark != before

    async def _look_at_prices(self, viewer: Viewer) -> None:
        chosen = viewer.selection
        if chosen.symbol:
            news = await views.chart(self._store, chosen.account, chosen.symbol, chosen.timeframe, limit=LIVE_CANDLES)
            opened = [row[0] for row in news["candles"]]
            if opened and viewer.last_candle < opened[0]:
                await self._draw_chart(viewer)
            else:
                viewer.last_candle = max([viewer.last_candle, *opened])
                viewer.send("prices", news)
        since = datetime.fromtimestamp(viewer.last_equity / 1000, UTC)
        history = await self._store.account.equity_history(chosen.account, since=since, points=views.EQUITY_POINTS)
        points = [each for each in views.points(history) if each[0] > viewer.last_equity]
        if points:
            viewer.last_equity = points[-1][0]
            viewer.send("equity-points", {"points": points})

    async def _draw_chart(self, viewer: Viewer) -> None:
        chosen = viewer.selection
        if not chosen.symbol:
            return
        chart = await views.chart(self._store, chosen.account, chosen.symbol, chosen.timeframe)
        viewer.last_candle = chart["candles"][-1][0] if chart["candles"] else 0.0
        viewer.send("chart", chart)
        await self._draw_markers(viewer)

    async def _draw_markers(self, viewer: Viewer) -> None:
        chosen = viewer.selection
        if not chosen.symbol:
            return
        since = await views.chart_begin(self._store, chosen.account, chosen.symbol, chosen.timeframe)
        viewer.send("markers", await views.markers(self._store, chosen.account, chosen.symbol, since))

    async def _draw_equity(self, viewer: Viewer) -> None:
        chosen = viewer.selection
        since = None if chosen.equity_span is None else datetime.now(UTC) - chosen.equity_span
        curve = await views.equity(self._store, chosen.account, since)
        viewer.last_equity = curve["points"][-1][0] if curve["points"] else 0.0
        viewer.send("equity", curve)

    def _of(self, account: str) -> list[Viewer]:
        return [each for each in self._viewers if each.selection.account == account]


def selected(desk: Desk, query: Any) -> Selection:
    """What an address asks for; an account that there is not is the first one, so that a stale bookmark still opens."""
    accounts = list(desk.accounts())
    account = query.get("account", "")
    days = query.get("days", "1")
    span = None if days == "all" else timedelta(days=int(days) if days in {"1", "7", "30"} else 1)
    return Selection(
        account=account if account in accounts else (accounts[0] if accounts else ""),
        symbol=query.get("symbol", "")[:100],
        timeframe=desk.timeframe(),
        equity_span=span,
    )
