"""What survives: files, restarts, and what subscribers are told and when."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from kontor.paper.clock import ManualClock
from kontor.paper.model import AccountConfig, Event, OrderAck, VenueConfig, VenueError
from kontor.paper.venue import Venue

Place = Callable[..., OrderAck]
Open = Callable[..., Venue]
BUY = {"instId": "BTC-USD-SWAP", "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "1"}


def kill(venue: Venue) -> None:
    """End a venue as SIGKILL would: nothing is flushed."""
    journal = venue._engine._journal
    assert journal is not None
    journal.close()
    venue._engine._journal = None


def test_what_was_flushed_survives_a_kill_and_nothing_else(open_venue: Open, tmp_path: Path) -> None:
    """An acknowledged order is durable; one that was never acknowledged may be lost, whole, and its ids used again."""
    venue = open_venue(tmp_path / "state.sqlite")
    venue.place_order("paper", BUY | {"clOrdId": "kept"})
    venue.flush()
    before = (venue.fills("paper"), venue.balance("paper"), venue.positions("paper"), venue.book("BTC-USD-SWAP"))
    lost = venue.place_order("paper", BUY | {"clOrdId": "lost"})
    kill(venue)
    again = open_venue(tmp_path / "state.sqlite")
    assert (
        again.fills("paper"),
        again.balance("paper"),
        again.positions("paper"),
        again.book("BTC-USD-SWAP"),
    ) == before
    assert again.place_order("paper", BUY | {"clOrdId": "kept"}).s_code == "51016"
    assert again.place_order("paper", BUY | {"clOrdId": "lost"}) == lost


def test_leverage_switches_accounts_and_jumps_survive(open_venue: Open, tmp_path: Path, clock: ManualClock) -> None:
    """Everything a client or an operator set must be there after a restart, secrets included."""
    venue = open_venue(tmp_path / "state.sqlite")
    venue.add_account(AccountConfig("third", "key3", "secret3", "phrase3", (("USD", Decimal(7)), ("BTC", Decimal(2)))))
    venue.set_leverage("paper", "ETH-USD-SWAP", "12.5")
    venue.place_order("paper", BUY | {"ordType": "limit", "px": str(venue.mark_price("BTC-USD-SWAP") - 2000)})
    venue.cancel_all_after("paper", 30)
    venue.set_price("BNB-USD", Decimal(600))
    venue.flush()
    infos, price = venue.accounts(), venue.mark_price("BNB-USD")
    kill(venue)
    venue = open_venue(tmp_path / "state.sqlite")
    assert venue.accounts() == infos
    assert venue.account_by_key("key3") == infos[2]
    assert venue.balance("third").details[0].cash_bal == 2
    assert venue.leverage("paper", "ETH-USD-SWAP")[0].lever == Decimal("12.5")
    assert venue.mark_price("BNB-USD") == price
    clock.advance(31)
    assert venue.orders_pending("paper") == []


def test_the_clock_goes_on_where_the_stored_state_ended(open_venue: Open, tmp_path: Path) -> None:
    """After a fast simulation the stored time is ahead of the wall; living through it twice would fill orders twice."""
    venue = open_venue(tmp_path / "state.sqlite")
    venue.clock.resume_at(venue.now() + 86_400_000)
    venue.place_order("paper", BUY)
    venue.flush()
    ahead = venue.now()
    kill(venue)
    other = Venue(
        VenueConfig(markets=16, seed=11), clock=ManualClock(ahead - 5_000_000), path=tmp_path / "state.sqlite"
    )
    assert other.now() == ahead
    other.close()


def test_another_seed_is_allowed_and_said(open_venue: Open, tmp_path: Path) -> None:
    """The books stay, the prices change: whoever restarts like that must be told."""
    venue = open_venue(tmp_path / "state.sqlite")
    venue.place_order("paper", BUY)
    venue.close()
    other = open_venue(tmp_path / "state.sqlite", seed=12)
    assert any("seed was 11" in notice and "12 now" in notice for notice in other.notices)
    assert len(other.positions("paper")) == 1
    other.close()
    assert open_venue(tmp_path / "state.sqlite", seed=12).notices == ()


def test_fewer_markets_than_the_books_need_is_one_clear_error(open_venue: Open, tmp_path: Path) -> None:
    """A position in a market that is no longer listed could neither be valued nor closed."""
    venue = open_venue(tmp_path / "state.sqlite")
    venue.place_order("paper", BUY | {"instId": "DOGE-USD-SWAP"})
    venue.close()
    with pytest.raises(RuntimeError, match=r"state\.sqlite: holds orders or positions in DOGE-USD-SWAP"):
        open_venue(tmp_path / "state.sqlite", markets=8)


def test_a_second_venue_on_one_file_is_refused(open_venue: Open, tmp_path: Path) -> None:
    """Two writers would give out the same ids."""
    open_venue(tmp_path / "state.sqlite")
    with pytest.raises(RuntimeError, match="another paper exchange is using this file"):
        open_venue(tmp_path / "state.sqlite")


def test_a_file_that_is_something_else_is_one_clear_error(open_venue: Open, tmp_path: Path) -> None:
    """Neither overwritten nor a traceback out of SQLite."""
    (tmp_path / "state.sqlite").write_text("this is not a database, it is a letter to a friend\n" * 50)
    with pytest.raises(RuntimeError, match=r"state\.sqlite: not usable as the paper exchange's state"):
        open_venue(tmp_path / "state.sqlite")


def test_only_its_owner_may_read_the_file(open_venue: Open, tmp_path: Path) -> None:
    """It holds API secrets."""
    open_venue(tmp_path / "state.sqlite")
    assert stat.S_IMODE((tmp_path / "state.sqlite").stat().st_mode) == 0o600


def test_a_column_that_a_later_version_adds_finds_its_place(open_venue: Open, tmp_path: Path) -> None:
    """An upgraded paper exchange opens the state of the older one."""
    venue = open_venue(tmp_path / "state.sqlite")
    ack = venue.place_order("paper", BUY)
    venue.close()
    database = sqlite3.connect(tmp_path / "state.sqlite")
    database.execute("ALTER TABLE orders DROP COLUMN cancel_source_reason")
    database.commit()
    database.close()
    assert open_venue(tmp_path / "state.sqlite").order("paper", "", ord_id=ack.ord_id).cancel_source_reason == ""


def test_a_disk_that_fails_tells_nobody_anything(
    open_venue: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event and no acknowledgement may leave before the commit; once the disk is back all is stored and told."""
    venue = open_venue(tmp_path / "state.sqlite")
    told: list[Event] = []
    venue.subscribe(told.append)
    journal = venue._engine._journal
    assert journal is not None
    write = journal._write

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(journal, "_write", full)
    ack = venue.place_order("paper", BUY)
    with pytest.raises(VenueError, match=r"50013.*disk is full"):
        venue.flush()
    assert told == []
    monkeypatch.setattr(journal, "_write", write)
    venue.flush()
    assert [event.channel for event in told] == ["orders", "fills", "orders", "positions", "account"]
    kill(venue)
    assert open_venue(tmp_path / "state.sqlite").order("paper", "", ord_id=ack.ord_id).state == "filled"


def test_events_come_in_order_with_the_state_of_their_moment(venue: Venue) -> None:
    """First live, then filled: an event that showed the later state twice would hide the transition."""
    told: list[Event] = []
    stop = venue.subscribe(told.append)
    venue.place_order("paper", BUY)
    assert told == []
    venue.flush()
    orders = [event.data for event in told if event.channel == "orders"]
    assert [(order.state, order.acc_fill_sz) for order in orders] == [("live", 0), ("filled", 1)]
    (position,) = [event.data for event in told if event.channel == "positions"]
    (account,) = [event.data for event in told if event.channel == "account"]
    assert position.pos == 1
    assert account == venue.balance("paper")
    told.clear()
    venue.place_order("paper", BUY | {"side": "sell", "reduceOnly": True})
    venue.flush()
    assert [event.data.pos for event in told if event.channel == "positions"] == [0]
    stop()
    told.clear()
    venue.place_order("paper", BUY)
    venue.flush()
    assert told == []


def test_watched_markets_are_told_once_a_tick_and_candles_to_their_end(venue: Venue, clock: ManualClock) -> None:
    """A stream shows every tick once; a candle that ends is shown finished before the next one begins."""
    told: list[Event] = []
    venue.subscribe(told.append)
    venue.watch("tickers", "ETH-USD-SWAP")
    venue.watch("tickers", "ETH-USD-SWAP")
    venue.watch("candles", "ETH-USD-SWAP", "1m")
    for _ in range(130):
        clock.advance(0.5)
        venue.advance()
        venue.flush()
    tickers = [event.data for event in told if event.channel == "tickers"]
    candles = [event.data for event in told if event.channel == "candles"]
    assert [ticker.ts for ticker in tickers] == sorted({ticker.ts for ticker in tickers})
    assert 64 <= len(tickers) <= 66
    done = [candle for candle in candles if candle.confirm]
    assert done == venue.candles("ETH-USD-SWAP", "1m", limit=len(done), confirmed_only=True)[::-1]
    assert len(done) >= 1
    venue.unwatch("tickers", "ETH-USD-SWAP")
    venue.unwatch("candles", "ETH-USD-SWAP", "1m")
    told.clear()
    clock.advance(1)
    venue.advance()
    venue.flush()
    assert [event.channel for event in told] == ["tickers"]
    venue.unwatch("tickers", "ETH-USD-SWAP")
    venue.unwatch("tickers", "ETH-USD-SWAP")
    told.clear()
    clock.advance(1)
    venue.advance()
    venue.flush()
    assert told == []


def test_histories_are_bounded(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A desk that runs for months must not fill the memory; the newest stay, and their client ids stay known."""
    monkeypatch.setattr("kontor.paper.accounts.KEPT_ORDERS", 10)
    monkeypatch.setattr("kontor.paper.accounts.KEPT_CLIENT_IDS", 15)
    for number in range(30):
        venue.place_order("paper", BUY | {"side": "sell" if number % 2 else "buy", "clOrdId": f"id{number}"})
    account = venue._engine.state.accounts["paper"]
    assert [o.cl_ord_id for o in venue.orders_history("paper")] == [f"id{number}" for number in range(29, 19, -1)]
    assert len(account.by_ord_id) == 10
    assert len(account.client_ids) == 15
    assert venue.place_order("paper", BUY | {"clOrdId": "id17"}).s_code == "51016"
    assert venue.place_order("paper", BUY | {"clOrdId": "id3"}).s_code == "0"
