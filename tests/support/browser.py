"""A headless Chromium of the system's own, with a profile that lasts one test session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
REMEDY = "Chromium and chromedriver are missing (Debian, Ubuntu: apt-get install chromium chromium-driver)"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1400,1700",
)
# A page of a busy server takes its time.
PATIENCE_SECONDS = 60


@contextmanager
def running_browser(profile: Path) -> Iterator[webdriver.Chrome]:
    """A browser; where there is none, the test is reported as not run with the remedy, and fails with CI=true."""
    binary = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"not run without a browser: {REMEDY}")
        pytest.skip(f"not run without a browser: {REMEDY}")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


DIALOG = "//*[contains(@class, 'p-modal__card')]"


class Page:
    """What a person does on a page of Prefect's UI."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser
        self._wait = WebDriverWait(browser, PATIENCE_SECONDS)

    def open(self, url: str) -> None:
        """Go to an address."""
        self.browser.get(url)

    def sign_in(self, url: str, line: str) -> None:
        """Open the UI and enter what it asks for, as a person does once for each browser."""
        self.open(url)
        self.find("//input[@type='password']").send_keys(line)
        self.press("Login")
        self._wait.until(lambda browser: "/login" not in browser.current_url, "still at the login page")

    def find(self, xpath: str) -> WebElement:
        """The element, once it is there and visible."""
        found = self._wait.until(lambda browser: _visible(browser, xpath), f"nothing visible at {xpath}")
        assert found is not None
        return found

    def has_text(self, text: str) -> None:
        """Wait until the page shows the text."""
        self._wait.until(
            lambda browser: text in browser.find_element(By.TAG_NAME, "body").text, f"no {text!r} on the page"
        )

    def holds(self, xpath: str, text: str) -> None:
        """Wait until this part of the page has the text, be it shown or in a list to choose from."""
        self._wait.until(
            lambda browser: any(
                text in (each.get_attribute("textContent") or "") for each in browser.find_elements(By.XPATH, xpath)
            ),
            f"no {text!r} in {xpath}",
        )

    def press(self, label: str, *, inside: str = "") -> None:
        """Press the button with this label; `inside` is an XPath that leads to it, such as a dialog's."""
        button = self.find(f"{inside}//button[normalize-space(.)='{label}' and not(@disabled)]")
        # The page scrolls inside a panel: a click by coordinates would miss what is below the fold.
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", button)

    def field(self, name: str, kind: str) -> WebElement:
        """The input of a parameter of Prefect's run form."""
        label = f"span[@class='schema-form-property__label' and starts-with(normalize-space(.), '{name}')]"
        return self.find(f"//div[contains(@class, 'schema-form-property')][.//{label}]//fieldset//{kind}")

    def type_into(self, name: str, kind: str, text: str) -> None:
        """Replace what a parameter's input holds."""
        element = self.field(name, kind)
        element.clear()
        element.send_keys(text)

    def write(self, label: str, text: str) -> None:
        """Replace what the input of any other form holds, by its label."""
        named = f".//label[normalize-space(.)='{label}']"
        element = self.find(f"//div[contains(@class, 'p-label') and {named}]//*[self::input or self::textarea]")
        element.clear()
        element.send_keys(text)

    def choose(self, name: str, value: str) -> None:
        """Choose from a parameter's list."""
        option = self.field(name, f"option[@value='{value}']")
        option.click()

    def moves_to(self, part: str) -> str:
        """Wait until the browser's address contains this; returns the address."""
        self._wait.until(lambda browser: part in browser.current_url, f"the address never had {part}")
        return self.browser.current_url

    def picture(self, file: Path) -> None:
        """A screenshot."""
        assert self.browser.save_screenshot(str(file))


def _visible(browser: webdriver.Chrome, xpath: str) -> WebElement | None:
    return next((each for each in browser.find_elements(By.XPATH, xpath) if each.is_displayed()), None)
