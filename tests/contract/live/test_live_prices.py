"""`--source live:EXCHANGE`: markets, prices and candles of another exchange, through unmodified ccxt on both sides."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import httpx
import pytest

from deployments.cli.paper import live_feed
from kontor.errors import ConfigError
from kontor.exchange.stream_channels import StreamChannels
from kontor.paper.faults import FaultKind, FaultRule
from kontor.paper.server import CannotStart, PaperServer, run_paper
from kontor.paper.settings import PaperSettings
from tests.contract.live.conftest import Fed, fed_by

SWAP, SPOT = "BTC/USD:USD", "BTC/USD"


def befall(server: PaperServer, kind: FaultKind, path: str, **more: Any) -> None:
    server.services.plan.add(FaultRule(kind=kind, path=path, **more))
    for connection in list(server._hub.connections):
        connection.befall()


async def follows(fed: Fed, inst_id: str = "BTC-USD-SWAP") -> bool:
    """Whether the price here is one they have had within the last seconds, and not an old one."""
    ours = fed.ours.venue.ticker(inst_id).last
    recent = {trade.px for trade in fed.theirs.venue.trades(inst_id, 30)}
    return ours in recent


async def test_the_most_traded_markets_are_listed_as_they_are_there(fed: Fed) -> None:
    """Steps, contract sizes and minimums decide whether an order that works here works there."""
    markets = await fed.client.load_markets()
    volumes = sorted(fed.theirs.venue.tickers(), key=lambda ticker: -ticker.volume_usd_24h)
    most_traded = {each.inst_id for each in volumes if not each.inst_id.startswith("USDT")}
    assert {item.inst_id for item in fed.ours.venue.instruments()} <= most_traded
    assert len(markets) == 8
    for item in fed.ours.venue.instruments():
        original = fed.theirs.venue.instrument(item.inst_id)
        assert (item.tick_sz, item.lot_sz, item.min_sz, item.ct_val) == (
            original.tick_sz,
            original.lot_sz,
            original.min_sz,
            original.ct_val,
        )


async def test_prices_follow_within_a_moment_and_trades_are_theirs(fed: Fed) -> None:
    """A jump there is a jump here."""
    await fed.until(lambda: follows(fed))
    last = fed.theirs.venue.ticker("BTC-USD-SWAP").last
    fed.theirs.venue.set_price("BTC-USD-SWAP", (last * Decimal("1.2")).quantize(Decimal("0.1")))
    await fed.until(lambda: fed.ours.venue.ticker("BTC-USD-SWAP").last > last * Decimal("1.15"), 5)
    ours = await fed.client.fetch_trades(SWAP, limit=5)
    theirs = {trade.trade_id: trade for trade in fed.theirs.venue.trades("BTC-USD-SWAP", 500)}
    assert ours
    for trade in ours:
        assert Decimal(str(trade["price"])) == theirs[trade["id"]].px
        assert Decimal(str(trade["amount"])) == theirs[trade["id"]].sz


async def test_finished_candles_are_theirs_in_every_timeframe_and_however_far_back(fed: Fed) -> None:
    """What is not known here is fetched there before it is answered."""
    await fed.client.load_markets()
    contract = float(fed.theirs.venue.instrument("BTC-USD-SWAP").ct_val)
    for timeframe in ("1m", "3m", "5m", "15m", "1h", "2h", "4h", "1d"):
        ours = await fed.client.fetch_ohlcv(SWAP, timeframe, limit=250)
        theirs = fed.theirs.venue.candles("BTC-USD-SWAP", _bar(timeframe), limit=300)
        expected = {candle.ts: candle for candle in theirs if candle.confirm}
        compared = [row for row in ours if row[0] in expected][:-2]
        assert len(compared) >= 245
        for row in compared:
            candle = expected[row[0]]
            # Volumes are rounded to lots on the way, minute by minute.
            volume = pytest.approx(float(candle.vol) * contract, rel=1e-4, abs=5 * contract * 0.01)
            assert row[1:] == [*map(float, candle[1:5]), volume], (timeframe, row)


def _bar(timeframe: str) -> str:
    number, unit = timeframe[:-1], timeframe[-1]
    return f"{number}{unit if unit == 'm' else unit.upper()}{'utc' if unit == 'd' else ''}"


async def test_history_begins_where_theirs_does(fed: Fed) -> None:
    """A market listed yesterday has no candles of last year: flat ones would mislead whoever tests on them."""
    await fed.client.load_markets()
    key = "BTC-USD-SWAP"
    listed_at = fed.theirs.venue.instrument(key).list_time
    rows = await fed.client.fetch_ohlcv(SWAP, "1d", since=listed_at - 40 * 86_400_000, limit=100)
    assert rows
    assert rows[0][0] >= listed_at


async def test_an_order_trades_at_their_price_and_a_resting_one_when_they_reach_it(fed: Fed) -> None:
    """What one paper-trades for."""
    await fed.client.load_markets()
    await fed.until(lambda: follows(fed))
    bought = await fed.client.create_order(SWAP, "market", "buy", 1)
    filled = await fed.client.fetch_order(bought["id"], SWAP)
    price = fed.theirs.venue.ticker("BTC-USD-SWAP").last
    assert filled["status"] == "closed"
    assert filled["average"] == pytest.approx(float(price), rel=0.01)
    wanted = round(float(price) * 0.97, 1)
    resting = await fed.client.create_order(SWAP, "limit", "buy", 1, wanted)
    fed.theirs.venue.set_price("BTC-USD-SWAP", Decimal(str(round(float(price) * 0.9, 1))))

    async def is_filled() -> bool:
        return (await fed.client.fetch_order(resting["id"], SWAP))["status"] == "closed"

    await fed.until(is_filled)


async def test_a_lost_connection_is_made_again_and_the_gap_filled(fed: Fed) -> None:
    """The minutes of the gap are theirs afterwards, not what was guessed meanwhile."""
    await fed.until(lambda: follows(fed))
    connected = fed.theirs.services.stats.connected
    befall(fed.theirs, FaultKind.WS_DROP, "/ws/*", times=2)
    await fed.until(lambda: fed.theirs.services.stats.connected > connected)
    await fed.until(lambda: follows(fed))
    assert not fed.feed.source.trouble


async def test_nothing_trades_on_prices_that_stand_still(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fill at the price of ten minutes ago would be a lie; reading and canceling go on."""
    monkeypatch.setattr("kontor.paper.feed.TROUBLE_SECONDS", 0.5)
    await fed.client.load_markets()
    await fed.until(lambda: follows(fed))
    resting = await fed.client.create_order(SPOT, "limit", "buy", 0.01, 30_000)
    befall(fed.theirs, FaultKind.HTTP_503, "/*", probability=1.0)
    befall(fed.theirs, FaultKind.WS_DROP, "/ws/*", times=2)
    await fed.until(lambda: bool(fed.feed.source.trouble))
    with pytest.raises(ccxt.OnMaintenance, match="no live prices of okx@"):
        await fed.client.create_order(SWAP, "market", "buy", 1)
    await fed.client.cancel_order(resting["id"], SPOT)
    fed.theirs.services.plan.remove()
    await fed.until(lambda: not fed.feed.source.trouble)
    await fed.client.create_order(SWAP, "market", "buy", 1)


async def test_what_is_held_stays_listed_and_rests_through_a_restart(theirs: PaperServer, tmp_path: Path) -> None:
    """The most traded markets of tomorrow are others; an order that was reached while we were down is filled then."""
    async with fed_by(theirs, tmp_path, markets=12) as fed:
        await fed.client.load_markets()
        await fed.until(lambda: follows(fed))
        least = fed.ours.venue.instruments()[-1]
        symbol = next(market["symbol"] for market in fed.client.markets.values() if market["id"] == least.inst_id)
        held = await fed.client.create_order(symbol, "market", "buy", float(least.min_sz * 10))
        price = float(fed.theirs.venue.ticker("BTC-USD-SWAP").last)
        resting = await fed.client.create_order(SWAP, "limit", "buy", 1, round(price * 0.97, 1))
    theirs.venue.set_price("BTC-USD-SWAP", Decimal(str(round(price * 0.9, 1))))
    async with fed_by(theirs, tmp_path, markets=2) as fed:
        await fed.client.load_markets()
        assert least.inst_id in {item.inst_id for item in fed.ours.venue.instruments()}
        assert (await fed.client.fetch_order(held["id"], symbol))["status"] == "closed"

        async def is_filled() -> bool:
            return (await fed.client.fetch_order(resting["id"], SWAP))["status"] == "closed"

        await fed.until(is_filled)


async def test_a_process_of_its_own_takes_its_prices_from_another(theirs: PaperServer) -> None:
    """The whole way, as a user starts it."""
    command = ["-m", "deployments.cli", "paper", "--port", "0", "--no-persist", "--markets", "12"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command, "--source", f"live:okx@{theirs.url}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().split()[-1]
        answer = await asyncio.to_thread(
            httpx.get, f"{url}/api/v5/market/ticker", params={"instId": "BTC-USD-SWAP"}, trust_env=False
        )
        last = Decimal(answer.json()["data"][0]["last"])
        assert last == pytest.approx(theirs.venue.ticker("BTC-USD-SWAP").last, rel=Decimal("0.01"))
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0


def test_an_exchange_nobody_knows_is_named_with_the_nearest_one() -> None:
    """A typo must not look like a network that is down."""
    with pytest.raises(ConfigError, match=r"--source: .*there is no exchange 'okxx'; did you mean 'okx'\?"):
        live_feed(PaperSettings(source="live:okxx", persist=False))


async def test_an_exchange_that_cannot_be_reached_is_said_so() -> None:
    """Before anything listens: a paper exchange without prices helps nobody."""
    settings = PaperSettings(source="live:okx@http://127.0.0.1:9", persist=False)
    with pytest.raises(
        CannotStart, match=r"okx@\S+ does not answer .* check the connection, or take --source synthetic"
    ):
        await run_paper(settings, live_feed)


def test_live_prices_cannot_be_hurried() -> None:
    """The clock is theirs."""
    with pytest.raises(ValueError, match="live prices come at their own speed"):
        PaperSettings(source="live:okx", speed=2)


async def test_an_exchange_that_streams_no_prices_is_polled(
    theirs: PaperServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of ccxt's exchanges have no streams."""
    monkeypatch.setattr(StreamChannels, "channels", frozenset[str]())
    async with fed_by(theirs) as fed:
        first = fed.ours.venue.ticker("BTC-USD-SWAP").last
        fed.theirs.venue.set_price("BTC-USD-SWAP", (first * Decimal("1.3")).quantize(Decimal("0.1")))
        await fed.until(lambda: fed.ours.venue.ticker("BTC-USD-SWAP").last > first * Decimal("1.2"))
        assert not fed.feed.source.trouble
