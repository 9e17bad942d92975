"""Trading by hand in Prefect's UI, as a person does it: the form of place-order, and Retry on its run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.credentials import read_auth
from tests.support.browser import DIALOG, Page, running_browser
from tests.support.desk import RunningDesk, wait_until

# More digits than the form's arrows step by, of a contract; and a coin itself.
ORDERS = [("ETH/USD:USD", 0.123), ("SOL/USD", 0.1)]
# OKX takes the fee of a spot purchase in the coin that was bought.
FEE = 0.002


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with running_browser(tmp_path / "profile") as browser:
        yield Page(browser)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("symbol", "quantity"), ORDERS)
def test_an_order_filled_in_and_submitted_in_the_ui_is_filled_once_even_after_pressing_retry(
    desk: RunningDesk, page: Page, tmp_path: Path, symbol: str, quantity: float
) -> None:
    """The form is how most people will trade, and Retry is the button they press when in doubt."""
    venue = desk.venue()
    held_before = _held(venue, symbol)
    trades_before = len(venue.fetch_my_trades(symbol))
    runs_before = {run["id"] for run in desk.runs("place-order/paper")}

    page.sign_in(desk.prefect_url, read_auth(desk.home))
    page.open(f"{desk.prefect_url}/deployments/deployment/{desk.deployment('place-order/paper')['id']}/run")
    page.type_into("symbol", "textarea", symbol)
    page.choose("side", "buy")
    page.type_into("quantity", "input", str(quantity))
    page.choose("order_type", "market")
    page.picture(tmp_path / "form.png")
    page.press("Submit")

    run_id = _new_run(desk, runs_before)
    assert desk.wait_for_run(run_id)["state_type"] == "COMPLETED"
    page.open(f"{desk.prefect_url}/runs/flow-run/{run_id}")
    page.has_text("Completed")
    page.has_text("place-order")
    page.picture(tmp_path / "run.png")

    assert _held(venue, symbol) - held_before == pytest.approx(quantity, rel=FEE)
    trades_after = len(venue.fetch_my_trades(symbol))
    assert trades_after > trades_before
    orders_after = len(venue.fetch_closed_orders(symbol))

    page.press("Retry")
    page.press("Retry", inside=DIALOG)
    wait_until(lambda: desk.api("GET", f"/flow_runs/{run_id}")["run_count"] > 1, 60, "the run to begin again")
    assert desk.wait_for_run(run_id)["state_type"] == "COMPLETED"
    page.picture(tmp_path / "retried.png")
    assert len(venue.fetch_closed_orders(symbol)) == orders_after
    assert len(venue.fetch_my_trades(symbol)) == trades_after
    wait_until(lambda: _shown(desk, symbol) == pytest.approx(_held(venue, symbol)), 90, f"{symbol} in kontor status")
    assert all(picture.stat().st_size > 10_000 for picture in tmp_path.glob("*.png"))


def _new_run(desk: RunningDesk, known: set[str]) -> str:
    """The run the form has just made."""
    found: list[str] = []

    def is_there() -> bool:
        found[:] = [run["id"] for run in desk.runs("place-order/paper") if run["id"] not in known]
        return bool(found)

    wait_until(is_there, 60, "the form's run")
    assert len(found) == 1
    return found[0]


def _held(venue: Any, symbol: str) -> float:
    """What there is of a symbol in base currency, as the venue has it."""
    if ":" not in symbol:
        return float(venue.fetch_balance()["total"].get(symbol.partition("/")[0], 0.0))
    return sum(float(each["contracts"]) * float(each["contractSize"]) for each in venue.fetch_positions([symbol]))


def _shown(desk: RunningDesk, symbol: str) -> float:
    """The same, as `kontor status` has it."""
    status = desk.status()
    if ":" not in symbol:
        return status["balance"]["currencies"].get(symbol.partition("/")[0], {"total": 0.0})["total"]
    return sum(each["quantity"] for each in status["positions"] if each["symbol"] == symbol)
