"""Steps of the streams: open one for an account, be the only one, and let updaters know what need not be fetched."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from fractions import Fraction

from kontor.desk import Desk
from kontor.errors import AuthenticationFailed
from kontor.exchange.session import Session
from kontor.ports import ExchangeSettings, Streams
from kontor.streams import freshness
from kontor.streams.account import CHANNELS, AccountStreamer
from kontor.streams.keeper import Stream, StreamKeeper
from kontor.streams.market import MarketStreamer
from kontor.streams.only_one import run_alone
from kontor.streams.streamer import Streamer, StreamParts
from tasks.desk import block_account
from tasks.resources import Resources

# The two streams run in two processes and share what the venue allows: prices and candles often need a socket each.
SHARES = {MarketStreamer.name: Fraction(2, 3), AccountStreamer.name: Fraction(1, 3)}


@asynccontextmanager
async def open_stream(desk: Desk, name: str, settings: ExchangeSettings) -> AsyncIterator[Streams]:
    """The live data of an account, closed at the end; its breaker is reported like all others."""
    # ccxt takes half a second and 100 MB: only a process that reaches an exchange pays for it.
    from kontor.exchange.opening import open_streams

    limit = max(int(desk.config.streams.connections_per_10_minutes * SHARES[name]), 1)
    resources = Resources.here()
    gate = resources.gate(desk.account, settings.exchange_id, name, limit)
    await desk.exchange.load_markets()
    loaded = desk.exchange.client.exchange if isinstance(desk.exchange, Session) else desk.exchange
    streams = open_streams(settings, clock=desk.clock, gate=gate, loaded=loaded)
    for breaker in gate.breakers:
        resources.reporter.note(desk.account, breaker.status)
    try:
        yield streams
    finally:
        await streams.close()
        # A stream that has ended connects no more: what it could not reach would stand open in the status for nobody.
        await resources.reporter.forget(desk.account, {breaker.name for breaker in gate.breakers})


async def stream(desk: Desk, kind: type[Streamer], owner: str) -> None:
    """Run one stream of the account for as long as the desk runs; a second one waits for the first one's lease.

    It takes a rotated key within half a minute, and waits while the exchange refuses the one there is.
    """
    is_account = kind is AccountStreamer
    what = Stream(desk.account, kind.name, CHANNELS if is_account else (), needs_key=is_account)

    async def run(settings: ExchangeSettings) -> None:
        async with open_stream(desk, kind.name, settings) as streams:
            parts = StreamParts(desk.account, desk.config, desk.store, desk.exchange, streams, desk.clock)
            await run_alone(desk.store.desk, desk.clock, desk.account, owner, lambda: kind(parts))

    async def refused(error: AuthenticationFailed) -> None:
        await block_account(desk, error, actor=kind.name)

    keeper = StreamKeeper(
        what, desk.store.desk, desk.clock, settings=lambda: settings_in_use(desk), run=run, refused=refused
    )
    await keeper.keep()


async def settings_in_use(desk: Desk) -> ExchangeSettings:
    """How the account is reached now: an edited block counts once the account's session has taken it."""
    resources = Resources.here()
    if not isinstance(desk.exchange, Session):
        return await resources.settings(desk.account)
    # A key that must not be used, such as one that may withdraw, does not get as far.
    await resources.exchange(desk.account, desk.exchange.generation)
    return desk.exchange.client.settings


async def skip_if_streamed(desk: Desk, channel: str) -> None:
    """End this run as a success, named `Streamed`, when a stream delivers what it would fetch."""
    await freshness.raise_if_fresh(desk.store.desk, desk.account, channel, desk.clock.now())


async def not_streamed(desk: Desk, channel: str, symbols: Sequence[str]) -> Sequence[str]:
    """The symbols this run has to fetch: those no stream delivers. Where that is none, it ends as `Streamed`."""
    return await freshness.not_streamed(desk.store.desk, desk.account, channel, symbols, desk.clock.now())
