"""Figures for Prometheus: of an account, its orders, books and runs, and a dashboard that asks for no others."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from deployments.desk_status import DeskStatus
from deployments.home import Home
from deployments.metrics.desk import DeskCollector, from_inside, from_outside, metrics
from deployments.metrics.endpoint import new_registry, serving
from deployments.metrics.following import StoreFigures, in_a_thread, recent_accounts
from deployments.metrics.ledger import LedgerFigures
from deployments.metrics.merged import DESK, MergedCollector
from deployments.metrics.orders import OrderFigures
from deployments.metrics.resources import ResourcesCollector
from deployments.metrics.runs import RunFigures
from deployments.stores import opened
from kontor.domain.fill import Fill
from kontor.domain.ledger import EntryKind, LedgerEntry
from kontor.domain.order import Order, OrderState, OrderType, Side, advance
from kontor.execution.drift import OPENING
from kontor.execution.halt import halt
from kontor.store.memory import MemoryStore
from kontor.trading.ledger import read_ledger
from tests.unit.cli.figures import NOW, REPOSITORY, status, value


def figures(status: DeskStatus) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics(status, NOW)
        for sample in family.samples
    }


def test_every_figure_of_the_status_is_a_gauge() -> None:
    """What a person sees in `kontor status` an alert rule can see as well."""
    found = figures(status())
    assert found["kontor_updater_age_seconds", "paper", "update-tickers"] == 3
    assert ("kontor_updater_age_seconds", "paper", "update-ranges") not in found
    assert found["kontor_updater_ok", "paper", "update-ranges"] == 0
    assert found["kontor_orders", "paper", "INITIALIZED"] == 1
    assert found["kontor_oldest_unknown_seconds", "paper"] == 42
    assert found["kontor_halted", "paper"] == 1
    assert found["kontor_balance", "paper", "USD", "free"] == 9000.5
    assert found["kontor_position_quantity", "paper", "BTC/USD:USD", "long"] == 0.1
    assert found["kontor_unrealized_pnl", "paper", "BTC/USD:USD", "long"] == 10
    assert found["kontor_breaker_not_closed", "paper", "orders", "okx orders", "open"] == 1
    assert found["kontor_stream_fresh", "paper", "tickers"] == 1
    assert found["kontor_stream_unknown_total", "paper", "stream-market", "arg,notice"] == 7
    assert found["kontor_stream_unreadable_total", "paper", "stream-market"] == 2
    assert found["kontor_clock_drift_seconds", "paper"] == -0.25
    assert found["kontor_stream_age_seconds", "paper", "tickers"] == 2
    assert found["kontor_equity", "paper"] == 10100.5
    assert found["kontor_initial_capital", "paper"] == 10000


def exported() -> set[str]:
    """The name of every metric that some process of a desk has."""
    registry = CollectorRegistry()
    RunFigures(registry)
    StoreFigures(registry)
    loop = asyncio.new_event_loop()
    try:
        registry.register(ResourcesCollector(loop))
        found = {family.name for family in registry.collect()}
    finally:
        loop.close()
    return found | {family.name for family in metrics(status(), NOW)} | {"kontor_up", "kontor_process_up"}


def test_the_dashboard_asks_only_for_what_there_is_and_for_all_that_matters() -> None:
    """A renamed metric would leave an empty panel that looks like a quiet desk."""
    dashboard: dict[str, Any] = json.loads((REPOSITORY / "docs/grafana/kontor.json").read_text())
    asked = {
        re.sub(r"_(bucket|sum|count|total)$", "", name)
        for panel in dashboard["panels"]
        for each in panel["targets"]
        for name in re.findall(r"kontor_\w+", each["expr"])
    }
    there = exported()
    assert asked <= there
    assert there - asked <= {"kontor_status_read_at_seconds", "kontor_run_seconds", "kontor_rate_budget_burst"}
    documented = set(re.findall(r"`(kontor_\w+)`", (REPOSITORY / "docs/metrics.md").read_text()))
    assert documented == there
    places = [tuple(panel["gridPos"][side] for side in "xywh") for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)


async def test_an_account_that_cannot_be_read_is_down_and_hides_no_other(tmp_path: Path) -> None:
    """A scrape that fails as a whole would look like a network problem."""
    home = Home(tmp_path / "home")
    served = CollectorRegistry()
    served.register(DeskCollector(lambda: ["paper"], from_outside(home)))
    assert 'kontor_up{account="paper"} 0.0' in (await asyncio.to_thread(generate_latest, served)).decode()
    home.make()
    async with opened(home.default_store_url) as store:
        await store.migrate()
        await halt(store.desk, "paper", "by hand", actor="test", at=NOW)
    text = (await asyncio.to_thread(generate_latest, served)).decode()
    assert 'kontor_up{account="paper"} 1.0' in text
    assert 'kontor_halted{account="paper"} 1.0' in text


async def test_a_process_reads_the_store_that_it_has_open_and_every_family_comes_once() -> None:
    """Two accounts of one desk; Prometheus refuses a page on which a family comes twice."""

    async def look(account: str) -> DeskStatus:
        return replace(status(), account=account)

    served = CollectorRegistry()
    served.register(DeskCollector(lambda: ["paper", "other"], from_inside(asyncio.get_running_loop(), look)))
    text = (await asyncio.to_thread(generate_latest, served)).decode()
    assert text.count("# TYPE kontor_halted gauge") == 1
    assert 'kontor_halted{account="paper"} 1.0' in text
    assert 'kontor_halted{account="other"} 1.0' in text


PLACED = Order("k1", "paper", "BTC/USD:USD", Side.BUY, OrderType.LIMIT, Decimal(1), NOW, price=Decimal(50000))


async def test_latencies_come_from_the_history_of_the_orders_and_each_counts_once() -> None:
    """What happened before, a refusal of our own, and a cancel are no latencies."""
    store, registry = MemoryStore(), new_registry()
    await store.orders.enqueue([replace(PLACED, client_order_id="before")], "test")
    following = asyncio.create_task(OrderFigures(registry).follow(store, lambda: ["paper"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    sent = advance(PLACED, OrderState.SUBMITTED, NOW + timedelta(milliseconds=20))
    live = advance(sent, OrderState.ACCEPTED, NOW + timedelta(milliseconds=70))
    gone = advance(live, OrderState.CANCELED, NOW + timedelta(seconds=9))
    await store.orders.enqueue([PLACED, replace(PLACED, client_order_id="k2")], "test")
    denied = replace(PLACED, client_order_id="k2")
    steps = [(PLACED, sent), (sent, live), (live, gone), (denied, advance(denied, OrderState.DENIED, NOW))]
    for old, new in steps:
        assert new.updated_at is not None
        await store.orders.record([(old, new)], actor="t", at=new.updated_at)
    fill = Fill("t1", "BTC/USD:USD", Side.BUY, Decimal(1), Decimal(50000), NOW, "v1", "k1")
    await store.orders.save_fills("paper", [fill])
    async with asyncio.timeout(30):
        while value(registry, "kontor_fills_total", account="paper", side="buy") < 1:  # noqa: ASYNC110 - a counter tells nobody
            await asyncio.sleep(0.01)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert value(registry, "kontor_order_ack_seconds_count", account="paper") == 1
    assert value(registry, "kontor_order_ack_seconds_sum", account="paper") == pytest.approx(0.07)
    assert value(registry, "kontor_order_queued_seconds_sum", account="paper") == pytest.approx(0.02)
    states = {"INITIALIZED": 2, "SUBMITTED": 1, "ACCEPTED": 1, "CANCELED": 1, "DENIED": 1}
    for state, count in states.items():
        assert value(registry, "kontor_order_transitions_total", account="paper", state=state) == count


def trade(source: str, quantity: str, price: str, strategy: str | None, fee: str = "1") -> LedgerEntry:
    figures = {"quantity": Decimal(quantity), "price": Decimal(price), "fee": Decimal(fee), "fee_currency": "USD"}
    return LedgerEntry(source, EntryKind.TRADE, NOW, "BTC/USD:USD", strategy, **figures)  # pyright: ignore[reportArgumentType]


async def test_what_each_strategy_has_realized_comes_from_the_ledger() -> None:
    """Unrealized profit alone would show a strategy that closes its losses as one that never loses."""
    store, registry = MemoryStore(), new_registry()
    entries = [trade("1", "1", "100", "breakout"), trade("2", "-1", "90", "breakout"), trade("3", "1", "50", None)]
    entries.append(LedgerEntry("4", EntryKind.FUNDING, NOW, "BTC/USD:USD", currency="USD", amount=Decimal(-3)))
    await store.account.book("paper", entries)
    figures = LedgerFigures(registry)
    await figures.refresh(store, ["paper", "other"])
    who = {"account": "paper", "strategy": "breakout"}
    assert value(registry, "kontor_realized_pnl", **who) == -10
    assert value(registry, "kontor_trading_fees", **who) == 2
    by_hand = {"account": "paper", "strategy": "manual"}
    assert value(registry, "kontor_realized_pnl", **by_hand) == 0
    assert value(registry, "kontor_funding", **by_hand) == -3
    await store.account.book("paper", [trade("5", "-1", "80", None)])
    await figures.refresh(store, ["paper"])
    assert value(registry, "kontor_realized_pnl", **by_hand) == 30


async def test_what_people_close_of_a_strategys_position_is_that_strategys_profit_here_too() -> None:
    """As `kontor ledger` has it: it told +20 of the strategy, these figures 0, and a loss of people later on."""
    store, registry = MemoryStore(), new_registry()
    bought, closed = trade("1", "2", "100", "breakout"), trade("2", "-2", "110", None)
    await store.account.book("paper", [bought, closed])
    figures = LedgerFigures(registry)
    await figures.refresh(store, ["paper"])
    # Not known before the first reconciliation: nothing is shared out.
    assert value(registry, "kontor_trading_fees", account="paper", strategy="manual") == 1
    await store.desk.set_attribute("paper", OPENING, {}, NOW)
    await figures.refresh(store, ["paper"])
    who = {"account": "paper", "strategy": "breakout"}
    assert value(registry, "kontor_realized_pnl", **who) == 20
    assert value(registry, "kontor_trading_fees", **who) == 2
    assert registry.get_sample_value("kontor_trading_fees", {"account": "paper", "strategy": "manual"}) is None
    shown = (await read_ledger(store, "paper")).profit(UTC)
    assert {line.strategy: line.realized for line in shown} == {"breakout": 20}
    await store.desk.set_attribute("paper", OPENING, {"BTC/USD:USD": "2"}, NOW)
    await figures.refresh(store, ["paper"])
    # They held that much before the desk began: they closed their own.
    assert value(registry, "kontor_realized_pnl", **who) == 0


async def test_without_the_page_kontor_metrics_counts_orders_itself_and_finds_new_accounts(tmp_path: Path) -> None:
    """KONTOR_WEB_PORT=off must not take the latencies away; nor a deployment that was added an hour later."""
    home = Home(tmp_path / "home")
    home.make()
    accounts, counted = ["paper"], CollectorRegistry()
    async with opened(home.default_store_url) as store:
        await store.migrate()
        with in_a_thread(StoreFigures(counted), home, lambda: accounts):
            async with asyncio.timeout(60):
                number = 0
                # It counts from when it began to look: nothing tells us when that was.
                while value(counted, "kontor_order_transitions_total", account="late", state="INITIALIZED") < 1:
                    number += 1
                    accounts[:] = ["paper", "late"]
                    order = replace(PLACED, client_order_id=f"late{number}", account="late")
                    await store.orders.enqueue([order], "test")
                    await asyncio.sleep(0.2)
    served = CollectorRegistry()
    served.register(MergedCollector(home.metrics, lambda: (), counted.collect))
    text = generate_latest(served).decode()
    assert 'kontor_order_transitions_total{account="late",process="metrics",state="INITIALIZED"}' in text
    with serving(home.metrics, DESK, new_registry()):
        assert "late" not in generate_latest(served).decode()


def test_the_accounts_that_are_counted_are_those_of_the_file_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live account that is added later must not be missing from every dashboard."""
    monkeypatch.chdir(tmp_path)
    now = 0.0
    monkeypatch.setattr("deployments.metrics.following.time.monotonic", lambda: now)
    entry = "{name: %s, entrypoint: flows.account.update_balance, parameters: {account: %s}}"
    (tmp_path / "prefect.yaml").write_text(f"deployments: [{entry % ('paper', 'paper')}]")
    accounts = recent_accounts()
    assert accounts() == ["paper"]
    (tmp_path / "prefect.yaml").write_text(f"deployments: [{entry % ('live', 'live')}]")
    assert accounts() == ["paper"]
    now = 31.0
    assert accounts() == ["live"]
    assert recent_accounts("main")() == ["main"]


def test_runs_are_counted_with_how_late_and_how_they_ended() -> None:
    """Lateness is what a schedule of seconds is judged by."""
    registry = new_registry()
    figures = RunFigures(registry)
    deployed = SimpleNamespace(flow_name="update-tickers", deployment=SimpleNamespace(name="paper"))
    due = datetime.now(UTC) - timedelta(seconds=3)
    run: Any = SimpleNamespace(deployed=deployed, due_at=due, running_for=lambda: 0.5)
    names = {"flow": "update-tickers", "deployment": "paper"}
    figures.began(run)
    assert value(registry, "kontor_runs_active") == 1
    figures.ended(run, SimpleNamespace(name="Streamed"))
    figures.began(run)
    figures.ended(run, None)
    assert value(registry, "kontor_runs_active") == 0
    assert value(registry, "kontor_runs_total", **names, state="Streamed") == 1
    assert value(registry, "kontor_runs_total", **names, state="Stopped") == 1
    assert value(registry, "kontor_run_lateness_seconds_bucket", **names, le="2.5") == 0
    assert value(registry, "kontor_run_lateness_seconds_bucket", **names, le="5.0") == 2
    assert value(registry, "kontor_run_seconds_sum", **names) == 1.0
