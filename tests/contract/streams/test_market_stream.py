"""stream-market on a paper exchange: prices and candles arrive, gaps are filled, the watchlist changes on the way."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import ccxt
import pytest

from kontor.config import KontorConfig
from kontor.errors import StreamIsFresh
from kontor.paper.faults import FaultKind
from kontor.streams.freshness import BELIEVED, load_channels, not_streamed, raise_if_fresh
from kontor.streams.market import MarketStreamer
from tests.support.streaming import ACCOUNT, SYMBOLS, StreamingDesk

CHANNELS = ("tickers", "candles", "trades")


async def prices(desk: StreamingDesk) -> dict[str, object]:
    return {symbol: ticker.last for symbol, ticker in (await desk.store.market.tickers(ACCOUNT)).items()}


async def test_prices_and_candles_are_streamed_and_updaters_need_not_fetch(desk: StreamingDesk) -> None:
    """Within a second or two everything watched is in the store, and moves."""
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        first = await prices(desk)
        assert set(first) == set(SYMBOLS)

        told_at = {symbol: ticker.last_at for symbol, ticker in (await desk.store.market.tickers(ACCOUNT)).items()}

        async def told_again() -> bool:
            # Not the price: at a candle's high it may stand still for a while.
            now = await desk.store.market.tickers(ACCOUNT)
            return all(now[symbol].last_at > told_at[symbol] for symbol in SYMBOLS)

        await desk.until(told_again)
        stored = await desk.store.market.candles(ACCOUNT, "1m", SYMBOLS, limit=50)
        assert {symbol: len(candles) for symbol, candles in stored.items()} == dict.fromkeys(SYMBOLS, 50)
        with pytest.raises(StreamIsFresh, match="stream-market has delivered tickers for"):
            await raise_if_fresh(desk.store.desk, ACCOUNT, "tickers", desk.clock.now())
        ages = [desk.clock.now() - ticker.last_at for ticker in (await desk.store.market.tickers(ACCOUNT)).values()]
        assert max(ages) < timedelta(seconds=3)
    assert not await desk.is_fresh("tickers")


async def test_the_watchlist_changes_without_a_reconnect(desk: StreamingDesk) -> None:
    """Four hundred seconds of blindness a day would be the price of reconnecting for each change."""
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        connections = desk.connections()
        await desk.store.market.save_watchlist(ACCOUNT, ("XRP/USD:USD", "BTC/USD"), desk.clock.now())

        async def has_news() -> bool:
            return "XRP/USD:USD" in await prices(desk)

        await desk.until(has_news)
        hub = desk.paper._hub

        async def dropped() -> bool:
            return {topic[1] for topic in hub._topics if topic[0] == "tickers"} == {"XRP-USD-SWAP", "BTC-USD"}

        await desk.until(dropped)
        assert desk.connections() == connections
        assert desk.streams.breaks == 0


@pytest.mark.parametrize("kind", [FaultKind.WS_CLOSE, FaultKind.WS_DROP])
async def test_graceful_degradation_when_websocket_disconnects(desk: StreamingDesk, kind: FaultKind) -> None:
    """Testing requirement 6 of the best-practices document: stale at once, fresh again soon, the gap filled by REST."""
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        asked = desk.paper.services.stats.requests["GET /api/v5/market/tickers"]
        connections = desk.connections()
        desk.befall(FaultKind.HTTP_503, "/ws/*", probability=1.0)
        desk.befall(kind, "/ws/v5/public", times=1)
        await desk.until(lambda: _not(desk.is_fresh("tickers")), seconds=3)
        # No exception: the updater fetches.
        await raise_if_fresh(desk.store.desk, ACCOUNT, "tickers", desk.clock.now())
        desk.recover()
        assert await desk.until(lambda: desk.is_fresh(*CHANNELS)) < 5
        assert desk.connections() == connections + 1
        assert desk.paper.services.stats.requests["GET /api/v5/market/tickers"] > asked


async def test_garbage_is_counted_and_the_gap_it_may_hide_is_filled(desk: StreamingDesk) -> None:
    """Ccxt's reading loop ends at a message it cannot parse; the socket would stay open and mute."""
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        connections = desk.connections()
        desk.befall(FaultKind.WS_GARBAGE, "/ws/v5/public", times=3)
        await desk.until(lambda: _breaks(desk, 3))
        assert await desk.until(lambda: desk.is_fresh(*CHANNELS)) < 5
        assert desk.streams.events.unreadable == 3
        assert desk.connections() == connections


async def test_unknown_messages_are_counted_by_their_keys(
    desk: StreamingDesk, caplog: pytest.LogCaptureFixture
) -> None:
    """A venue that begins to say something new must not be ignored in silence; keys only, contents may be private."""
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        for connection in list(desk.paper._hub.connections):
            for _ in range(5):
                connection.send('{"notice": "maintenance at noon", "arg": {"channel": "unheard-of"}}')

        async def counted() -> bool:
            return desk.streams.events.unknown["arg,notice"] >= 10

        await desk.until(counted)
    told = [record for record in caplog.records if "stream_message_unknown" in record.message]
    assert [record.message for record in told] == ["stream_message_unknown name=okx stream-test keys=arg,notice"]


async def test_a_mute_socket_is_given_up_and_replaced(desk: StreamingDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-open: the connection stands, nothing comes. Nobody but a watchdog will ever notice."""
    monkeypatch.setattr("kontor.streams.streamer.SILENCE_SECONDS", 1.0)
    monkeypatch.setattr("kontor.exchange.stream_channels.LIVELY_SECONDS", 1.0)
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("tickers"))
        connections = desk.connections()
        for connection in list(desk.paper._hub.connections):
            connection._silent_until = float("inf")
        await desk.until(lambda: _not(desk.is_fresh("tickers")), seconds=5)
        await desk.until(lambda: desk.is_fresh("tickers"), seconds=8)
        assert connections < desk.connections() <= connections + 2


async def test_a_stream_that_has_died_is_not_believed_for_long(desk: StreamingDesk) -> None:
    """Kill -9 leaves no goodbye: what it said last must lapse by itself."""
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("tickers"))
        now = desk.clock.now()
        later = now + BELIEVED + timedelta(seconds=2)
        assert not (await load_channels(desk.store.desk, ACCOUNT, later))["tickers"].is_fresh


async def _not(answer: object) -> bool:
    return not await answer  # pyright: ignore[reportGeneralTypeIssues]


async def _breaks(desk: StreamingDesk, count: int) -> bool:
    return desk.streams.breaks >= count


async def test_the_last_trades_are_shared_and_bounded(desk: StreamingDesk) -> None:
    """A person or a strategy sees what was traded last; an hour of a busy market must not fill the store."""
    desk = replace(desk, config=KontorConfig.model_validate({"streams": {"trades_kept": 3, "flush_milliseconds": 20}}))
    async with desk.streaming(MarketStreamer):

        async def is_full() -> bool:
            found = await desk.store.desk.attribute(ACCOUNT, "trades")
            return found is not None and all(len(found.value.get(symbol, ())) == 3 for symbol in SYMBOLS)

        await desk.until(is_full)
        found = await desk.store.desk.attribute(ACCOUNT, "trades")
        assert found is not None
        newest = desk.paper.venue.trades("BTC-USD-SWAP", 500)
        by_id = {trade.trade_id: trade for trade in newest}
        contract = desk.paper.venue.instrument("BTC-USD-SWAP").ct_val
        for told in found.value["BTC/USD:USD"]:
            trade = by_id[told["id"]]
            assert Decimal(told["price"]) == trade.px
            assert Decimal(told["quantity"]) == trade.sz * contract
            assert told["side"] == trade.side
        moments = [told["at"] for told in found.value["BTC/USD:USD"]]
        assert moments == sorted(moments)

        await desk.store.market.save_watchlist(ACCOUNT, SYMBOLS[:1], desk.clock.now())

        async def others_are_gone() -> bool:
            told = await desk.store.desk.attribute(ACCOUNT, "trades")
            return told is not None and set(told.value) == {SYMBOLS[0]}

        await desk.until(others_are_gone)


async def test_a_trade_brings_the_last_price_where_no_ticker_does(desk: StreamingDesk) -> None:
    """Tickers of some venues come once a second or later; the price of a trade is known at once."""
    desk = replace(desk, config=KontorConfig.model_validate({"streams": {"tickers": False, "candles": False}}))
    async with desk.streaming(MarketStreamer):

        async def has_prices() -> bool:
            return set(await prices(desk)) == set(SYMBOLS)

        await desk.until(has_prices)
        stored = (await desk.store.market.tickers(ACCOUNT))["BTC/USD:USD"]
        traded = {trade.px for trade in desk.paper.venue.trades("BTC-USD-SWAP", 500)}
        assert stored.last in traded


async def test_a_subscription_that_is_not_acknowledged_is_not_fresh(desk: StreamingDesk) -> None:
    """The socket stands and other channels talk on it: only the venue's own word says that this one will be heard."""
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        assert not any(desk.streams.events.unacknowledged.values())
        [url] = [url for url in desk.streams.events.heard_at if url.endswith("/public")]
        asked = {"channel": "tickers", "instId": "NEW-USD"}
        desk.streams.events.said(url, {"op": "subscribe", "args": [asked]})
        await desk.until(lambda: _not(desk.is_fresh("tickers")), seconds=5)
        assert await desk.is_fresh("trades")
        desk.streams.events.answered(url, {"event": "subscribe", "arg": {**asked, "more": "of theirs"}, "connId": "1"})
        await desk.until(lambda: desk.is_fresh("tickers"), seconds=5)


async def test_a_market_that_is_listed_while_the_stream_runs_is_streamed_too(desk: StreamingDesk) -> None:
    """The streaming client loads its markets once; one symbol it does not know made ccxt refuse all the others."""
    new, market = "XRP/USD:USD", desk.paper.venue._engine.state.market
    market.relist(market.instrument("XRP-USD-SWAP"), "expired", None)
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        connections = desk.connections()
        assert new not in desk.streams.connection.markets
        market.relist(market.instrument("XRP-USD-SWAP"), "live", None)
        # What update-watchlist does, in a process of its own.
        assert new in await desk.exchange.load_markets(reload=True)
        await desk.store.market.save_watchlist(ACCOUNT, (*SYMBOLS, new), desk.clock.now())

        async def has_news() -> bool:
            stored = await desk.store.market.candles(ACCOUNT, "1m", [new], limit=50)
            return new in await prices(desk) and len(stored.get(new, ())) == 50

        await desk.until(has_news)

        async def nothing_is_left_out() -> bool:
            found = await load_channels(desk.store.desk, ACCOUNT, desk.clock.now())
            return all(found[name].is_fresh and not found[name].left_out for name in CHANNELS)

        await desk.until(nothing_is_left_out)
        assert desk.connections() == connections


async def test_a_symbol_that_is_no_market_is_left_out_and_disables_nothing(
    desk: StreamingDesk, caplog: pytest.LogCaptureFixture
) -> None:
    """Not while the socket is busy, and not after the next disconnect: REST is told to serve it."""
    watched = (*SYMBOLS, "NEW/USD:USD")
    await desk.store.market.save_watchlist(ACCOUNT, watched, desk.clock.now())

    async def is_well() -> bool:
        found = await load_channels(desk.store.desk, ACCOUNT, desk.clock.now())
        return (
            all(name in found and found[name].is_fresh for name in CHANNELS)
            and [found[name].left_out for name in ("tickers", "candles")] == [("NEW/USD:USD",)] * 2
        )

    async with desk.streaming(MarketStreamer):
        await desk.until(is_well)
        assert await not_streamed(desk.store.desk, ACCOUNT, "tickers", watched, desk.clock.now()) == ["NEW/USD:USD"]
        breaks = desk.streams.breaks
        desk.befall(FaultKind.WS_DROP, "/ws/*", times=1)
        await desk.until(lambda: _breaks(desk, breaks + 1))
        assert await desk.until(is_well) < 5
        assert set(await prices(desk)) == set(SYMBOLS)
    told = [record.message for record in caplog.records if "stream_symbols_left_out" in record.message]
    assert len(told) == 1
    assert "NEW/USD:USD" in told[0]


async def test_a_watch_that_has_failed_is_seen_although_other_markets_are_busy(desk: StreamingDesk) -> None:
    """News of those that are subscribed must not hide that some are not: they would get no price from anybody."""
    async with desk.streaming(MarketStreamer) as streamer:
        await desk.until(lambda: desk.is_fresh("tickers"))
        client = desk.streams._client
        watch = client.watch_tickers

        async def refused(*_: object) -> None:
            raise ccxt.BadSymbol("okx does not have market symbol NEW/USD")

        client.watch_tickers = refused
        await desk.store.market.save_watchlist(ACCOUNT, SYMBOLS[:3], desk.clock.now())
        await desk.until(lambda: _not(desk.is_fresh("tickers")), seconds=5)
        assert "NEW/USD" in streamer.troubles["tickers"]
        client.watch_tickers = watch
        await desk.until(lambda: desk.is_fresh("tickers"))


async def test_a_venue_that_does_not_confirm_what_is_dropped_keeps_nobody_from_hearing(
    desk: StreamingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve seconds without a price, on a channel that counts as fresh, for a market nobody wants any more."""
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        answered = asyncio.Event()

        async def never(*_: object) -> None:
            await answered.wait()

        for method in ("un_watch_tickers", "un_watch_trades_for_symbols", "un_watch_ohlcv_for_symbols"):
            monkeypatch.setattr(desk.streams._client, method, never)
        await desk.store.market.save_watchlist(ACCOUNT, SYMBOLS[:2], desk.clock.now())

        async def is_dropped() -> bool:
            return all(desk.streams._channels[name].symbols == SYMBOLS[:2] for name in CHANNELS)

        await desk.until(is_dropped, seconds=5)
        told_at = (await desk.store.market.tickers(ACCOUNT))[SYMBOLS[0]].last_at

        async def told_again() -> bool:
            return (await desk.store.market.tickers(ACCOUNT))[SYMBOLS[0]].last_at > told_at

        assert await desk.until(told_again) < 3
        # Wanted again before it is dropped: it is taken up once that is done, and left to REST until then.
        await desk.store.market.save_watchlist(ACCOUNT, SYMBOLS, desk.clock.now())
        await desk.until(lambda: _is(desk.streams.left_out("tickers") == frozenset(SYMBOLS[2:])))
        answered.set()
        await desk.until(lambda: _is(not desk.streams.left_out("tickers")))
        await desk.until(lambda: desk.is_fresh(*CHANNELS))


async def _is(answer: bool) -> bool:
    return answer


async def test_a_stream_that_begins_while_rest_is_away_waits_for_it(desk: StreamingDesk) -> None:
    """Without markets nothing can be subscribed. That is an outage, no failure of ours that ends the flow."""
    desk.befall(FaultKind.HTTP_502, "/api/*", probability=1.0)
    asked = desk.paper.services.stats.requests
    async with desk.streaming(MarketStreamer) as streamer:
        await desk.until(lambda: _is("tickers" in streamer.troubles))
        before = sum(asked.values())
        await asyncio.sleep(2)
        # Each load is a request or two, and three readers want one: not ten times a second.
        assert sum(asked.values()) - before < 40
        desk.recover()
        await desk.until(lambda: desk.is_fresh(*CHANNELS), seconds=30)
