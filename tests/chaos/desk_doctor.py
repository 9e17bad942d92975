"""`kontor doctor` on a real desk: green while all is well, and each planted fault found and named, nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http import HTTPStatus
from pathlib import Path

import psutil
import pytest

from deployments.credentials import new_key
from deployments.home import Home
from deployments.instance import DeskRecord, ProcessRef
from tests.chaos.planted import Discord, at_the_venue, changed, content, key_at_the_venue, save_block, set_key, stopped
from tests.support.desk import REPOSITORY, RunningDesk, put_away, wait_until

pytestmark = pytest.mark.timeout(1800)

PATIENCE_SECONDS = 120
NEW_KEY = "the-key-that-follows-the-revoked-one"
ALL_HAVE_MET_IT_SECONDS, TOLD_SECONDS = 75, 5
WRONG_PIN = "Metadata-Version: 2.1\nName: SQLAlchemy\nVersion: 2.1.0\n"


def examine(desk: RunningDesk) -> dict[str, dict[str, str]]:
    """Everything that is not well, by its check; a traceback or a wrong exit code fails the test."""
    done = desk.kontor("doctor", "--json", seconds=300)
    assert "Traceback" not in done.stderr, done.stderr
    found = json.loads(done.stdout)
    problems = {each["check"]: each for each in found if each["health"] in {"failed", "warning"}}
    assert done.returncode == int(any(each["health"] == "failed" for each in found)), done.stdout
    assert [each["check"] for each in problems.values() if not each["remedy"]] == []
    return problems


def named(desk: RunningDesk, check: str, *words: str, beside: frozenset[str] = frozenset()) -> None:
    """The fault is found, said in these words, and nothing else is blamed but what follows from it."""
    problems = examine(desk)
    assert check in problems, problems
    said = f"{problems[check]['finding']} {problems[check]['remedy']}"
    assert [word for word in words if word not in said] == [], said
    assert set(problems) - beside == {check}, problems
    print(f"found: {check}: {problems[check]['finding']}")


@pytest.fixture(scope="module")
def discord() -> Iterator[tuple[Discord, str]]:
    channel = Discord()
    with channel.serving() as address:
        yield channel, address


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, discord: tuple[Discord, str]) -> Iterator[RunningDesk]:
    """A desk that has all it should have: a backup and a channel too."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("prefect.yaml", "kontor.yaml"):
        shutil.copy(REPOSITORY / name, folder)
    with put_away(RunningDesk.planned(folder / "home", project=folder)) as running:
        up = running.up()
        assert up.returncode == 0, up.stdout + up.stderr
        assert running.kontor("backup").returncode == 0
        save_block(
            running,
            "from blocks.notifiers import DiscordWebhook\n"
            f"DiscordWebhook(url='{discord[1]}').save('default', overwrite=True)",
        )
        yield running


def test_a_healthy_desk_is_green(desk: RunningDesk) -> None:
    """A doctor who always finds something is not asked again."""
    wait_until(lambda: examine(desk) == {}, PATIENCE_SECONDS, "a doctor without complaint")


def test_faults_around_a_running_desk_are_found(
    desk: RunningDesk, discord: tuple[Discord, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 to 7: nothing of the desk itself is broken, and it works on beside each of them."""
    with monkeypatch.context() as patch:
        info = tmp_path / "sqlalchemy-2.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(WRONG_PIN)
        patch.setenv("PYTHONPATH", str(tmp_path))
        named(desk, "versions", "sqlalchemy is 2.1.0", "requirements.lock")
    # A disk that nobody can write to, not even root.
    named(RunningDesk(Home(Path("/sys")), desk.prefect_port, desk.paper_port), "home", "cannot be written", "writable")
    with at_the_venue(desk, path="/api/v5/public/time", kind="wrong_clock", seconds=30):
        named(desk, "clock", "30.", "time synchronization")
    with at_the_venue(desk, path="/api/v5/public/time", kind="http_503"):
        named(desk, "exchange", "status page")
    discord[0].status = HTTPStatus.NOT_FOUND
    named(desk, "Discord webhook", "404", "make a new one")
    discord[0].status = HTTPStatus.OK
    desk.home.paper_keys_file.chmod(0o644)
    named(desk, "secret files", "paper-keys.json", "chmod 600")
    desk.home.paper_keys_file.chmod(0o600)
    aside = desk.home.backups.with_name("aside")
    desk.home.backups.rename(aside)
    named(desk, "backup", "none", "kontor backup")
    aside.rename(desk.home.backups)
    assert examine(desk) == {}


def test_faults_of_a_running_desk_are_found(desk: RunningDesk) -> None:
    """8 to 13: a mistake in a file, a halt, schedules that stand still, processes that hang or are gone."""
    settings = desk.project / "kontor.yaml"
    with content(settings, b"risk: {max_open_orders: -3}\n"):
        named(desk, "settings", "max_open_orders", beside=frozenset({"updaters"}))
    assert desk.run("halt-trading/paper", reason="a planted fault")["state_type"] == "COMPLETED"
    named(desk, "trading", "a planted fault", "resume-trading", beside=frozenset({"updaters"}))
    assert desk.run("resume-trading/paper")["state_type"] == "COMPLETED"
    tickers = desk.deployment("update-tickers/paper")["id"]
    desk.api("POST", f"/deployments/{tickers}/pause_deployment")
    wait_until(lambda: "updaters" in examine(desk), PATIENCE_SECONDS, "an updater that does not run")
    assert "update-tickers" in examine(desk)["updaters"]["finding"]
    desk.api("POST", f"/deployments/{tickers}/resume_deployment")
    supervisor = desk.record().supervisor.pid
    with stopped(supervisor):
        os.kill(desk.pid("worker orders"), signal.SIGKILL)
        wait_until(lambda: "processes" in examine(desk), PATIENCE_SECONDS, "a worker that is gone")
        assert "worker orders" in examine(desk)["processes"]["finding"]
    with stopped(desk.pid("Prefect server")):
        named(desk, "server", "does not answer", beside=frozenset({"exchange", "updaters"}))
    with stopped(desk.pid("page")):
        named(desk, "page", "does not answer", "page.log")
    everything = desk.api("POST", "/deployments/filter", {})
    for each in everything:
        desk.api("POST", f"/deployments/{each['id']}/pause_deployment")
    named(desk, "scheduler", beside=frozenset({"updaters"}))
    for each in everything:
        desk.api("POST", f"/deployments/{each['id']}/resume_deployment")
    wait_until(lambda: examine(desk) == {}, PATIENCE_SECONDS, "a desk that is well again")


def test_a_revoked_key_halts_is_named_and_is_mended_without_a_restart(
    desk: RunningDesk, discord: tuple[Discord, str]
) -> None:
    """14: one alert says so, and the only cure is the block; nothing is started anew."""
    wait_until(lambda: examine(desk) == {}, PATIENCE_SECONDS, "a desk without news")
    before = len(discord[0].titles)
    children = {child.name: child.pid for child in desk.record().children}
    # A wrong key in the block would not do: a desk goes on with the one in use when the exchange refuses the new one.
    key_at_the_venue(desk, NEW_KEY)
    wait_until(lambda: (desk.status()["halted"] or {}).get("blocked", False), PATIENCE_SECONDS, "a halt by the key")
    problems = examine(desk)
    assert {"exchange key", "trading"} <= set(problems), problems
    assert "50111" in problems["exchange key"]["finding"] or "Invalid" in problems["exchange key"]["finding"]
    # Long enough for every updater and both streams to meet the refused key, and for what is then down to be told.
    time.sleep(ALL_HAVE_MET_IT_SECONDS)
    desk.run("check-system-status/paper")
    time.sleep(TOLD_SECONDS)
    told = [title for title in discord[0].titles[before:] if not title.startswith(("Capital", "Daily summary"))]
    assert told == ["Trading halted: the exchange refuses the key"], told
    set_key(desk, repr(NEW_KEY))

    def trades_again() -> bool:
        if desk.status()["halted"]:
            desk.run("resume-trading/paper")
        run = desk.run("place-order/paper", symbol="BTC/USD", side="buy", quantity=0.1, order_type="market")
        return run["state_type"] == "COMPLETED"

    wait_until(trades_again, PATIENCE_SECONDS, "a desk that trades with the new key")
    assert {child.name: child.pid for child in desk.record().children} == children
    wait_until(lambda: examine(desk) == {}, PATIENCE_SECONDS, "a desk that is well again")


def test_faults_of_a_desk_that_is_down_are_found(desk: RunningDesk) -> None:
    """15 to 20: what would keep it from coming up, or let it come up wrong."""
    assert desk.down().returncode == 0
    assert examine(desk) == {}
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", desk.prefect_port))
        taken.listen()
        named(desk, "ports", str(desk.prefect_port), "KONTOR_PREFECT_PORT")
    store, prefect = desk.home.store_file, desk.home.prefect_database
    newer = ("UPDATE alembic_version SET version_num = '9999'", "UPDATE alembic_version SET version_num = '{}'")
    with closing(sqlite3.connect(store)) as connection:
        (head,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with changed(store, newer[0], newer[1].format(head)):
        named(desk, "state store", "9999", "update Kontor")
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = store.read_bytes()
    with content(store, whole[:4096] + b"\xff" * 8192 + whole[12288:]):
        named(desk, "state store", "damaged", "kontor restore", str(desk.home.backups))
        refused = desk.up()
        assert refused.returncode == 1
        assert "is damaged" in refused.stderr, refused.stdout + refused.stderr
        assert "kontor restore" in refused.stderr
    with content(desk.home.encryption_key_file, f"{new_key()}\n".encode()):
        named(
            desk, "block key", "kontor-exchange-account/paper", "put the right key back", beside=frozenset({"exchange"})
        )
    beside = json.dumps({"fernet_key": new_key()})
    added = f"INSERT INTO configuration (id, key, value) VALUES ('c', 'ENCRYPTION_KEY', '{beside}')"  # noqa: S608 - ours
    with changed(prefect, added, "DELETE FROM configuration WHERE key = 'ENCRYPTION_KEY'"):
        named(desk, "block key", "beside the secrets", "restart")
    left = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        record = DeskRecord.load(desk.home)
        child = ProcessRef.of("worker orders", left.pid)
        assert record is not None
        assert child is not None
        record.model_copy(update={"children": [child]}).save(desk.home)
        named(desk, "processes", f"worker orders (pid {left.pid})", "kontor down")
        record.save(desk.home)
    finally:
        with suppress(psutil.NoSuchProcess):
            left.kill()
        left.communicate()
    assert examine(desk) == {}
