"""Trading by hand in Prefect's UI, as a person does it: the form of place-order, and Retry on its run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import DIALOG, Page, running_browser
from tests.support.desk import RunningDesk, wait_until

SYMBOL = "ETH/USD:USD"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with running_browser(tmp_path / "profile") as browser:
        yield Page(browser)


@pytest.mark.timeout(600)
def test_an_order_filled_in_and_submitted_in_the_ui_is_filled_once_even_after_pressing_retry(
    desk: RunningDesk, page: Page, tmp_path: Path
) -> None:
    """The form is how most people will trade, and Retry is the button they press when in doubt."""
    venue = desk.venue()
    held_before = _held(venue)
    trades_before = len(venue.fetch_my_trades(SYMBOL))
    runs_before = {run["id"] for run in desk.runs("place-order/paper")}

    page.open(f"{desk.prefect_url}/deployments/deployment/{desk.deployment('place-order/paper')['id']}/run")
    page.type_into("symbol", "textarea", SYMBOL)
    page.choose("side", "buy")
    # More digits than the form's arrows step by.
    page.type_into("quantity", "input", "0.123")
    page.choose("order_type", "market")
    page.picture(tmp_path / "form.png")
    page.press("Submit")

    run_id = _new_run(desk, runs_before)
    assert desk.wait_for_run(run_id)["state_type"] == "COMPLETED"
    page.open(f"{desk.prefect_url}/runs/flow-run/{run_id}")
    page.has_text("Completed")
    page.has_text("place-order")
    page.picture(tmp_path / "run.png")

    assert _held(venue) == pytest.approx(held_before + 0.123)
    trades_after = len(venue.fetch_my_trades(SYMBOL))
    assert trades_after > trades_before
    orders_after = len(venue.fetch_closed_orders(SYMBOL))

    page.press("Retry")
    page.press("Retry", inside=DIALOG)
    wait_until(lambda: desk.api("GET", f"/flow_runs/{run_id}")["run_count"] > 1, 60, "the run to begin again")
    assert desk.wait_for_run(run_id)["state_type"] == "COMPLETED"
    page.picture(tmp_path / "retried.png")
    assert len(venue.fetch_closed_orders(SYMBOL)) == orders_after
    assert len(venue.fetch_my_trades(SYMBOL)) == trades_after
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


def _held(venue: Any) -> float:
    """The position in base currency, as the venue has it."""
    return sum(float(each["contracts"]) * float(each["contractSize"]) for each in venue.fetch_positions([SYMBOL]))
