"""How values are written on the wire."""

from __future__ import annotations

import zlib
from dataclasses import replace
from decimal import Decimal

import pytest

from kontor.paper import rendering, rendering_orders
from kontor.paper.model import Book, Candle, Level, Order
from kontor.paper.order_books import LiveBook
from kontor.paper.paging import page
from kontor.paper.replies import Refusal, batch


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("0.00", "0"),
        ("1.500", "1.5"),
        ("100", "100"),
        ("1E+3", "1000"),
        ("1E-8", "0.00000001"),
        ("-0.00000001", "-0.00000001"),
        ("0.3333333333333333333333", "0.3333333333333333"),
        ("1E-20", "0"),
        ("-1E-20", "0"),
    ],
)
def test_numbers_have_no_exponent_and_no_idle_zeros(value: str, text: str) -> None:
    """Clients compare and parse these strings; 1E-8 would be a surprise to most."""
    assert rendering.number(Decimal(value)) == text


def test_nothing_is_an_empty_string() -> None:
    """OKX has no nulls."""
    assert rendering.number(None) == ""
    assert rendering.moment(None) == ""


ORDER = Order(
    account="main",
    inst_id="BTC-USD-SWAP",
    inst_type="SWAP",
    ord_id="7",
    cl_ord_id="abc",
    tag="",
    side="buy",
    ord_type="limit",
    td_mode="cross",
    tgt_ccy="",
    reduce_only=False,
    px=Decimal("60000.0"),
    sz=Decimal(2),
    lever=Decimal(3),
    stp_mode="cancel_maker",
    c_time=1000,
    u_time=1000,
)


def test_an_order_without_fills_shows_none() -> None:
    """An average price of 0 would be read as a fill for nothing."""
    row = rendering_orders.order(ORDER)
    assert (row["avgPx"], row["fillPx"], row["fillTime"], row["tradeId"]) == ("", "", "", "")
    assert (row["accFillSz"], row["px"], row["sz"], row["state"]) == ("0", "60000", "2", "live")


def test_a_pushed_order_carries_the_fill_that_caused_it() -> None:
    """Streams book fills from the orders channel alone."""
    filled = replace(
        ORDER, trade_id="9", fill_px=Decimal("59999.9"), fill_sz=Decimal(1), fill_fee=Decimal("-0.3"), fee_ccy="USD"
    )
    row = rendering_orders.order_update(filled)
    assert (row["tradeId"], row["fillPx"], row["fillSz"], row["fillFee"], row["fillFeeCcy"]) == (
        "9",
        "59999.9",
        "1",
        "-0.3",
        "USD",
    )
    assert rendering_orders.order_update(ORDER)["fillFeeCcy"] == ""


def test_spot_and_swap_candles_differ_in_their_second_volume() -> None:
    """OKX counts a spot market's second volume in the quote currency, a swap's in the base currency."""
    one = Decimal(1)
    candle = Candle(60_000, one, one, one, one, Decimal(10), Decimal(20), Decimal(30), confirm=False)
    assert rendering.candle(candle) == ["60000", "1", "1", "1", "1", "10", "20", "30", "0"]
    assert rendering.spot_candle(candle) == ["60000", "1", "1", "1", "1", "10", "30", "30", "0"]


def book(asks: dict[str, str], bids: dict[str, str]) -> Book:
    return Book(
        "BTC-USD",
        tuple(Level(Decimal(px), Decimal(sz), 1) for px, sz in asks.items()),
        tuple(Level(Decimal(px), Decimal(sz), 1) for px, sz in bids.items()),
        1000,
    )


def test_a_book_update_holds_only_what_changed() -> None:
    """A level that is gone comes as quantity zero; an untouched one does not come at all."""
    live = LiveBook()
    live.update(book({"101": "1", "102": "2"}, {"100": "3"}))
    change = live.update(book({"102": "2", "103": "4"}, {"100": "5"}))
    assert change is not None
    assert change["asks"] == [["101", "0", "0", "0"], ["103", "4", "0", "1"]]
    assert change["bids"] == [["100", "5", "0", "1"]]
    assert (change["prevSeqId"], change["seqId"]) == (1, 2)


def test_an_unchanged_book_is_not_pushed() -> None:
    """Silence is cheaper than repetition."""
    live = LiveBook()
    same = book({"101": "1"}, {"100": "3"})
    live.update(same)
    assert live.update(same) is None


def test_a_snapshot_continues_where_the_next_update_begins() -> None:
    """A listener that joins later must be able to apply the next update."""
    live = LiveBook()
    live.update(book({"101": "1"}, {"100": "3"}))
    snapshot = live.snapshot()
    change = live.update(book({"101": "2"}, {"100": "3"}))
    assert change is not None
    assert (snapshot["prevSeqId"], snapshot["seqId"], change["prevSeqId"]) == (-1, 1, 1)


def test_the_checksum_runs_over_bids_and_asks_in_turn() -> None:
    """OKX's own example of the order: bid, ask, bid, then what is left."""
    live = LiveBook()
    live.update(book({"3366.8": "9"}, {"3366.1": "7", "3366": "6"}))
    crc = zlib.crc32(b"3366.1:7:3366.8:9:3366:6")
    assert live.checksum() == (crc - (1 << 32) if crc >= 1 << 31 else crc)


ROWS = [(str(number), number * 100) for number in range(10, 0, -1)]


@pytest.mark.parametrize(
    ("params", "numbers"),
    [
        ({}, range(10, 0, -1)),
        ({"limit": "3"}, (10, 9, 8)),
        ({"after": "4"}, (3, 2, 1)),
        ({"before": "8"}, (10, 9)),
        ({"after": "8", "before": "5"}, (7, 6)),
        ({"begin": "300", "end": "500"}, (5, 4, 3)),
        ({"after": "8", "limit": "2"}, (7, 6)),
    ],
)
def test_pages_are_cut_as_okx_cuts_them(params: dict[str, str], numbers: range | tuple[int, ...]) -> None:
    """Newest first; `after` means older than, `before` means newer than."""
    rows = page(ROWS, params, number=lambda row: row[0], at_ms=lambda row: row[1])
    assert [int(row[0]) for row in rows] == list(numbers)


def test_a_page_is_never_longer_than_a_hundred() -> None:
    """OKX's cap, whatever is asked for."""
    rows = [(str(number), number) for number in range(500, 0, -1)]
    assert len(page(rows, {"limit": "400"}, number=lambda row: row[0], at_ms=lambda row: row[1])) == 100


def test_a_page_parameter_that_is_no_number_is_refused() -> None:
    """With the code OKX gives for a wrong parameter."""
    with pytest.raises(Refusal) as caught:
        page(ROWS, {"after": "soon"}, number=lambda row: row[0], at_ms=lambda row: row[1])
    assert caught.value.code == "51000"


@pytest.mark.parametrize(
    ("codes", "single", "code"),
    [
        (["0", "0"], False, "0"),
        (["0", "51008"], False, "2"),
        (["51008", "51008"], False, "1"),
        (["51008"], True, "1"),
        (["0"], True, "0"),
    ],
)
def test_a_batch_tells_all_some_or_none(codes: list[str], single: bool, code: str) -> None:
    """Ccxt raises on 1 and looks into the rows on 2."""
    assert batch([{"sCode": each} for each in codes], single=single).code == code
