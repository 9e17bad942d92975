"""How a desk is: heartbeats against intervals, orders, positions and balance, as store and Prefect have them now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from deployments.credentials import desk_api
from deployments.home import Home, Ports
from deployments.initialization import INITIALIZATION
from deployments.instance import running_record
from deployments.prefect_api import PrefectApi
from deployments.project import Project
from deployments.stores import known_store_url, opened, store_url
from kontor.capital import RECENT, capital_of
from kontor.desk import is_gate_open, stakes_of
from kontor.domain.account import Balance, Position
from kontor.domain.health import UpdaterHealth, judge
from kontor.domain.order import OrderState
from kontor.errors import KontorError
from kontor.execution.clock_drift import CLOCK_DRIFT
from kontor.execution.dead_mans_switch import DEAD_MANS_SWITCH
from kontor.execution.halt import Halt, halted
from kontor.ports import Store
from kontor.resilience.breaker_state import ReportedBreaker, load_breakers
from kontor.streams import messages
from kontor.streams.freshness import ChannelState, load_channels
from kontor.streams.messages import StreamMessages
from kontor.trading.books import UNITS

# A person waits for the answer.
QUICK = timedelta(seconds=10)
# The store's address, updater to interval, and remarks on where they come from.
Source = tuple[str, Mapping[str, timedelta], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class DeskStatus:
    """One look at one account; `remarks` say where a figure comes from when that is not the usual place."""

    prefect_url: str
    account: str
    updaters: tuple[UpdaterHealth, ...]
    orders: Mapping[str, int]
    positions: tuple[Position, ...]
    balance: Balance | None
    breakers: tuple[ReportedBreaker, ...] = ()
    streams: tuple[ChannelState, ...] = ()
    # By stream: messages nobody understood, or could read.
    stream_messages: Mapping[str, StreamMessages] = field(default_factory=dict)
    # Why no new order goes out; None while trading.
    halt: Halt | None = None
    # How long the oldest order of unknown outcome has been one.
    oldest_unknown: timedelta | None = None
    # As clock check and executor have noted them: {"seconds", "limit_seconds", "refuses_orders"}, {"armed", "reason"}.
    clock_drift: Mapping[str, Any] | None = None
    dead_mans_switch: Mapping[str, Any] | None = None
    remarks: tuple[str, ...] = ()
    # Units and risk capital, exact, as the last run of the strategies left them.
    units: Mapping[str, str] | None = None
    # What the account is worth, coins at their price, as it was seen lately; what it began with, and what was
    # transferred since.
    equity: Decimal | None = None
    initial_capital: Decimal | None = None
    transferred: Decimal | None = None
    # Where the desk's page is; empty where there is none.
    page_url: str = ""
    # Whether the account's gate is open; and while it is not, why: {"problem", "remedy", "retry_at", "attempts"}.
    initialized: bool = True
    initialization: Mapping[str, Any] | None = None
    # paper, sandbox or live, as the desk has reached the account last; None before it ever has.
    mode: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The stable form: money as JSON numbers, moments as ISO 8601, ages and intervals in seconds."""
        return {
            "prefect_url": self.prefect_url,
            "account": self.account,
            "updaters": {each.updater: _updater(each) for each in self.updaters},
            "orders": dict(self.orders),
            "positions": [_position(each) for each in self.positions],
            "balance": _balance(self.balance) if self.balance else None,
            "breakers": [_breaker(each) for each in self.breakers],
            "streams": {each.channel: _channel(each) for each in self.streams},
            "halted": _halt(self.halt) if self.halt else None,
            "clock_drift": self.clock_drift,
            "dead_mans_switch": self.dead_mans_switch,
            "units": {name: float(figure) for name, figure in self.units.items()} if self.units else None,
            "oldest_unknown_seconds": _in_seconds(self.oldest_unknown),
            "equity": _number(self.equity),
            "initial_capital": _number(self.initial_capital),
            "remarks": list(self.remarks),
            "page_url": self.page_url or None,
            "stream_messages": {name: messages.to_json(each) for name, each in self.stream_messages.items()},
            "initialized": self.initialized,
            "initialization": self.initialization,
            "mode": self.mode,
            "transferred": _number(self.transferred),
        }


@asynccontextmanager
async def desk_store(home: Home) -> AsyncIterator[Store]:
    """The desk's store, whether the desk runs or not; raises KontorError when none has ever run on this home."""
    record, url = running_record(home), known_store_url(home)
    if record is not None:
        async with desk_api(home, record.ports, timeout=QUICK) as api:
            if await api.is_healthy():
                url = await store_url(api, home)
    require_store(home, url)
    async with opened(url) as store:
        yield store


def require_store(home: Home, url: str) -> None:
    """Raises KontorError when the store would be an embedded file that no desk has made yet."""
    if url == home.default_store_url and not home.store_file.exists():
        raise KontorError(f"no desk has ever run on {home.path}; 'kontor up' starts one")


async def read_status(home: Home, account: str) -> DeskStatus:
    """The status of an account; raises KontorError when no desk has ever run on this home."""
    url, intervals, remarks = await read_source(home, account)
    require_store(home, url)
    async with opened(url) as store:
        return await status_of(store, account, desk_ports(home), intervals, remarks)


async def status_of(
    store: Store, account: str, ports: Ports, intervals: Mapping[str, timedelta], remarks: tuple[str, ...] = ()
) -> DeskStatus:
    """The status of an account as a store that is open already has it."""
    now = datetime.now(UTC)
    positions = await store.account.positions(account)
    units = await store.desk.attribute(account, UNITS)
    halt = await halted(store.desk, account)
    capital = await capital_of(store, account, now)
    beginning = capital.beginning if capital is not None else None
    return DeskStatus(
        prefect_url=ports.prefect_url,
        account=account,
        updaters=judge(intervals, await store.desk.heartbeats(account), now),
        orders={state.value: count for state, count in (await store.orders.counts(account)).items()},
        positions=tuple(positions.value) if positions else (),
        balance=await store.account.balance(account),
        breakers=await load_breakers(store.desk, account, now),
        halt=halt,
        clock_drift=await _noted(store, account, CLOCK_DRIFT),
        dead_mans_switch=await _noted(store, account, DEAD_MANS_SWITCH),
        streams=tuple((await load_channels(store.desk, account, now)).values()),
        stream_messages=await messages.load_messages(store.desk, account),
        oldest_unknown=await _oldest_unknown(store, account, now),
        remarks=remarks,
        units=units.value if units else None,
        equity=capital.equity if capital is not None and now - capital.at <= RECENT else None,
        initial_capital=beginning.equity if beginning is not None else None,
        transferred=beginning.moved if beginning is not None else None,
        page_url=ports.web_url,
        initialized=await is_gate_open(store.desk, account),
        initialization=await _noted(store, account, INITIALIZATION) or None,
        mode=await stakes_of(store.desk, account),
    )


async def _oldest_unknown(store: Store, account: str, now: datetime) -> timedelta | None:
    orders = await store.orders.find(account, states={OrderState.SUBMITTED})
    since = [order.unknown_since for order in orders if order.unknown_since is not None]
    return max(now - min(since), timedelta(0)) if since else None


def desk_ports(home: Home) -> Ports:
    """Those of the desk that runs, else those it would have."""
    record = running_record(home)
    return record.ports if record is not None else Ports.from_environment()


async def read_source(home: Home, account: str) -> Source:
    """Where the account's store is, and how often each updater should run."""
    if running_record(home) is None:
        # Another home's server may well listen on the port of a desk that is down.
        return await _without_server(home, account)
    async with desk_api(home, desk_ports(home), timeout=QUICK) as api:
        return await _ask(api, home, account)


async def _ask(api: PrefectApi, home: Home, account: str) -> Source:
    """Store and intervals as the running server has them."""
    if not await api.is_healthy():
        url, known, _ = await _without_server(home, account)
        return url, known, (f"Prefect's server at {api.url} does not answer: intervals are those of prefect.yaml",)
    intervals: dict[str, timedelta] = {}
    found = await api.deployments(account)
    for each in found:
        if each.interval is not None:
            intervals[each.updater] = min(each.interval, intervals.get(each.updater, each.interval))
    paused = sorted(each.updater for each in found if each.is_paused)
    remarks = (f"paused in Prefect: {', '.join(paused)}",) if paused else ()
    return await store_url(api, home), intervals, remarks


async def _without_server(home: Home, account: str) -> Source:
    """Store and intervals while nobody can be asked: the block in Prefect's database, and prefect.yaml."""
    intervals = Project.find().intervals(account)
    return known_store_url(home), intervals, ("the desk is not running: intervals are those of prefect.yaml",)


def _updater(health: UpdaterHealth) -> dict[str, Any]:
    return {
        "last_success_at": health.last_success_at.isoformat() if health.last_success_at else None,
        "age_seconds": round(health.age.total_seconds(), 3) if health.age is not None else None,
        "interval_seconds": health.interval.total_seconds(),
        "ok": health.ok,
    }


def _breaker(reported: ReportedBreaker) -> dict[str, Any]:
    status = reported.status
    return {
        "name": status.name,
        "process": reported.process,
        "state": status.state.value,
        "failures": status.failures,
        "since": status.since.isoformat() if status.since else None,
        "retry_at": status.retry_at.isoformat() if status.retry_at else None,
        "reason": status.reason,
    }


def _halt(found: Halt) -> dict[str, Any]:
    return {"reason": found.reason, "actor": found.actor, "since": found.at.isoformat(), "blocked": found.blocked}


async def _noted(store: Store, account: str, name: str) -> Mapping[str, Any] | None:
    found = await store.desk.attribute(account, name)
    return None if found is None else found.value


def _channel(state: ChannelState) -> dict[str, Any]:
    return {
        "stream": state.stream,
        "fresh": state.is_fresh,
        "since": state.since.isoformat(),
        "reason": state.reason,
        "left_out": list(state.left_out),
    }


def _position(position: Position) -> dict[str, Any]:
    return {
        "symbol": position.symbol,
        "side": position.side.value,
        "quantity": float(position.quantity),
        "entry_price": float(position.entry_price),
        "mark_price": _number(position.mark_price),
        "unrealized_pnl": _number(position.unrealized_pnl),
        "notional": _number(position.notional),
        "leverage": _number(position.leverage),
        "at": position.at.isoformat(),
    }


def _balance(balance: Balance) -> dict[str, Any]:
    return {
        "currency": balance.currency,
        "total": float(balance.total),
        "free": float(balance.free),
        "used": float(balance.used),
        "at": balance.at.isoformat(),
        "currencies": {
            name: {"total": float(held.total), "free": float(held.free), "used": float(held.used)}
            for name, held in sorted(balance.currencies.items())
        },
    }


def _in_seconds(span: timedelta | None) -> float | None:
    return None if span is None else round(span.total_seconds(), 3)


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
