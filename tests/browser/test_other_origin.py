"""A page from somewhere else, open in the browser of somebody who is signed in to the desk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deployments.credentials import read_auth
from tests.support.browser import Page, running_browser
from tests.support.desk import RunningDesk

# What a page can try: a read, a change, a change that needs no preflight, and the socket that CORS does not guard.
TRY = """
const [api, ids, done] = [arguments[0], arguments[1], arguments[2]];
const attempt = (name, path, options) => fetch(api + path, options)
  .then(async answer => [name, answer.type, answer.status, answer.type === "opaque" ? "" : await answer.text()])
  .catch(error => [name, "blocked", 0, String(error)]);
const run = "/deployments/" + ids.deployment + "/create_flow_run";
const socket = new Promise(resolve => {
  const ws = new WebSocket(api.replace("http", "ws") + "/events/in", ["prefect"]);
  ws.onopen = () => ws.send(JSON.stringify({type: "auth", token: null}));
  ws.onmessage = message => resolve(["socket", "open", 0, message.data]);
  ws.onclose = event => resolve(["socket", "closed", event.code, ""]);
});
Promise.all([
  attempt("read", "/block_documents/" + ids.block + "?include_secrets=true", {credentials: "include"}),
  attempt("change", run, {method: "POST", body: "{}", headers: {"Content-Type": "application/json"}}),
  attempt("plain", run, {method: "POST", mode: "no-cors", credentials: "include", body: "{}"}),
  socket,
]).then(done);
"""


@contextmanager
def another_site() -> Iterator[str]:
    """A page on an origin of its own."""

    class Blank(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html><body>hello</body></html>")

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Blank) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.timeout(600)
def test_a_page_of_another_origin_starts_no_flow_and_reads_no_block(desk: RunningDesk, tmp_path: Path) -> None:
    """Any page somebody has open may ask 127.0.0.1 for anything."""
    block = desk.api("GET", "/block_types/slug/kontor-exchange-account/block_documents/name/paper")
    ids = {"block": block["id"], "deployment": desk.deployment("halt-trading/paper")["id"]}
    before = desk.runs("halt-trading/paper")
    with another_site() as site, running_browser(tmp_path / "profile") as browser:
        page = Page(browser)
        page.sign_in(desk.prefect_url, read_auth(desk.home))
        page.open(site)
        browser.set_script_timeout(60)
        results = {name: rest for name, *rest in browser.execute_async_script(TRY, f"{desk.prefect_url}/api", ids)}
    assert results["read"][0] == "blocked"
    assert results["change"][0] == "blocked"
    # Sent, but neither with the password nor with a token; the page does not even learn what came of it.
    assert results["plain"][:2] == ["opaque", 0]
    assert results["socket"][:2] == ["closed", 1008]
    assert desk.runs("halt-trading/paper") == before
