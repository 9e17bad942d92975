"""The documentation: built whole, loading nothing from elsewhere, and searched from the disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.browser import PATIENCE_SECONDS, Page, running_browser

REPOSITORY = Path(__file__).parents[2]
# What a page loads by itself, as opposed to where a link leads.
LOADED = re.compile(r"""<(?:script|img|iframe|link|source|video)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^"'> ]+""")
IMPORTED = re.compile(r"""(?:url\(|@import\s+)["']?(?:https?:)?//[^"') ]+""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make docs` makes; a broken link or anchor ends the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY, env=quiet)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with running_browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    """Who reads about a desk with money in it tells nobody that he does."""
    pages = {file.name: file.read_text(encoding="utf-8") for file in sorted(site.rglob("*.html"))}
    styles = {file.name: file.read_text(encoding="utf-8") for file in sorted(site.rglob("*.css"))}
    assert len(pages) > 30
    assert {name: found[0] for name, text in pages.items() if (found := LOADED.search(text))} == {}
    assert {name: found[0] for name, text in styles.items() if (found := IMPORTED.search(text))} == {}
    # The theme would load Mermaid for it.
    assert [name for name, text in pages.items() if 'class="mermaid"' in text] == []


def test_it_is_read_and_searched_from_the_disk(site: Path, browser: webdriver.Chrome, tmp_path: Path) -> None:
    """At the moment it is needed most the network may be what is broken."""
    page = Page(browser)
    page.open((site / "concepts.html").as_uri())
    picture = browser.find_element(By.CSS_SELECTOR, "img[src$='concepts.svg']")
    assert int(str(picture.get_property("naturalWidth"))) > 0
    page.picture(Path(os.environ.get("KONTOR_PICTURES", str(tmp_path))) / "concepts.png")
    browser.execute_script("document.querySelector('[data-md-component=search-query]').focus()")
    browser.find_element(By.CSS_SELECTOR, "[data-md-component=search-query]").send_keys("breaker.opened")
    waiting = WebDriverWait(browser, PATIENCE_SECONDS)
    results = (By.CSS_SELECTOR, ".md-search-result__link")
    found = waiting.until(lambda there: there.find_elements(*results), "nothing found")
    assert any("alerts.html" in str(each.get_attribute("href")) for each in found)
    page.picture(Path(os.environ.get("KONTOR_PICTURES", str(tmp_path))) / "search.png")
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
    assert [name for name in loaded if not name.startswith(("file:", "data:", "blob:"))] == []
