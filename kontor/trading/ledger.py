"""Keeping the ledger: fills of ours and bills of the venue become rows, each once; and holding it against the venue."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal

from kontor.domain.fill import Fill
from kontor.domain.identity import EXTERNAL
from kontor.domain.ledger import Bill, EntryKind, LedgerEntry, entry_of_bill, entry_of_fill
from kontor.domain.market import MarketKind
from kontor.domain.profit import ProfitAndLoss, gains, profit_and_loss
from kontor.domain.statement import apart, billed, money_moved
from kontor.errors import Incomplete, NotSupported
from kontor.execution.parts import Parts
from kontor.execution.view import load_markets
from kontor.ports import HistoryMark, Store
from kontor.trading.positions import PATIENCE, opening_holdings

log = logging.getLogger(__name__)

# How far fills and bills are booked.
MARK = "ledger_mark"
# How far back venues tell their bills, at least.
BILLS_BACK = timedelta(days=7)
OVERLAP = timedelta(hours=1)
# What is fetched at once; where there is more than the venue lists, ever shorter parts.
LONGEST_PART, SHORTEST_PART = timedelta(days=7), timedelta(seconds=1)
LOOKS = 3
SETTLE_SECONDS = 2.0


@dataclass(slots=True)
class LedgerReport:
    """New rows by kind, fills that still wait for their order, and whether the venue tells its bills."""

    booked: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    has_bills: bool = True
    # Up to where bills are booked when the venue's list cannot be fetched to its end; the next run goes on there.
    incomplete: str | None = None

    def __str__(self) -> str:
        rows = ", ".join(f"{count} {kind}" for kind, count in sorted(self.booked.items()))
        waiting = f", {self.waiting} fills wait for their order" if self.waiting else ""
        return f"booked {rows or 'nothing'}{waiting}" + (
            f", bills only up to {self.incomplete}" if self.incomplete else ""
        )


@dataclass(frozen=True, slots=True)
class WholeLedger:
    """Every row of an account, and what was held before the first of them: profit needs both, wherever it is shown."""

    entries: Sequence[LedgerEntry]
    opening: Mapping[str, Decimal] | None

    def profit(self, zone: tzinfo) -> list[ProfitAndLoss]:
        """By trading day of a time zone, strategy and symbol; seconds of work for a ledger of years."""
        return profit_and_loss(self.entries, zone, self.opening)

    def gains(self, zone: tzinfo) -> Iterator[tuple[LedgerEntry, Decimal | None]]:
        """Each row with what it realized; they sum to the `realized` of `profit`."""
        return gains(self.entries, zone, self.opening)


async def read_ledger(store: Store, account: str) -> WholeLedger:
    """The ledger of an account as its store has it."""
    return WholeLedger(await store.account.ledger(account), await opening_holdings(store, account))


async def book_ledger(parts: Parts) -> LedgerReport:
    """Book what is new; safe to repeat and to run twice at once, every row bears its source."""
    known = await parts.store.desk.attribute(parts.account, MARK)
    mark: Mapping[str, object] = known.value if known and known.value else {}
    report = LedgerReport()
    fill_mark, entries = await _fills(parts, int(str(mark.get("fill", 0))), report)
    bills, until = await _bills(parts, mark.get("bills_until"), report)
    new = await parts.store.account.book(parts.account, [*entries, *bills])
    for entry in new:
        report.booked[entry.kind] = report.booked.get(entry.kind, 0) + 1
        log.info(
            "ledger account=%s source=%s kind=%s amount=%s", parts.account, entry.source_id, entry.kind, entry.amount
        )
    value = {"fill": fill_mark, "bills_until": until}
    if value != mark:
        await parts.store.desk.set_attribute(parts.account, MARK, value, parts.clock.now())
    return report


async def _fills(parts: Parts, mark: int, report: LedgerReport) -> tuple[int, list[LedgerEntry]]:
    """Rows of the fills that were committed after the mark, in that order, up to the first that waits for its order."""
    orders, now = parts.store.orders, parts.clock.now()
    end = await orders.history_end(parts.account)
    strategies: dict[str, str | None] = {}
    prices = await _coin_prices(parts)
    entries: list[LedgerEntry] = []
    while True:
        # Fill by fill: the mark must stop at the first one that waits.
        news = await orders.news(parts.account, HistoryMark(end.event, mark), limit=200)
        for place, fill in enumerate(news.fills):
            if fill.client_order_id is None and now - fill.filled_at < PATIENCE:
                report.waiting = len(news.fills) - place
                rest = await orders.news(parts.account, HistoryMark(end.event, mark), limit=place) if place else None
                return rest.mark.fill if rest else mark, entries
            entries.append(entry_of_fill(fill, await _strategy(parts, fill, strategies), _price(fill, prices)))
        if not news.fills:
            return mark, entries
        mark = news.mark.fill


async def _strategy(parts: Parts, fill: Fill, known: dict[str, str | None]) -> str | None:
    name = fill.client_order_id
    if name is None:
        return None
    if name not in known:
        order = await parts.store.orders.get(name)
        known[name] = order.strategy if order is not None and order.strategy != EXTERNAL else None
    return known[name]


async def _bills(parts: Parts, mark: object, report: LedgerReport) -> tuple[list[LedgerEntry], str | None]:
    """Rows of the bills since the mark that no fill tells, and the new mark: how far the list is known to its end."""
    known = datetime.fromisoformat(mark) if isinstance(mark, str) else None
    since = known - OVERLAP if known is not None else parts.clock.now() - BILLS_BACK
    try:
        bills, until = await _statement(parts, since, report)
    except NotSupported as error:
        log.info("no bills account=%s error=%s", parts.account, error)
        report.has_bills = False
        return [], None
    prices = await _coin_prices(parts)
    rows = [entry_of_bill(bill, prices.get(bill.currency)) for bill in bills if bill.kind is not EntryKind.TRADE]
    return rows, (until if known is None else max(known, until)).isoformat()


async def _statement(parts: Parts, since: datetime, report: LedgerReport) -> tuple[list[Bill], datetime]:
    """The venue's bills since then, in parts short enough to be fetched whole, and until when they are complete."""
    found: list[Bill] = []
    step = LONGEST_PART
    while True:
        now = parts.clock.now()
        # The last part is open: the venue's clock may be ahead of ours.
        until = since + step if since + step < now else None
        try:
            found += await parts.exchange.fetch_bills(since, until)
        except Incomplete as error:
            if step <= SHORTEST_PART:
                report.incomplete = since.isoformat()
                log.error("bills incomplete account=%s until=%s error=%s", parts.account, report.incomplete, error)  # noqa: TRY400
                return found, since
            step = max(step / 4, SHORTEST_PART)
            continue
        if until is None:
            return found, now
        since, step = until, min(step * 2, LONGEST_PART)


async def _coin_prices(parts: Parts) -> Mapping[str, Decimal]:
    """What coins are worth in the capital currency now."""
    markets, capital = await load_markets(parts), parts.config.capital_currency
    symbols = [m.symbol for m in markets.values() if m.kind is MarketKind.SPOT and m.quote == capital]
    tickers = await parts.store.market.tickers(parts.account, symbols)
    found = {markets[name].base: ticker.last for name, ticker in tickers.items() if ticker.last is not None}
    return {capital: Decimal(1), **found}


def _price(fill: Fill, prices: Mapping[str, Decimal]) -> Decimal | None:
    return None if fill.fee_currency is None else prices.get(fill.fee_currency)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The ledger against the venue's bills since a moment: both sums by currency, and where they are apart."""

    since: datetime
    ours: Mapping[str, Decimal]
    theirs: Mapping[str, Decimal]
    apart: Mapping[str, Decimal]


async def compare_with_bills(parts: Parts) -> Comparison | None:
    """Hold the ledger against the venue's own account statement; None before there is anything to compare.

    NotSupported where the venue has none. What trades meanwhile is waited for.
    """
    found: Comparison | None = None
    for look in range(LOOKS):
        if look:
            await parts.clock.sleep(SETTLE_SECONDS)
        await book_ledger(parts)
        entries = await parts.store.account.ledger(parts.account)
        if not entries:
            return None
        since = max(entries[0].at, parts.clock.now() - BILLS_BACK + OVERLAP)
        found = _compared(entries, await parts.exchange.fetch_bills(since), since)
        if not found.apart:
            break
    return found


def _compared(entries: Sequence[LedgerEntry], bills: Sequence[Bill], since: datetime) -> Comparison:
    ours, theirs = money_moved(entries, since), billed(bills)
    return Comparison(since, ours, theirs, apart(ours, theirs))
