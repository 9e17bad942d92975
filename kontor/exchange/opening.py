"""Putting an exchange together from its settings."""

from kontor.exchange.adapter import CcxtExchange
from kontor.exchange.breakers import Breakers
from kontor.exchange.capabilities import NEEDED
from kontor.exchange.guarded import GuardedExchange, Limits
from kontor.exchange.session import Session
from kontor.exchange.streams import CcxtStreams
from kontor.ports import Clock, Exchange, ExchangeSettings
from kontor.resilience.connection_gate import ConnectionGate
from kontor.resilience.rate_budget import RateBudget

# A read may try again and wait for its turn; a write goes out once.
READ_SHARE = 3


def open_exchange(
    settings: ExchangeSettings, *, clock: Clock, breakers: Breakers | None = None, budget: RateBudget | None = None
) -> GuardedExchange:
    """The guarded exchange of one account; nothing is sent yet. Raises ConfigError for settings that cannot work.

    `breakers` and `budget` outlive the exchange: what replaces it should know how the venue has been, what was spent,
    and how long the venue wants to be left alone.
    """
    inner = CcxtExchange(settings, clock=clock, budget=budget)
    limits = Limits(write=settings.request_timeout, read=READ_SHARE * settings.request_timeout)
    return GuardedExchange(inner, clock=clock, limits=limits, breakers=breakers)


def open_streams(
    settings: ExchangeSettings, *, clock: Clock, gate: ConnectionGate, loaded: Exchange | None = None
) -> CcxtStreams:
    """The streams of one account; nothing is connected yet.

    The markets of `loaded`, an exchange of the same account, are used where they fit, and its rate budget is theirs.
    """
    streams = CcxtStreams(settings, clock=clock, gate=gate, budget=None if loaded is None else budget_of(loaded))
    inner = loaded.inner if isinstance(loaded, GuardedExchange) else loaded
    if isinstance(inner, CcxtExchange) and inner.connection.markets:
        streams.connection.share_markets(inner.connection)
    return streams


def share_markets(new: GuardedExchange, loaded: Exchange) -> bool:
    """Give a new exchange the markets of one at the same venue; False when they cannot be shared."""
    ours, theirs = new.inner, loaded.inner if isinstance(loaded, GuardedExchange) else loaded
    if not isinstance(ours, CcxtExchange) or not isinstance(theirs, CcxtExchange):
        return False
    mine, other = ours.connection.settings, theirs.connection.settings
    same = (mine.exchange_id, mine.sandbox, mine.urls) == (other.exchange_id, other.sandbox, other.urls)
    if not same or not theirs.connection.markets:
        return False
    ours.connection.share_markets(theirs.connection)
    return True


def budget_of(exchange: Exchange) -> RateBudget | None:
    """The rate budget that an exchange's requests pass; None for one that has none, such as a replay's."""
    while isinstance(exchange, Session | GuardedExchange):
        exchange = exchange.inner
    return exchange.connection.budget if isinstance(exchange, CcxtExchange) else None


def capability_report(exchange: Exchange) -> tuple[str, ...]:
    """One sentence for each thing the desk would like to do and this exchange cannot."""
    return exchange.profile.lacks(NEEDED)
