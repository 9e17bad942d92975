"""Replay: the desk's own code on recorded candles, the same every time, its books equal to the venue's."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kontor.config import KontorConfig
from kontor.errors import ConfigError
from kontor.replay.desk import ReplayPlan, ReplayResult, replay
from kontor.replay.picture import equity_png
from kontor.replay.report import fills_csv, page, statistics, told
from kontor.replay.selection import chosen
from kontor.store.memory import MemoryStore
from tests.chaos import trading_day

START = datetime(2026, 1, 5, tzinfo=UTC)
TREND = {
    "use": "sma_cross",
    "symbols": ["BTC/USD:USD"],
    "parameters": {"timeframe": "1m", "fast": 3, "slow": 9},
    "exits": {"stop_loss_percent": 2},
}


def record(folder: Path, minutes: int = 130, name: str = "BTC-USD-SWAP") -> Path:
    """A price that swings around 60,000."""
    lines = ["ts,open,high,low,close,volume"]
    for minute in range(minutes):
        before, now = (60_000 * (1 + 0.01 * math.sin(m / 11)) for m in (minute - 1, minute))
        ts = int((START + timedelta(minutes=minute)).timestamp() * 1000)
        lines.append(f"{ts},{before:.1f},{max(before, now) + 3:.1f},{min(before, now) - 3:.1f},{now:.1f},50")
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder


def config(**strategies: dict[str, Any]) -> KontorConfig:
    return KontorConfig.model_validate({"strategies": strategies})


def run(folder: Path, settings: KontorConfig, **more: Any) -> ReplayResult:
    return replay(ReplayPlan(settings, folder, **more), MemoryStore(prefix="rply"))


def test_the_same_candles_give_the_same_fills_and_page_byte_for_byte(tmp_path: Path) -> None:
    folder = record(tmp_path / "candles")
    results = [run(folder, config(trend=TREND), begin=START + timedelta(minutes=30)) for _ in range(2)]
    first, second = results
    assert len(first.fills) >= 3
    assert fills_csv(first) == fills_csv(second)
    assert page(first, "x") == page(second, "x")
    picture = equity_png(first, "x")
    assert picture == equity_png(second, "x")
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000
    assert first.errors == {}
    assert first.begin == START + timedelta(minutes=30)


def test_the_final_equity_is_the_capital_with_what_was_earned_and_paid(tmp_path: Path) -> None:
    """Ours, computed from the fills, against the paper exchange's own account, to the cent."""
    result = run(record(tmp_path / "candles"), config(trend=TREND), begin=START + timedelta(minutes=30))
    figures = statistics(result)
    cash = sum((-fill.signed_quantity * fill.price for _, fill in result.fills), Decimal(0))
    held = sum((fill.signed_quantity for _, fill in result.fills), Decimal(0))
    fees = figures.fees["USD"]
    last = Decimal(str(round(60_000 * (1 + 0.01 * math.sin(129 / 11)), 1)))
    assert abs(result.capital + cash + held * last - fees - figures.final_equity) < Decimal("0.01")
    assert figures.fills == len(result.fills)
    assert figures.trades >= 1
    assert figures.max_drawdown_percent > 0
    assert fills_csv(result).count("\n") == figures.fills + 1


def test_an_interval_without_candles_and_a_wrong_folder_are_one_sentence(tmp_path: Path) -> None:
    folder = record(tmp_path / "candles", 60)
    with pytest.raises(ConfigError, match="nothing is recorded there; the candles reach from 2026-01-05"):
        run(folder, config(trend=TREND), begin=START + timedelta(days=2))
    with pytest.raises(ConfigError, match="no CSV files; expected one per market"):
        run(tmp_path / "nothing", config(trend=TREND))


def test_strategies_are_chosen_by_name() -> None:
    both = config(
        trend={**TREND, "capital_share_percent": 10}, other={**TREND, "capital_share_percent": 10, "enabled": False}
    )
    assert list(chosen(both, None).strategies) == ["trend"]
    assert chosen(both, ["other"]).strategies["other"].enabled
    with pytest.raises(ConfigError, match="has no strategy 'nope'; it has other, trend"):
        chosen(both, ["nope"])


def test_three_strategies_at_once_leave_books_that_equal_the_exchanges(tmp_path: Path) -> None:
    """An hour of the day that `make chaos` runs whole: fees in two coins, stops, limits, netting on one symbol."""
    result = trading_day.run(tmp_path / "candles", hours=1, seed=3)
    assert [each for each in trading_day.problems(result) if "never traded" not in each] == []
    assert result.apart == {}
    assert len(result.fills) >= 3
    assert "equals the exchange's bills" in dict(told(result, statistics(result)))["ledger"]
    assert result.positions_apart == {}
    assert dict(told(result, statistics(result)))["positions"] == "equal the exchange's"


def test_the_days_checks_can_fail() -> None:
    """A check that says nothing whatever happens proves nothing."""
    end = START + timedelta(hours=9)
    result = ReplayResult(START, end, Decimal(100_000), positions_apart={"SOL": Decimal("0.5")}, halted="lost")
    result.apart, result.orders, result.errors = {"USD": Decimal("0.01")}, {"REJECTED": 1}, {"oops": 2}
    found = "; ".join(trading_day.problems(result))
    for said in ("oops", "bills differ", "do not sum", "SOL", "no funding", "a limit was breached", "refused 1 orders"):
        assert said in found
    result.booked = {"funding": 1}
    assert "no funding" not in "; ".join(trading_day.problems(result))
