"""`kontor ledger`: what the tax adviser gets is exact, by kontor.yaml's days, and sums to what is shown."""

from __future__ import annotations

import asyncio
import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from deployments.cli import main
from deployments.cli.ledger import COLUMNS, write_rows
from deployments.home import Home
from deployments.stores import opened
from kontor.domain.ledger import EntryKind, LedgerEntry
from kontor.domain.profit import gains, profit_and_loss

D = Decimal
BTC, SPOT = "BTC/USD:USD", "ETH/USD"
# Half past eleven in the night of London, half past midnight in Berlin.
LATE = datetime(2026, 1, 1, 23, 30, tzinfo=UTC)


def trade(number: int, quantity: str, price: str, *, at: datetime, **more: object) -> LedgerEntry:
    """A fill of the strategy `one`, on BTC's swap."""
    values: dict[str, object] = {
        "source_id": f"fill:{number}",
        "kind": EntryKind.TRADE,
        "at": at,
        "symbol": BTC,
        "strategy": "one",
        "client_order_id": f"c{number}",
        "quantity": D(quantity),
        "price": D(price),
        "fee": D("0.000000012345678901"),
        "fee_currency": "USD",
        **more,
    }
    return LedgerEntry(**values)  # type: ignore[arg-type]


def bill(number: int, kind: EntryKind, amount: str, *, at: datetime, symbol: str | None = None) -> LedgerEntry:
    """A movement of dollars that no fill tells."""
    return LedgerEntry(f"bill:{number}", kind, at, symbol, currency="USD", amount=D(amount), coin_price=D(1))


ROWS = [
    trade(1, "2", "100.10", at=LATE - timedelta(hours=3)),
    bill(2, EntryKind.TRANSFER, "5000", at=LATE - timedelta(hours=2)),
    trade(3, "-1", "110.123456789012345678", at=LATE),
    bill(4, EntryKind.FUNDING, "-0.3", at=LATE + timedelta(minutes=1), symbol=BTC),
    # A thousandth of what was bought is kept back as its fee, and is not there to be sold.
    trade(5, "1", "3000", at=LATE + timedelta(days=1), symbol=SPOT, strategy=None, fee=D("0.001"), fee_currency="ETH"),
    trade(6, "-0.999", "3100", at=LATE + timedelta(days=2), symbol=SPOT, strategy=None, fee=D(7), fee_currency="XYZ"),
]


@pytest.fixture(autouse=True)
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project whose day is Berlin's, and a store with a ledger; another account has one too."""
    monkeypatch.setenv("KONTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prefect.yaml").write_text("deployments: []\n")
    (tmp_path / "kontor.yaml").write_text("risk: {trading_day_zone: Europe/Berlin}\n")
    home = Home(tmp_path / "home")
    home.make()

    async def fill() -> None:
        async with opened(home.default_store_url) as store:
            await store.migrate()
            await store.account.book("paper", ROWS)
            await store.account.book("other", [trade(9, "1", "1", at=LATE)])

    asyncio.run(fill())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_csv_has_a_row_for_each_entry_with_every_digit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "2026.csv"
    assert main(["ledger", "--csv", str(out)]) == 0
    assert capsys.readouterr().out == f"6 rows of paper in {out}\n"
    rows = rows_of(out)
    assert tuple(rows[0]) == COLUMNS
    assert [row["source"] for row in rows] == [entry.source_id for entry in ROWS]
    sold = rows[2]
    assert {name: text for name, text in sold.items() if text} == {
        "time_utc": "2026-01-01T23:30:00+00:00",
        "day": "2026-01-02",
        "account": "paper",
        "kind": "trade",
        "symbol": BTC,
        "side": "sell",
        "quantity": "1",
        "price": "110.123456789012345678",
        "realized": "10.023456789012345678",
        "fee": "0.000000012345678901",
        "fee_currency": "USD",
        "strategy": "one",
        "client_order_id": "c3",
        "source": "fill:3",
    }
    assert [row["day"] for row in rows] == ["2026-01-01"] * 2 + ["2026-01-02"] * 2 + ["2026-01-03", "2026-01-04"]
    transfer, funding = rows[1], rows[3]
    assert (transfer["kind"], transfer["amount"], transfer["realized"]) == ("transfer", "5000", "")
    assert (funding["kind"], funding["amount"], funding["currency"], funding["symbol"]) == (
        "funding",
        "-0.3",
        "USD",
        BTC,
    )
    # Bought for 3000 were 0.999: what was kept back is a loss of its own, and no gain of the sale.
    assert D(rows[5]["realized"]) == D("99.900")


def test_days_are_chosen_by_the_zone_and_gains_still_count_from_the_first_row_on(tmp_path: Path) -> None:
    """The second of January in Berlin began on the first in UTC; what was bought before it keeps its price."""
    out = tmp_path / "day.csv"
    assert main(["ledger", "--csv", str(out), "--from", "2026-01-02", "--to", "2026-01-02"]) == 0
    rows = rows_of(out)
    assert [row["source"] for row in rows] == ["fill:3", "bill:4"]
    assert D(rows[0]["realized"]) == D("10.023456789012345678")


def table(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, list[str]]:
    """The lines that are shown, by their first word."""
    assert main(["ledger", *arguments]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    return {line[0]: line[1:] for line in lines}


def test_what_is_shown_by_day_sums_to_what_is_shown_together(capsys: pytest.CaptureFixture[str]) -> None:
    found = table(capsys)
    assert found["day"] == ["trades", "realized", "fees", "funding", "net"]
    assert found["2026-01-01"] == ["1", "0.00", "0.00", "0.00", "0.00"]
    assert found["2026-01-02"] == ["1", "10.02", "0.00", "-0.30", "9.72"]
    assert found["2026-01-03"] == ["1", "0.00", "3.00", "0.00", "-3.00"]
    assert found["2026-01-04"] == ["1", "99.90", "0.00", "0.00", "99.90"]
    assert found["together"] == ["4", "109.92", "3.00", "-0.30", "106.62"]
    assert "of 7 XYZ had no price" in " ".join(["fees", *found["fees"]])


def test_by_strategy_what_people_trade_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    found = table(capsys, "--by", "strategy", "--to", "2026-01-03")
    assert set(found) == {"strategy", "one", "manual", "together"}
    assert found["one"] == ["2", "10.02", "0.00", "-0.30", "9.72"]
    assert found["manual"] == ["1", "0.00", "3.00", "0.00", "-3.00"]
    assert list(table(capsys, "--by", "all", "--from", "2026-01-04")) == ["day,", "2026-01-04", "fees"]


def test_an_empty_time_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "--from", "2027-01-01"]) == 0
    said = capsys.readouterr().out
    assert said == "the ledger of paper has nothing there; reconcile-orders books every few minutes\n"


@pytest.mark.parametrize(("option", "text"), [("--from", "yesterday"), ("--to", "2026-02-30"), ("--from", "01.02.26")])
def test_a_day_that_is_none_is_one_sentence(option: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", option, text]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"kontor: {option}: {text!r} is no day such as")
    assert error.count("\n") == 1


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a traceback, and the rows that were there stay."""
    for out, said in ((tmp_path, "Is a directory"), (tmp_path / "kontor.yaml" / "x.csv", "")):
        assert main(["ledger", "--csv", str(out)]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"kontor: --csv: {out} cannot be written: {said}")
        assert error.count("\n") == 1


def test_a_write_that_breaks_off_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a year's rows under the year's name would be handed in."""
    out = tmp_path / "2026.csv"
    out.write_text("what was there\n")

    def full(*_: object) -> list[str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deployments.cli.ledger._row", full)
    assert main(["ledger", "--csv", str(out)]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert out.read_text() == "what was there\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2026.csv", "home", "kontor.yaml", "prefect.yaml"]


def test_what_people_close_of_a_strategys_position_is_realized_in_the_rows_as_in_the_sums(tmp_path: Path) -> None:
    """The sums and the rows go to the same adviser."""
    entries = [
        trade(1, "2", "100", at=LATE),
        trade(2, "-2", "110", at=LATE + timedelta(minutes=1), strategy=None),
        trade(3, "-1", "120", at=LATE + timedelta(minutes=2), strategy=None),
        trade(4, "1", "115", at=LATE + timedelta(minutes=3), strategy=None),
    ]
    for opening in ({}, None):
        out = tmp_path / "rows.csv"
        assert write_rows(out, "paper", gains(entries, UTC, opening), ZoneInfo("UTC"), "", "9999") == 4
        realized = [D(row["realized"]) for row in rows_of(out)]
        assert sum(realized) == sum(line.realized for line in profit_and_loss(entries, UTC, opening))
        if opening is not None:
            assert realized == [0, 20, 0, 5]
