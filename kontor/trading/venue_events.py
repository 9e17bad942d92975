"""What the venue does of itself: markets that are suspended or delisted, and maintenance. Told once, and acted upon."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kontor.domain.identity import EXTERNAL
from kontor.domain.market import Market, MarketKind
from kontor.domain.profit import MANUAL
from kontor.errors import ExchangeError, NotSupported, OnMaintenance
from kontor.execution.parts import Parts
from kontor.execution.view import MAINTENANCE, load_markets
from kontor.ports import Alert, Notifier
from kontor.trading.books import Books, load_books

log = logging.getLogger(__name__)

EVENTS = "venue_events"


@dataclass(slots=True)
class VenueReport:
    """Markets of ours with what is wrong with them, by symbol, and why the venue is closed, if it is."""

    markets: dict[str, str] = field(default_factory=dict)
    maintenance: str | None = None


async def watch_venue(parts: Parts, notifier: Notifier | None = None) -> VenueReport:
    """Look at the markets that are held or traded and at the venue itself; each news is told once, and once its end.

    No new risk is taken on such markets and during maintenance: the gate sees to that. Raises KontorError before the
    first balance.
    """
    report = VenueReport(maintenance=await _maintenance(parts))
    # Known by itself: what fails below must not leave entries refused once the venue is open again.
    await _tell_maintenance(parts, report, notifier)
    books = await load_books(parts)
    markets = await load_markets(parts)
    for symbol, holders in sorted(_symbols(parts, books).items()):
        trouble = _trouble(markets.get(symbol))
        if trouble:
            report.markets[symbol] = trouble + _held_by(holders)
    await _tell_markets(parts, report, notifier)
    return report


def _symbols(parts: Parts, books: Books) -> Mapping[str, set[str]]:
    """What strategies trade, and what is held by whomever, with those that hold it."""
    found: dict[str, set[str]] = {
        symbol: set() for each in parts.config.strategies.values() if each.enabled for symbol in each.symbols
    }
    for (name, symbol), position in books.positions.items():
        if position.is_open and name != EXTERNAL:
            found.setdefault(symbol, set()).add(name)
    for key, quantity in books.by_hand().items():
        market = _market_of(books.view.markets, key)
        if market is not None and abs(quantity) >= max(market.min_quantity, market.quantity_step):
            found.setdefault(market.symbol, set()).add(MANUAL)
    return found


def _market_of(markets: Mapping[str, Market], key: str) -> Market | None:
    """The market on which a holding can be closed; of a coin the first one that still trades, if any does."""
    if key in markets:
        return markets[key]
    found = [market for market in markets.values() if market.kind is MarketKind.SPOT and market.base == key]
    return min(found, key=lambda market: (bool(_trouble(market)), market.symbol), default=None)


def _held_by(holders: Collection[str]) -> str:
    if not holders:
        return ""
    by_hand = " (what is held by hand is yours to close)" if MANUAL in holders else ""
    return f"; held by {', '.join(sorted(holders))}{by_hand}"


def _trouble(market: Market | None) -> str:
    if market is None:
        return "the venue does not have this market any more: no entries, and positions cannot be closed here"
    if market.delists_at is not None:
        return f"it is delisted at {market.delists_at:%Y-%m-%d %H:%M} UTC: no entries, exits before that"
    return "" if market.active else "trading in it is suspended: no entries; exits go out when it resumes"


async def _maintenance(parts: Parts) -> str | None:
    """Why the venue takes no orders now; None where it does, or does not tell."""
    exchange = parts.exchange.profile.exchange_id
    try:
        raw: Mapping[str, Any] = await parts.exchange.call("fetch_status")
    except NotSupported:
        return None
    except OnMaintenance as error:
        return str(error)
    except ExchangeError as error:
        log.warning("status of the venue not known account=%s error=%s", parts.account, error)
        stored = await parts.store.desk.attribute(parts.account, MAINTENANCE)
        return str(stored.value) if stored and stored.value else None
    if raw.get("status") in {None, "ok"}:
        return None
    return f"{exchange} is on {raw['status']}" + (f" until {raw['eta']}" if raw.get("eta") else "")


async def _tell_markets(parts: Parts, report: VenueReport, notifier: Notifier | None) -> None:
    now, state, account = parts.clock.now(), parts.store.desk, parts.account
    known = await state.attribute(account, EVENTS)
    before: Mapping[str, str] = known.value if known and known.value else {}
    alerts = [
        Alert(f"Market: {symbol}", report.markets[symbol], "critical", now, account, event="market.changed")
        for symbol in sorted(report.markets.keys() - before.keys())
    ]
    alerts += [
        Alert(f"Market: {symbol}", "It trades as before.", "info", now, account, event="market.changed")
        for symbol in sorted(before.keys() - report.markets.keys())
    ]
    if report.markets != before:
        await state.set_attribute(account, EVENTS, report.markets, now)
    _notify(notifier, alerts)


async def _tell_maintenance(parts: Parts, report: VenueReport, notifier: Notifier | None) -> None:
    now, state, account = parts.clock.now(), parts.store.desk, parts.account
    closed = await state.attribute(account, MAINTENANCE)
    was_closed = str(closed.value) if closed and closed.value else None
    alerts: list[Alert] = []
    if report.maintenance and not was_closed:
        text = f"{report.maintenance}; entries wait, exits and stops stay"
        alerts.append(Alert("The venue is on maintenance", text, "warning", now, account, event="venue.maintenance"))
    if was_closed and not report.maintenance:
        alerts.append(Alert("The venue is open again", "Orders pass.", "info", now, account, event="venue.maintenance"))
    if report.maintenance != was_closed:
        await state.set_attribute(account, MAINTENANCE, report.maintenance, now)
    _notify(notifier, alerts)


def _notify(notifier: Notifier | None, alerts: Sequence[Alert]) -> None:
    if notifier is None:
        return
    for alert in alerts:
        notifier.notify(alert)
