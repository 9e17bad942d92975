"""The ledger on every store: booked once by source, exact, in order of time."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from kontor.domain.ledger import EntryKind, LedgerEntry
from kontor.ports import Store

AT = datetime(2026, 1, 1, tzinfo=UTC)
TRADE = LedgerEntry(
    "fill:BTC/USD:1", EntryKind.TRADE, AT, "BTC/USD", "one", "c1", Decimal("0.00000001"), Decimal("1e5"),
    fee=Decimal("-0.000000000001"), fee_currency="OKB", coin_price=Decimal("51.25"),
)  # fmt: skip
FUNDING = LedgerEntry(
    "bill:9", EntryKind.FUNDING, AT - timedelta(hours=1), "BTC/USD:USD", currency="USD", amount=Decimal(-3)
)


async def test_a_row_is_booked_once_and_read_as_it_was_written(store: Store) -> None:
    """Two reconciliations may book the same fill."""
    assert await store.account.book("paper", [TRADE, FUNDING, TRADE]) == [TRADE, FUNDING]
    assert await store.account.book("paper", [TRADE]) == []
    assert await store.account.book("other", [TRADE]) == [TRADE]
    assert await store.account.ledger("paper") == [FUNDING, TRADE]


async def test_rows_are_read_by_time(store: Store) -> None:
    await store.account.book("paper", [TRADE, FUNDING])
    assert await store.account.ledger("paper", since=AT) == [TRADE]
    assert await store.account.ledger("paper", until=AT) == [FUNDING]
