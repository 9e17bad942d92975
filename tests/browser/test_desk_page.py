"""The desk's page in a browser, as a person opens it: signs in, sees an order happen, chooses another account."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from deployments.credentials import read_auth
from tests.support.browser import Page, running_browser
from tests.support.desk import RunningDesk

SWAP = "BTC/USD:USD"
SIZES = {"wide": (1400, 1600), "narrow": (420, 1600)}
# The chart library puts the style of a map that nobody draws into the page: the policy stops it; nothing is missing.
MAP_STYLE = "inline style"
# What the page has drawn, by what plotly keeps of it.
DRAWN = """
const price = document.getElementById('price'), equity = document.getElementById('equity');
if (!price.data || !equity.data) return null;
return {
  candles: price.data[0].x.length, bought: price.data[2].x.length, placed: price.data[1].x.length,
  lines: price.layout.shapes.length, equity: equity.data[0].x.length,
  boxes: document.querySelectorAll('#price .boxlayer path.box, #price .cartesianlayer .trace path').length,
  overflow: Math.max(...[document.documentElement, price, equity].map(each => each.scrollWidth - each.clientWidth)),
};
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """One for all of them: starting one takes seconds."""
    with running_browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def enter(page: Page, desk: RunningDesk) -> None:
    """Sign in with what `kontor up` says opens both."""
    page.open(f"{desk.page_url}/login")
    page.find("//input[@type='password']").send_keys(read_auth(desk.home))
    page.press("Sign in")
    page.has_text("Queue and open orders")


def drawn(browser: webdriver.Chrome, **least: int) -> dict[str, Any]:
    """What is drawn, once there is at least so much of each."""

    def look(_: Any) -> dict[str, Any] | None:
        found = browser.execute_script(DRAWN)
        return found if found and all(found[name] >= count for name, count in least.items()) else None

    found = WebDriverWait(browser, 90).until(look, f"never drawn: {least}, but {browser.execute_script(DRAWN)}")
    assert found is not None
    return found


def fits(browser: webdriver.Chrome, what: str) -> None:
    """Wait until page and charts have the window's width: charts are redrawn a moment after it has changed."""
    WebDriverWait(browser, 60).until(lambda _: drawn(browser, candles=30)["overflow"] <= 0, f"wider than {what}")


def show(browser: webdriver.Chrome, size: str, scheme: str) -> None:
    """A window of this width for somebody who prefers light or dark."""
    width, height = SIZES[size]
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.mark.timeout(600)
def test_an_order_appears_on_the_page_while_one_looks_and_nothing_comes_from_elsewhere(
    desk: RunningDesk, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    """Candles, the order's marker, its fill, equity and health; light and dark, wide and narrow."""
    assert desk.status()["page_url"] == desk.page_url
    assert desk.pid("page") not in {0, desk.pid("worker orders"), desk.pid("worker updates")}
    page = Page(browser)
    enter(page, desk)
    page.open(f"{desk.page_url}/?symbol={SWAP}")
    before = drawn(browser, candles=30, equity=1)
    page.has_text("live")
    # Not real money: the header says so, and a live account's tab would too.
    assert page.find("//header//*[@id='mode']").text == "paper" == desk.status()["mode"]
    assert not browser.title.startswith("LIVE")

    run = desk.run("place-order/paper", symbol=SWAP, side="buy", quantity=0.1, order_type="market")
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    last = desk.venue().fetch_ticker(SWAP)["last"]
    resting = {"symbol": SWAP, "side": "buy", "quantity": 0.1, "order_type": "limit", "price": round(last * 0.95, 1)}
    assert desk.run("place-order/paper", **resting)["state_type"] == "COMPLETED"
    try:
        after = drawn(browser, candles=30, bought=before["bought"] + 1, lines=2, placed=1)
        assert after["boxes"] >= 30
        page.has_text("ACCEPTED")
        page.has_text("update-tickers")
        for size in SIZES:
            for scheme in ("light", "dark"):
                show(browser, size, scheme)
                fits(browser, f"{size} {scheme}")
                page.picture(tmp_path / f"page-{size}-{scheme}.png")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        assert desk.run("cancel-orders/paper", symbol=SWAP)["state_type"] == "COMPLETED"
    assert all(picture.stat().st_size > 20_000 for picture in tmp_path.glob("page-*.png"))
    places = browser.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
    assert any(place.endswith("/static/plotly.min.js") for place in places)
    assert [place for place in places if not place.startswith((desk.page_url, "data:"))] == []
    complaints = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]  # pyright: ignore[reportUnknownMemberType]
    assert [text for text in complaints if MAP_STYLE not in text] == []


@pytest.mark.timeout(600)
def test_without_the_password_the_page_shows_nothing(desk: RunningDesk, browser: webdriver.Chrome) -> None:
    """A wrong one is said to be wrong, and signing out takes the sight away again."""
    page = Page(browser)
    page.open(f"{desk.page_url}/login")
    browser.delete_all_cookies()
    page.open(desk.page_url)
    page.find("//input[@type='password']").send_keys("admin:guess")
    page.press("Sign in")
    page.has_text("That is not the password.")
    enter(page, desk)
    page.press("Sign out")
    page.moves_to("/login")
    page.open(desk.page_url)
    page.moves_to("/login")
    assert browser.find_elements(By.ID, "price") == []


@pytest.mark.timeout(600)
def test_the_status_check_shows_the_account_under_artifacts_with_the_equity_curve_as_a_picture(
    desk: RunningDesk, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    """For somebody who has Prefect's UI open and nothing else."""
    assert desk.run("check-system-status/paper")["state_type"] == "COMPLETED"
    page = Page(browser)
    page.sign_in(desk.prefect_url, read_auth(desk.home))
    for key in ("positions-paper", "open-orders-paper", "last-fills-paper", "system-status-paper", "equity-paper"):
        found = desk.api("POST", "/artifacts/filter", {"artifacts": {"key": {"any_": [key]}}})
        assert 1 <= len(found) <= 12 + 1, key
    newest = desk.api("POST", "/artifacts/latest/filter", {"artifacts": {"key": {"any_": ["equity-paper"]}}})[0]
    page.open(f"{desk.prefect_url}/artifacts/artifact/{newest['latest_id']}")
    picture = page.find("//img[starts-with(@src, 'data:image/png')]")
    assert browser.execute_script("return arguments[0].naturalWidth", picture) == 800
    page.picture(tmp_path / "equity.png")
