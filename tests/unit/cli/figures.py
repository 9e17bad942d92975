"""What tests of the figures share: an account of which everything is known, and a sample's value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from prometheus_client import CollectorRegistry

from deployments.desk_status import DeskStatus
from kontor.domain.account import Balance, Position, PositionSide
from kontor.domain.health import UpdaterHealth
from kontor.execution.halt import Halt
from kontor.resilience.breaker_state import ReportedBreaker
from kontor.resilience.circuit_breaker import BreakerState, BreakerStatus
from kontor.streams.freshness import ChannelState
from kontor.streams.messages import StreamMessages

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PRICES = (Decimal("0.1"), Decimal(50000), Decimal(50100), Decimal(10))
HELD = Position("BTC/USD:USD", PositionSide.LONG, *PRICES, None, None, None, NOW)
REPOSITORY = Path(__file__).resolve().parents[3]


def status() -> DeskStatus:
    """An account of which everything is known."""
    return DeskStatus(
        "http://127.0.0.1:4200",
        "paper",
        (
            UpdaterHealth("update-tickers", timedelta(seconds=10), NOW, timedelta(seconds=3), ok=True, reason=""),
            UpdaterHealth("update-ranges", timedelta(minutes=5), None, None, ok=False, reason="never reported"),
        ),
        {"FILLED": 2, "INITIALIZED": 1},
        (HELD,),
        Balance("USD", Decimal("9500.5"), Decimal("9000.5"), Decimal(500), NOW, {}),
        breakers=(ReportedBreaker("orders", BreakerStatus("okx orders", BreakerState.OPEN), NOW),),
        streams=(ChannelState("tickers", "market", is_fresh=True, at=NOW - timedelta(seconds=2), since=NOW),),
        stream_messages={"stream-market": StreamMessages({"arg,notice": 7}, 2)},
        halt=Halt("the key was refused", "updater", NOW),
        oldest_unknown=timedelta(seconds=42),
        clock_drift={"seconds": -0.25},
        equity=Decimal("10100.5"),
        initial_capital=Decimal(10000),
    )


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    found = registry.get_sample_value(name, labels)
    return -1.0 if found is None else found
