"""What a desk finds at its start: databases that are damaged or gone, and orders that were open when it ended."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from deployments.backup import make_backup
from deployments.cli import main
from deployments.desk_status import desk_store
from deployments.doctor import machine
from deployments.doctor.verdict import Health
from deployments.findings import Findings, how_it_ended, look_at_orders, migrated, require_sound_databases
from deployments.home import Home, Ports
from deployments.instance import DeskRecord
from deployments.sqlite_files import revision
from deployments.stores import known_store_url, opened
from kontor.domain.order import OrderState
from kontor.errors import StoreError, StoreUnavailable
from kontor.ports import Store
from kontor.store.migrations import HEAD
from tests.unit.cli.homes import ACCOUNT, NOW, order, silent, write_store_block

RELEASED = Path(__file__).parents[2] / "contract" / "store" / "released"


async def test_a_damaged_database_is_found_at_the_start_with_the_remedy(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is written to it; the sentence names the backup to take."""
    made = make_backup(home, home.backups, silent, now=NOW)
    require_sound_databases(home)
    content = bytearray(home.store_file.read_bytes())
    content[4096:12288] = b"\xff" * 8192
    for beside in home.path.glob("kontor.db-*"):
        beside.unlink()
    home.store_file.write_bytes(content)
    with pytest.raises(StoreError, match=rf"kontor\.db is damaged .*kontor restore {made}"):
        require_sound_databases(home)
    monkeypatch.setenv("KONTOR_HOME", str(home.path))
    assert main(["up"]) == 1
    assert "is damaged" in capsys.readouterr().err
    assert home.store_file.read_bytes() == content


async def test_what_a_killed_desk_left_is_said_and_followed_to_its_fate(home: Home, store: Store) -> None:
    """A person who comes back to a machine that was rebooted wants to know what was open."""
    record = DeskRecord.of_this_process(Ports())
    assert how_it_ended(record) is None
    record.ready = True
    assert "ended without being stopped" in (how_it_ended(record) or "")
    assert how_it_ended(None) is None

    found = Findings(home)
    stored = await store.orders.get("order-0")
    assert stored is not None
    sent = replace(stored, state=OrderState.SUBMITTED, attempts=1, updated_at=NOW)
    assert await store.orders.record([(stored, sent)], actor="test", at=NOW) == [True]
    await found.before(store)
    (said,) = await found.after(store)
    assert said == "orders of unknown outcome: 1; now 1 SUBMITTED"


@pytest.mark.parametrize("left", [None, b""])
def test_a_store_that_is_gone_is_not_silently_a_new_one(home: Home, left: bytes | None) -> None:
    """It would know none of the orders that rest at the exchange, nor the halt."""
    require_sound_databases(home)
    for path in [home.store_file, *home.path.glob("kontor.db-*")]:
        path.unlink()
    if left is not None:
        home.store_file.write_bytes(left)
    # A desk that has never run begins like this.
    require_sound_databases(home)
    with closing(sqlite3.connect(home.prefect_database, isolation_level=None)) as connection:
        connection.execute("INSERT INTO flow_run VALUES ('a run')")
    made = home.backups / "kontor-1"
    made.mkdir(parents=True)
    (made / "backup.json").touch()
    word = "gone" if left is None else "empty"
    with pytest.raises(StoreError, match=f"kontor.db is {word}.*kontor restore {made}.*to begin anew, move"):
        require_sound_databases(home)
    assert machine.databases(home)[0].health is Health.FAILED


def test_kontor_up_looks_at_the_orders_of_a_store_of_the_first_release(tmp_path: Path) -> None:
    """Whoever forgets `kontor upgrade` is told the same of the last night, and not of a missing column."""
    home = Home(tmp_path / "old")
    home.make()
    with closing(sqlite3.connect(home.store_file)) as connection:
        connection.executescript((RELEASED / "r0001.sqlite.sql").read_text(encoding="utf-8"))
    found = Findings(home)
    look_at_orders(home, found, silent)
    assert revision(home.store_file) == HEAD

    async def after() -> list[str]:
        async with opened(home.default_store_url) as store:
            return await found.after(store)

    said = " ".join(asyncio.run(after()))
    assert "orders of unknown outcome: 1; now 1 SUBMITTED" in said
    assert "orders that were live: 2; now 1 ACCEPTED, 1 PARTIALLY_FILLED" in said
    assert "halted since" in said


async def test_a_database_server_that_comes_up_after_the_desk_is_waited_for(home: Home) -> None:
    """After a reboot it may be later than the desk, which systemd would give up after a few quick failures."""
    said: list[str] = []
    pauses: list[float] = []
    failures = 3

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with opened(home.default_store_url) as store:

        class Late:
            async def migrate(self) -> None:
                nonlocal failures
                failures -= 1
                if failures >= 0:
                    raise StoreUnavailable("store db: connection refused")
                await store.migrate()

        late = cast("Store", Late())
        await migrated(late, said.append, patience=120, sleep=sleep)
        assert (said, len(pauses)) == (["waiting for the store: store db: connection refused"], 3)
        failures = 1000
        with pytest.raises(StoreUnavailable, match="connection refused"):
            await migrated(late, said.append, patience=120, sleep=sleep)
        assert 110 < sum(pauses) < 140
        failures = 1
        with pytest.raises(StoreUnavailable):
            await migrated(late, said.append, patience=0, sleep=sleep)


async def test_a_desk_that_is_down_is_asked_for_its_own_store(home: Home, tmp_path: Path) -> None:
    """Not for the file that every desk begins with: `kontor orders` would show other orders."""
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    async with opened(url) as store:
        await store.migrate()
        await store.orders.enqueue([order("elsewhere")], "test")
    write_store_block(home, url)
    async with desk_store(home) as store:
        assert [each.client_order_id for each in await store.orders.find(ACCOUNT)] == ["elsewhere"]
    found = Findings(home, {ACCOUNT})
    async with opened(known_store_url(home)) as store:
        (stored,) = await store.orders.find(ACCOUNT)
        sent = replace(stored, state=OrderState.SUBMITTED, unknown_since=NOW, updated_at=NOW)
        assert await store.orders.record([(stored, sent)], actor="test", at=NOW) == [True]
    await asyncio.to_thread(look_at_orders, home, found, silent)
    async with opened(url) as store:
        assert await found.after(store) == ["orders of unknown outcome: 1; now 1 SUBMITTED"]
