"""Steps of the streams: open one for an account, be the only one, and let updaters know what need not be fetched."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from fractions import Fraction
from functools import partial

from kontor.desk import Desk
from kontor.exchange.session import Session
from kontor.ports import ExchangeSettings, Streams
from kontor.resilience.connection_budget import ConnectionBudget
from kontor.resilience.connection_gate import ConnectionGate
from kontor.streams import freshness
from kontor.streams.account import AccountStreamer
from kontor.streams.market import MarketStreamer
from kontor.streams.only_one import run_alone
from kontor.streams.streamer import Streamer, StreamParts
from tasks.resources import Resources

# The two streams run in two processes and share what the venue allows: prices and candles often need a socket each.
SHARES = {MarketStreamer.name: Fraction(2, 3), AccountStreamer.name: Fraction(1, 3)}


@asynccontextmanager
async def open_stream(desk: Desk, name: str) -> AsyncIterator[Streams]:
    """The live data of an account, closed at the end; its breaker is reported like all others."""
    # ccxt takes half a second and 100 MB: only a process that reaches an exchange pays for it.
    from kontor.exchange.opening import open_streams

    resources = Resources.here()
    settings: ExchangeSettings = await resources.settings(desk.account)
    limit = max(int(desk.config.streams.connections_per_10_minutes * SHARES[name]), 1)
    gate = ConnectionGate(
        f"{settings.exchange_id} {name}",
        clock=desk.clock,
        budget=ConnectionBudget(clock=desk.clock, limit=limit),
        on_change=partial(resources.breaker_changed, desk.account),
    )
    await desk.exchange.load_markets()
    loaded = desk.exchange.client.exchange if isinstance(desk.exchange, Session) else desk.exchange
    streams = open_streams(settings, clock=desk.clock, gate=gate, loaded=loaded)
    resources.gates.add(gate)
    try:
        yield streams
    finally:
        resources.gates.discard(gate)
        await streams.close()


async def stream(desk: Desk, kind: type[Streamer], owner: str) -> None:
    """Run one stream of the account for as long as the desk runs; a second one waits for the first one's lease."""
    async with open_stream(desk, kind.name) as streams:
        parts = StreamParts(desk.account, desk.config, desk.store, desk.exchange, streams, desk.clock)
        await run_alone(desk.store.desk, desk.clock, desk.account, owner, lambda: kind(parts))


async def skip_if_streamed(desk: Desk, channel: str) -> None:
    """End this run as a success, named `Streamed`, when a stream delivers what it would fetch."""
    await freshness.raise_if_fresh(desk.store.desk, desk.account, channel, desk.clock.now())


async def not_streamed(desk: Desk, channel: str, symbols: Sequence[str]) -> Sequence[str]:
    """The symbols this run has to fetch: those no stream delivers. Where that is none, it ends as `Streamed`."""
    return await freshness.not_streamed(desk.store.desk, desk.account, channel, symbols, desk.clock.now())
