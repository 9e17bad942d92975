"""What the gate sees of an account: put together from the store, with fills counted that the snapshots do not show."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from kontor.capital import load_marks
from kontor.config import KontorConfig
from kontor.domain.account import Balance, Position
from kontor.domain.exposure import exposure_key, spent
from kontor.domain.fill import Fill
from kontor.domain.identity import EXTERNAL
from kontor.domain.intent import Limits, RiskView
from kontor.domain.market import Market, MarketKind, Ticker
from kontor.domain.order import OPEN, OrderState
from kontor.domain.portfolio import RiskMarks, coins_of, equity_of, marked
from kontor.domain.snapshot import Snapshot
from kontor.errors import ExchangeError
from kontor.execution.halt import halted
from kontor.execution.parts import Parts
from kontor.resilience.deadline import DeadlineExceeded, deadline

log = logging.getLogger(__name__)

# Exits must not wait for prices: those that do not come soon are left as old as they are.
TICKER_SECONDS = 3.0
# How the account is set up at the venue and must not be; a list of sentences.
SETUP = "account_setup"
# Why the venue takes no orders now: maintenance, with what it says about it.
MAINTENANCE = "venue_maintenance"


def limits_of(config: KontorConfig) -> Limits:
    """The gate's limits as kontor.yaml has them."""
    risk = config.risk
    return Limits(
        max_order_value=risk.max_order_value,
        max_position_value=risk.max_position_value,
        max_exposure=risk.max_exposure,
        max_open_orders=risk.max_open_orders,
        min_free_balance=risk.min_free_balance,
        price_collar_percent=risk.price_collar_percent,
        position_values=risk.position_values,
        max_orders_per_minute=risk.max_orders_per_minute,
        max_ticker_age=timedelta(seconds=risk.max_ticker_age_seconds),
        max_drawdown_percent=risk.max_drawdown_percent,
        max_daily_loss=risk.max_daily_loss,
        restricted=frozenset(config.watchlist.restricted),
    )


async def load_markets(parts: Parts) -> Mapping[str, Market]:
    """The venue's markets, from this process's session, or from the store while the venue does not answer."""
    try:
        return await parts.exchange.load_markets()
    except ExchangeError as error:
        log.warning("markets taken from the store account=%s error=%s", parts.account, error)
        return await parts.store.market.markets(parts.account)


async def load_view(parts: Parts, symbols: Collection[str], *, reduces: bool, ask: bool = True) -> RiskView:
    """What the gate needs for intents on `symbols`; with `reduces` some of them must be held against positions.

    Without `ask` stale tickers are left as they are stored: nothing is asked of the venue.
    """
    store, account, now = parts.store, parts.account, parts.clock.now()
    limits = limits_of(parts.config)
    markets = await load_markets(parts)
    halt = await halted(store.desk, account)
    known = [symbol for symbol in symbols if symbol in markets]
    tickers = fresh_tickers(parts, known, limits) if ask else store.market.tickers(account, known)
    view = RiskView(
        now=now,
        limits=limits,
        markets=markets,
        tickers=await tickers,
        halted=halt.reason if halt else None,
        forbidden=await _forbidden(parts),
    )
    if not (reduces or limits.need_account):
        return view
    return await _with_account(parts, view)


async def fresh_tickers(parts: Parts, symbols: Collection[str], limits: Limits) -> Mapping[str, Ticker]:
    """Stored tickers; those that are missing or too old to trade on are asked of the venue once."""
    tickers = dict(await parts.store.market.tickers(parts.account, symbols))
    now = parts.clock.now()
    stale = [
        symbol
        for symbol in symbols
        if (ticker := tickers.get(symbol)) is None
        or ticker.last is None
        or now - ticker.last_at > limits.max_ticker_age
    ]
    if stale:
        try:
            async with deadline("stale tickers", TICKER_SECONDS):
                fetched = await parts.exchange.fetch_tickers(stale)
        except (ExchangeError, DeadlineExceeded) as error:
            log.warning("stale tickers not refreshed account=%s symbols=%s error=%s", parts.account, stale, error)
        else:
            await parts.store.market.save_tickers(parts.account, list(fetched.values()), now)
            tickers |= await parts.store.market.tickers(parts.account, stale)
    return tickers


async def _with_account(parts: Parts, view: RiskView) -> RiskView:
    store, account = parts.store, parts.account
    positions = await store.account.positions(account)
    balance = await store.account.balance(account)
    orders = await store.orders.find(account, states=OPEN, limit=10_000)
    held = [position.symbol for position in positions.value] if positions else []
    holdings = _holdings(view.markets, positions, balance)
    since = [known.at for known in (positions, balance) if known is not None]
    fills = await store.orders.fills(account, since=min(since), limit=10_000) if since else []
    # What was bought a moment ago is held too, though no snapshot shows it yet: it needs a price like the rest.
    others = {order.symbol for order in orders} | {fill.symbol for fill in fills} | set(held)
    others |= set(_held_spot(view.markets, balance))
    tickers = dict(await store.market.tickers(account, others)) | dict(view.tickers)
    _count_fills(holdings, fills, view.markets, positions, balance)
    leverage = {p.symbol: p.leverage for p in _values(positions) if p.leverage}
    unseen = [fill for fill in fills if balance is not None and fill.filled_at > balance.at]
    known = await known_marks(parts)
    marks = _known_prices(known) | _marks(view.markets, positions, tickers, parts.config.capital_currency)
    equity = equity_of(balance, marks).total if balance is not None else None
    return replace(
        view,
        tickers=tickers,
        holdings=holdings,
        marks=marks,
        leverage=leverage,
        balance=balance,
        spent=spent(unseen, view.markets, holdings, leverage),
        orders=orders,
        recent_orders=await _recent_orders(parts, view),
        equity=equity,
        loss_marks=_loss_marks(parts, known, equity, view.now),
        losses_watched_at=known.at if known is not None else None,
    )


def _count_fills(
    holdings: dict[str, Decimal],
    fills: Collection[Fill],
    markets: Mapping[str, Market],
    positions: Snapshot[tuple[Position, ...]] | None,
    balance: Balance | None,
) -> None:
    """Add what was traded since the holdings were read."""
    for fill in fills:
        market = markets.get(fill.symbol)
        snapshot = balance if market is not None and market.kind is MarketKind.SPOT else positions
        if market is not None and snapshot is not None and fill.filled_at > snapshot.at:
            key = exposure_key(market)
            holdings[key] = holdings.get(key, Decimal(0)) + fill.signed_quantity


async def known_marks(parts: Parts) -> Snapshot[RiskMarks | None] | None:
    """What losses are counted from, as monitor-risk left it; a value of None: a person resumed, they begin anew."""
    return await load_marks(parts.store, parts.account)


def _known_prices(known: Snapshot[RiskMarks | None] | None) -> dict[str, Decimal]:
    """Last prices of coins as monitor-risk found them; one that it found none for, however it asked, counts nothing."""
    if known is None or known.value is None:
        return {}
    nothing = dict.fromkeys(known.value.unpriced, Decimal(0))
    return nothing | {name: each.price for name, each in known.value.prices.items()}


def _loss_marks(
    parts: Parts, known: Snapshot[RiskMarks | None] | None, equity: Decimal | None, now: datetime
) -> RiskMarks | None:
    """The marks as of now: between two looks of monitor-risk a day may begin, and the peak may be passed."""
    if known is None or known.value is None or equity is None:
        return None
    return marked(known.value, equity, now, ZoneInfo(parts.config.risk.trading_day_zone), {})


async def _recent_orders(parts: Parts, view: RiskView) -> int:
    """Orders that took risk and were let through within the last minute; asked for only when a limit counts them."""
    if view.limits.max_orders_per_minute is None:
        return 0
    recent = await parts.store.orders.find(parts.account, since=view.now - timedelta(minutes=1), limit=10_000)
    return sum(
        order.state is not OrderState.DENIED and not order.reduce_only and order.strategy != EXTERNAL
        for order in recent
    )


async def _forbidden(parts: Parts) -> Mapping[str, str]:
    """What else forbids new risk, by rule."""
    setup = await parts.store.desk.attribute(parts.account, SETUP)
    maintenance = await parts.store.desk.attribute(parts.account, MAINTENANCE)
    found = {
        "account_setup": "; ".join(setup.value) if setup and setup.value else "",
        "maintenance": str(maintenance.value) if maintenance and maintenance.value else "",
    }
    return {rule: reason for rule, reason in found.items() if reason}


def _values(positions: Snapshot[tuple[Position, ...]] | None) -> tuple[Position, ...]:
    return positions.value if positions else ()


def spot_symbols(markets: Mapping[str, Market], coins: Collection[str], capital: str) -> list[str]:
    """One spot market per coin, so that each has a price; that against the capital currency where there is one."""
    candidates = [market for market in markets.values() if market.kind is MarketKind.SPOT and market.base in coins]
    candidates.sort(key=lambda market: market.quote == capital)
    return list({market.base: market.symbol for market in candidates}.values())


def coin_tickers(tickers: Mapping[str, Ticker], markets: Mapping[str, Market], capital: str) -> Mapping[str, Ticker]:
    """Tickers by coin; that against the capital currency where there is one."""
    found = [(market, ticker) for name, ticker in tickers.items() if (market := markets.get(name)) is not None]
    found.sort(key=lambda pair: pair[0].quote == capital)
    return {market.base: ticker for market, ticker in found if market.kind is MarketKind.SPOT}


def _held_spot(markets: Mapping[str, Market], balance: Balance | None) -> list[str]:
    return spot_symbols(markets, coins_of(balance), balance.currency) if balance is not None else []


def _holdings(
    markets: Mapping[str, Market], positions: Snapshot[tuple[Position, ...]] | None, balance: Balance | None
) -> dict[str, Decimal]:
    holdings = {position.symbol: position.signed_quantity for position in _values(positions)}
    for symbol in _held_spot(markets, balance):
        base = markets[symbol].base
        if balance is not None:
            holdings[base] = balance.currencies[base].total
    return holdings


def _marks(
    markets: Mapping[str, Market],
    positions: Snapshot[tuple[Position, ...]] | None,
    tickers: Mapping[str, Ticker],
    capital: str,
) -> dict[str, Decimal]:
    marks = {position.symbol: position.mark_price or position.entry_price for position in _values(positions)}
    swaps = {name: each for name, each in tickers.items() if name in markets and markets[name].kind is MarketKind.SWAP}
    priced = {**swaps, **coin_tickers(tickers, markets, capital)}
    return marks | {name: ticker.last for name, ticker in priced.items() if ticker.last is not None}
