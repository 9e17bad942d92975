"""A desk against those who have no business with it: without credentials nothing can be read, and no flow started."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect

from deployments.credentials import read_auth, read_key
from deployments.paper_keys import read_keys
from tests.support.desk import RunningDesk

pytestmark = pytest.mark.timeout(900)

UNAUTHORIZED, FORBIDDEN = 401, 403
# Every way there is to learn a secret or to make something happen.
READS = [
    "/block_documents/{block}?include_secrets=true",
    "/flow_runs/{flow_run}",
    "/csrf-token?client=x",
    "/admin/version",
]
CHANGES = [
    "/deployments/{deployment}/create_flow_run",
    "/flow_runs/",
    "/block_documents/filter",
    "/flow_runs/filter",
    "/events",
    "/admin/database/clear",
]


def places(desk: RunningDesk) -> dict[str, str]:
    """Ids that exist, so that a refusal is not a mere 404."""
    block = desk.api("GET", "/block_types/slug/kontor-exchange-account/block_documents/name/paper")
    return {
        "block": block["id"],
        "deployment": desk.deployment("place-order/paper")["id"],
        "flow_run": desk.runs("update-tickers/paper")[0]["id"],
    }


@pytest.mark.parametrize("auth", [None, ("admin", "guessed"), ("admin", "")])
def test_without_the_password_curl_reads_no_block_and_starts_no_flow(
    desk: RunningDesk, auth: tuple[str, str] | None
) -> None:
    """An open Prefect API is a trading API."""
    there = places(desk)
    before = len(desk.runs("place-order/paper"))
    with httpx.Client(base_url=f"{desk.prefect_url}/api", auth=auth, timeout=30, trust_env=False) as curl:
        for path in READS:
            assert curl.get(path.format(**there)).status_code == UNAUTHORIZED, path
        for path in CHANGES:
            answer = curl.post(path.format(**there), json={})
            assert answer.status_code in {UNAUTHORIZED, FORBIDDEN}, path
            token = {"Prefect-Csrf-Token": "x", "Prefect-Csrf-Client": "x"}
            assert curl.post(path.format(**there), json={}, headers=token).status_code in {UNAUTHORIZED, FORBIDDEN}, (
                path
            )
    assert len(desk.runs("place-order/paper")) == before


def test_the_password_alone_changes_nothing_without_a_csrf_token(desk: RunningDesk) -> None:
    """A browser behind a proxy may send the password by itself; it does not send the token."""
    path = "/deployments/{deployment}/create_flow_run".format(**places(desk))
    answer = httpx.post(f"{desk.prefect_url}/api{path}", json={}, auth=desk.auth, timeout=30, trust_env=False)
    assert (answer.status_code, "CSRF" in answer.text) == (FORBIDDEN, True)


@pytest.mark.parametrize("way", ["events/in", "events/out", "logs/out"])
async def test_websockets_ask_for_the_password_as_well(desk: RunningDesk, way: str) -> None:
    """CORS does not hold for them, and an event can start a flow."""
    url = f"ws://127.0.0.1:{desk.prefect_port}/api/{way}"
    for word in (None, "admin:guessed"):
        async with connect(url, subprotocols=["prefect"], proxy=None) as socket:  # pyright: ignore[reportArgumentType]
            await socket.send(json.dumps({"type": "auth", "token": word}))
            await socket.wait_closed()
            assert socket.close_code == 1008


def test_secrets_are_in_no_database_in_no_log_and_in_no_process_list(desk: RunningDesk) -> None:
    """Who gets at a copy of the database, or at the list of processes, gets at no money."""
    keys = read_keys(desk.home.paper_keys_file)["paper"]
    auth, key = read_auth(desk.home), read_key(desk.home)
    secrets = [keys.api_key, keys.secret, keys.passphrase, auth.partition(":")[2], key]
    dump = _dump(desk.home.prefect_database)
    assert "kontor-exchange-account" in dump
    assert "ENCRYPTION_KEY" not in dump
    raw = b"".join(file.read_bytes() for file in desk.home.prefect_database.parent.glob("prefect.db*"))
    logs = "".join(file.read_text(errors="replace") for file in desk.home.logs.iterdir())
    record = desk.record()
    arguments = " ".join(" ".join(psutil.Process(each.pid).cmdline()) for each in [record.supervisor, *record.children])
    stored = _dump(desk.home.store_file)
    environment = desk.kontor("env").stdout
    for secret in secrets:
        found = [
            secret in dump, secret.encode() in raw, secret in stored, secret in logs, secret in arguments,
            secret in environment,
        ]  # fmt: skip
        assert not any(found), found
    private = [desk.home.auth_file, desk.home.encryption_key_file, desk.home.paper_keys_file]
    assert {file.stat().st_mode & 0o777 for file in private} == {0o600}
    assert desk.home.path.stat().st_mode & 0o777 == 0o700


def test_prefects_own_command_line_gets_in_through_kontor_env(desk: RunningDesk) -> None:
    """Nobody types a password for it."""
    output = desk.shell('prefect work-pool ls; echo "$PREFECT_API_AUTH_STRING" | head -c 6')
    assert output.returncode == 0, output.stderr
    assert "in-process" in output.stdout
    assert output.stdout.endswith("admin:")


def _dump(database: Path) -> str:
    """A database as SQL text."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        return "\n".join(connection.iterdump())
