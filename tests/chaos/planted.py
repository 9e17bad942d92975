"""Faults planted on a running desk: at the venue, in its files and databases, on its processes and its blocks."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.support.desk import RunningDesk


class Discord:
    """A webhook that is there, or not any more."""

    def __init__(self) -> None:
        self.status = HTTPStatus.OK
        self.titles: list[str] = []

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The webhook's address."""
        channel = self

        class Answer(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.command == "POST" and channel.status is HTTPStatus.OK:
                    channel.titles += [embed["title"] for embed in json.loads(body).get("embeds", ())]
                self.send_response(channel.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - named by the library

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/api/webhooks/1098765432109876543/{'t' * 60}"
            finally:
                server.shutdown()
                thread.join()


@contextmanager
def at_the_venue(desk: RunningDesk, **rule: Any) -> Iterator[None]:
    """The paper exchange misbehaves."""
    with httpx.Client(base_url=f"http://127.0.0.1:{desk.paper_port}", trust_env=False) as client:
        client.post("/admin/faults", json={"probability": 1, **rule}).raise_for_status()
        try:
            yield
        finally:
            client.delete("/admin/faults").raise_for_status()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that hangs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def content(path: Path, new: bytes) -> Iterator[None]:
    """A file that holds something else."""
    old, mode = path.read_bytes(), path.stat().st_mode
    path.write_bytes(new)
    try:
        yield
    finally:
        path.write_bytes(old)
        path.chmod(mode & 0o777)


@contextmanager
def changed(database: Path, statement: str, undo: str) -> Iterator[None]:
    """A database that somebody has written to."""
    for text in (statement, None, undo):
        if text is None:
            yield
            continue
        with closing(sqlite3.connect(database, isolation_level=None, timeout=30)) as connection:
            connection.execute(text)


def save_block(desk: RunningDesk, code: str) -> None:
    done = desk.shell(f"python - <<'END'\n{code}\nEND")
    assert done.returncode == 0, done.stderr


def key_at_the_venue(desk: RunningDesk, key: str) -> None:
    """The account gets another key at the exchange: the old one is revoked."""
    kept = json.loads(desk.home.paper_keys_file.read_text())["paper"]
    account = {"name": "paper", "api_key": key, "secret": kept["secret"], "passphrase": kept["passphrase"]}
    url = f"http://127.0.0.1:{desk.paper_port}/admin/accounts"
    httpx.post(url, json=account, trust_env=False).raise_for_status()


def set_key(desk: RunningDesk, expression: str) -> None:
    """Edit the account's block, as a person does in the UI."""
    save_block(
        desk,
        "from pydantic import SecretStr\nfrom blocks.exchange_account import ExchangeAccount\n"
        f"block = ExchangeAccount.load('paper')\nblock.api_key = SecretStr({expression})\n"
        "block.save('paper', overwrite=True)",
    )
