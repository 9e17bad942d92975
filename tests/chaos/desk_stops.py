"""A desk that is stopped in good order and taken up again, and one whose venue fails until its breakers open."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from deployments.executor import LONG_RUNNING
from tests.support.desk import RunningDesk, put_away, wait_until

pytestmark = pytest.mark.timeout(900)

SWAP = "BTC/USD:USD"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    """A desk that is up."""
    with put_away(RunningDesk.planned(tmp_path_factory.mktemp("stops") / "home")) as made:
        output = made.up()
        assert output.returncode == 0, output.stdout + output.stderr
        yield made


def live(desk: RunningDesk, flow: str) -> list[dict[str, Any]]:
    """Runs of a long-running deployment that are at work."""
    return [run for run in desk.runs(f"{flow}/paper") if run["state_type"] == "RUNNING"]


def of_requests(desk: RunningDesk, change: str, since: datetime) -> list[dict[str, Any]]:
    """Changes of breakers of requests, as Prefect's API tells them; the UI's event feed asks the same."""
    name = f"kontor.breaker.{change}"
    occurred = {"since": since.isoformat(), "until": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()}
    wanted = {"filter": {"event": {"name": [name]}, "occurred": occurred}, "limit": 50}
    found = desk.api("POST", "/events/filter", wanted)["events"]
    groups = tuple(f"kontor.breaker.paper.okx-{group}" for group in ("market", "account", "orders", "cancels"))
    return [event for event in found if event["resource"]["prefect.resource.id"].startswith(groups)]


def test_an_open_breaker_is_an_event_in_prefect_and_so_is_its_end(desk: RunningDesk) -> None:
    """An automation acts on it; a person sees it among the events of the UI."""
    since = datetime.now(UTC)
    faults = f"http://127.0.0.1:{desk.paper_port}/admin/faults"
    with httpx.Client(trust_env=False) as client:
        rule = {"path": "/api/*", "method": "GET", "kind": "http_502", "probability": 1.0}
        client.post(faults, json=rule).raise_for_status()
        # Updates come every half minute, and the stream reconciles every minute: five calls in a row need a while.
        wait_until(lambda: bool(of_requests(desk, "opened", since)), 240, "a breaker to open")
        assert desk.status()["breakers"]
        client.delete(faults).raise_for_status()
    [first, *_] = sorted(of_requests(desk, "opened", since), key=lambda event: event["occurred"])
    assert first["resource"]["kontor.account"] == "paper"
    assert first["payload"]["state"] == "open"
    assert first["payload"]["failures"] >= 5
    assert "502" in first["payload"]["reason"]
    wait_until(lambda: bool(of_requests(desk, "closed", since)), 120, "the breaker to close")
    wait_until(lambda: not desk.status()["breakers"], 60, "the status to be well again")


def test_shutdown_ends_live_runs_and_initialize_takes_the_account_up_again(desk: RunningDesk) -> None:
    """Streams and executor are canceled and stay so; orders are gone at the venue, and new ones refused."""
    wait_until(lambda: all(live(desk, flow) for flow in LONG_RUNNING), 60, "all long-running flows")
    price = round(float(desk.venue().fetch_ticker(SWAP)["last"]) * 0.97, 1)
    rests = {"symbol": SWAP, "side": "buy", "quantity": 0.1, "order_type": "limit", "price": price}
    assert desk.run("place-order/paper", **rests)["state_type"] == "COMPLETED"
    assert len(desk.venue().fetch_open_orders(SWAP)) == 1

    stopped = desk.run("shutdown/paper", cancel_orders=True, wait_seconds=30)
    assert stopped["state_type"] == "COMPLETED", stopped["state"]["message"]
    assert not desk.venue().fetch_open_orders(SWAP)
    for flow in LONG_RUNNING:
        [last, *_] = desk.runs(f"{flow}/paper")
        assert last["state_type"] == "CANCELLED", flow
    channels = desk.status()["streams"]
    assert [name for name, each in channels.items() if each["fresh"]] == []
    refused = desk.run("place-order/paper", symbol=SWAP, side="buy", quantity=0.1, order_type="market")
    assert refused["state_type"] == "FAILED"
    assert "the flow 'initialize' opens the gate" in refused["state"]["message"]
    # Neither a trigger nor the desk's own watch starts again what a person has stopped.
    later = desk.run("update-balance/paper")
    assert later["state_name"] == "Waiting"
    assert not any(live(desk, flow) for flow in LONG_RUNNING)

    again = desk.run("initialize/paper")
    assert again["state_type"] == "COMPLETED", again["state"]["message"]
    for flow in LONG_RUNNING:
        desk.start(f"{flow}/paper")
    wait_until(lambda: all(live(desk, flow) for flow in LONG_RUNNING), 60, "all long-running flows")
    placed = desk.run("place-order/paper", symbol=SWAP, side="buy", quantity=0.1, order_type="market")
    assert placed["state_type"] == "COMPLETED", placed["state"]["message"]
