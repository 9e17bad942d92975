"""A desk of the first release, with the Prefect database of its time: upgraded by one command, and trading again."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from deployments.backup import newest_backup
from deployments.credentials import make_auth
from deployments.home import Home
from deployments.lineup import without_shells_prefect
from deployments.server_settings import server_environment
from deployments.sqlite_files import damage_in, revision
from kontor.store.migrations import HEAD
from tests.support.desk import RunningDesk, put_away

pytestmark = pytest.mark.timeout(1200)

RELEASED = Path(__file__).parents[1] / "contract" / "store" / "released" / "r0001.sqlite.sql"
# What Prefect 3.6 had; five revisions have followed until 3.8.8.
OLD_PREFECT = "9e83011d1f2a"
OLD_KEY = "Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9vYmE="


def make_old_home(home: Home, port: int) -> None:
    """What the first release left: its store, an old database of Prefect's, and the key beside the secrets."""
    home.make()
    make_auth(home)
    with closing(sqlite3.connect(home.store_file)) as connection:
        connection.executescript(RELEASED.read_text(encoding="utf-8"))
    home.prefect_database.parent.mkdir()
    command = [sys.executable, "-m", "prefect", "--no-prompt", "server", "database", "upgrade", "--yes"]
    environment = without_shells_prefect() | server_environment(home.path, port)
    subprocess.run([*command, "--revision", OLD_PREFECT], check=True, capture_output=True, env=environment)
    with closing(sqlite3.connect(home.prefect_database, isolation_level=None)) as connection:
        value = json.dumps({"fernet_key": OLD_KEY})
        connection.execute("INSERT INTO configuration (id, key, value) VALUES ('c', 'ENCRYPTION_KEY', ?)", (value,))


def test_a_desk_of_the_first_release_is_upgraded_with_prefects_database_and_trades_on(tmp_path: Path) -> None:
    """Two schemas of two projects, one command; what went wrong on the way would be put back."""
    with put_away(RunningDesk.planned(tmp_path / "home")) as desk:
        make_old_home(desk.home, desk.prefect_port)
        assert revision(desk.home.prefect_database) == OLD_PREFECT
        said = desk.kontor("upgrade", seconds=600)
        assert said.returncode == 0, said.stdout + said.stderr
        plain = " ".join(said.stdout.split())
        assert f"before: prefect.db at {OLD_PREFECT}, kontor.db at 0001" in plain
        assert f"kontor.db at {HEAD}; orders, their history and fills are all there" in plain
        assert revision(desk.home.prefect_database) not in {OLD_PREFECT, ""}
        databases = (desk.home.prefect_database, desk.home.store_file)
        assert [damage_in(path, thorough=True) for path in databases] == ["", ""]
        assert desk.home.encryption_key_file.exists()
        assert OLD_KEY.encode() not in desk.home.prefect_database.read_bytes()
        assert newest_backup(desk.home) is not None
        again = desk.kontor("upgrade", seconds=600)
        assert "nothing to do" in again.stdout, again.stdout + again.stderr
        listed, names = desk.kontor("orders").stdout, ("waits", "unknown", "rests", "partly", "filled", "refused")
        assert [name for name in names if name not in listed] == []

        up = desk.up()
        assert up.returncode == 0, up.stdout + up.stderr
        # It had been halted by hand, and a new version is no reason to trade again.
        assert "trading on paper is halted since" in up.stdout
        assert "orders of unknown outcome: 1" in up.stdout
        resumed = desk.run("resume-trading/paper")
        assert resumed["state_type"] == "COMPLETED", resumed["state"]["message"]
        filled = desk.run("place-order/paper", symbol="BTC/USD", side="buy", quantity=0.1, order_type="market")
        assert filled["state_type"] == "COMPLETED", filled["state"]["message"]


def test_a_migration_of_prefects_that_fails_puts_everything_back(tmp_path: Path) -> None:
    """Half of an upgrade is worse than none: neither version could work with it."""
    desk = RunningDesk.planned(tmp_path / "home")
    make_old_home(desk.home, desk.prefect_port)
    with closing(sqlite3.connect(desk.home.prefect_database, isolation_level=None)) as connection:
        # What an interrupted migration can leave; the next one stumbles over it half way.
        connection.execute("CREATE TABLE _alembic_tmp_block_document_reference (id)")
    before = [revision(path) for path in (desk.home.prefect_database, desk.home.store_file)]
    said = desk.kontor("upgrade", seconds=600)
    assert said.returncode == 1, said.stdout + said.stderr
    assert "Prefect's database was not migrated" in said.stderr
    assert "the databases are as they were before" in said.stderr
    assert "Traceback" not in said.stderr
    assert [revision(path) for path in (desk.home.prefect_database, desk.home.store_file)] == before
    assert before == [OLD_PREFECT, "0001"]
    # Made for blocks that are under the old key again.
    assert not desk.home.encryption_key_file.exists()
