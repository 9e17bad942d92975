"""Backup, restore and upgrade: nothing of the money's history is lost, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from deployments import upgrade as upgrading
from deployments.backup import COUNTED, make_backup, newest_backup, prune_backups, read_backup
from deployments.cli import main
from deployments.credentials import read_auth, read_key
from deployments.home import Home
from deployments.restore import restore
from deployments.sqlite_files import row_counts
from deployments.stores import opened
from deployments.upgrade import UpgradeFailed, upgrade
from kontor.errors import KontorError
from kontor.execution.halt import halted
from kontor.ports import Store
from tests.unit.cli.homes import ACCOUNT, NOW, order, silent, write_store_block


async def test_a_backup_taken_while_orders_come_in_restores_to_a_moment_that_was(home: Home, store: Store) -> None:
    """Online: nobody stops trading for a backup, and nobody waits for it either."""
    prefix = await store.desk.desk_prefix()
    stop = threading.Event()
    written = 0

    async def trade() -> None:
        nonlocal written
        while not stop.is_set():
            written += 1
            await store.orders.enqueue([order(f"during-{written}")], "test")

    trading = asyncio.create_task(trade())
    while written < 3:  # noqa: ASYNC110 - until the traffic has begun
        await asyncio.sleep(0.001)
    made = await asyncio.to_thread(make_backup, home, home.backups, silent, now=NOW)
    during = written
    stop.set()
    await trading
    manifest = read_backup(made)
    # An order and the event that made it are one commit: in a backup of one moment there are as many of both.
    assert manifest.counts["orders"] == manifest.counts["order_events"] > 5
    assert manifest.counts["orders"] <= 5 + during
    assert made.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in made.iterdir()} == {0o600}

    new = Home(home.path.with_name("new"))
    new.make()
    await restore(new, made, silent)
    async with opened(new.default_store_url) as restored:
        found = {each.client_order_id: each for each in await restored.orders.find(ACCOUNT, limit=10_000)}
        assert len(found) == manifest.counts["orders"]
        for name in ("order-0", "order-4", "during-1"):
            assert found[name] == await store.orders.get(name)
            assert await restored.orders.events(name) == await store.orders.events(name)
        halt = await halted(restored.desk, ACCOUNT)
        assert halt is not None
        assert "restored from a backup of 2026-01-01" in halt.reason
        assert await restored.desk.desk_prefix() == prefix
    assert (read_auth(new), read_key(new)) == (read_auth(home), read_key(home))
    assert (await halted(store.desk, ACCOUNT)) is None


async def test_a_halt_survives_every_restart(home: Home) -> None:
    """It ends when a person says so, not when a process starts."""
    made = make_backup(home, home.backups, silent, now=NOW)
    new = Home(home.path.with_name("new"))
    new.make()
    await restore(new, made, silent)
    for _ in range(2):
        async with opened(new.default_store_url) as store:
            await store.migrate()
            assert await halted(store.desk, ACCOUNT) is not None


async def test_a_backup_that_was_touched_is_refused_and_the_new_home_stays_empty(home: Home) -> None:
    """A bit that fell over on a disk, or a file that was not copied along."""
    made = make_backup(home, home.backups, silent, now=NOW)
    damaged = made / "kontor.db"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    new = Home(home.path.with_name("new"))
    new.make()
    with pytest.raises(KontorError, match=r"kontor\.db is missing or not as it was.*use another backup"):
        await restore(new, made, silent)
    damaged.unlink()
    with pytest.raises(KontorError, match="is missing or not as it was"):
        await restore(new, made, silent)
    assert [path for path in new.path.rglob("*") if path.is_file()] == []
    with pytest.raises(KontorError, match="is no backup"):
        await restore(new, home.path, silent)


async def test_a_home_in_use_is_not_restored_over(home: Home) -> None:
    """A mistyped KONTOR_HOME must not cost the desk that is there."""
    made = make_backup(home, home.backups, silent, now=NOW)
    with pytest.raises(KontorError, match="restored into a new home"):
        await restore(home, made, silent)


def test_a_backup_without_secrets_holds_none(home: Home) -> None:
    """For a place that others can read."""
    made = make_backup(home, home.backups, silent, with_secrets=False, now=NOW)
    content = b"".join(file.read_bytes() for file in made.iterdir())
    assert read_key(home).encode() not in content
    assert read_auth(home).encode() not in content


@pytest.mark.timeout(20)
def test_the_books_of_a_running_paper_exchange_are_left_out_and_said(home: Home) -> None:
    """It keeps them to itself while it runs; a backup must neither wait for it nor fail."""
    said: list[str] = []
    with closing(sqlite3.connect(home.paper_database, isolation_level=None)) as paper:
        paper.execute("PRAGMA locking_mode = EXCLUSIVE")
        paper.execute("PRAGMA journal_mode = WAL")
        paper.execute("CREATE TABLE account (id)")
        made = make_backup(home, home.backups, said.append, now=NOW)
        assert not (made / "paper.sqlite3").exists()
        assert any("left out" in sentence for sentence in said)
    later = make_backup(home, home.backups, said.append, now=NOW + timedelta(days=1))
    assert "paper.sqlite3" in read_backup(later).files


def test_old_backups_are_pruned_and_half_made_ones_do_not_count(home: Home) -> None:
    """A backup every night fills a disk in a year."""
    made = [make_backup(home, home.backups, silent, now=NOW + timedelta(days=day)) for day in range(3)]
    (home.backups / "kontor-20300101T000000Z").mkdir()
    assert newest_backup(home) == made[2]
    assert prune_backups(home.backups, keep=2) == [made[0]]
    assert not made[0].exists()


def test_a_backup_that_fails_leaves_nothing_half_made(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a backup is found when it is needed."""
    monkeypatch.setattr("deployments.backup.damage_in", lambda *_, **__: "a page is torn")
    with pytest.raises(KontorError, match="is damaged, and so would be its backup: a page is torn"):
        make_backup(home, home.backups, silent, now=NOW)
    assert list(home.backups.iterdir()) == []


@pytest.fixture
def quiet_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's own migration takes many seconds; tests/chaos/desk_upgrade.py runs it for real."""

    async def nothing(_: Home) -> None:
        return None

    monkeypatch.setattr(upgrading, "_migrate_prefect", nothing)


@pytest.mark.usefixtures("quiet_prefect")
async def test_an_upgrade_without_anything_to_do_says_so(home: Home) -> None:
    """And has made a backup all the same."""
    assert not await upgrade(home, silent)
    assert newest_backup(home) is not None


@pytest.mark.parametrize("step", ["migrate", "verify"])
@pytest.mark.usefixtures("quiet_prefect")
async def test_a_migration_that_fails_is_rolled_back_whole(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Half migrated, neither the old version nor the new one could work with it."""
    before = row_counts(home.store_file, COUNTED)

    async def ruin(_: Home) -> None:
        with closing(sqlite3.connect(home.store_file, isolation_level=None)) as connection:
            connection.execute("DELETE FROM order_events")
            connection.execute("ALTER TABLE orders ADD COLUMN half_done")
        if step == "migrate":
            raise KontorError("the migration broke")

    monkeypatch.setattr(upgrading, "_migrate_store", ruin)
    reason = "the migration broke" if step == "migrate" else "order_events had 5 rows and has 0"
    with pytest.raises(UpgradeFailed, match=f"{reason}.*as they were before"):
        await upgrade(home, silent)
    assert row_counts(home.store_file, COUNTED) == before
    async with opened(home.default_store_url) as store:
        await store.migrate()
        assert len(await store.orders.find(ACCOUNT)) == 5


@pytest.mark.usefixtures("quiet_prefect")
async def test_a_home_whose_key_is_in_the_database_is_upgraded_and_rolled_back_with_its_key(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key file that was made on the way must not stay behind: it would open nothing."""
    home.encryption_key_file.unlink()
    with closing(sqlite3.connect(home.prefect_database, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE configuration (id, key, value)")
        value = json.dumps({"fernet_key": "Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9vYmE="})
        connection.execute("INSERT INTO configuration VALUES ('c', 'ENCRYPTION_KEY', ?)", (value,))

    async def fail(_: Home) -> None:
        raise KontorError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(upgrading, "_migrate_store", fail)
        with pytest.raises(UpgradeFailed):
            await upgrade(home, silent)
    assert not home.encryption_key_file.exists()
    await upgrade(home, silent)
    assert home.encryption_key_file.exists()


def test_commands_say_what_they_cannot_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence each, and nothing made."""
    monkeypatch.setenv("KONTOR_HOME", str(tmp_path / "none"))
    for arguments, sentence in [
        (["backup"], "nothing to back up"),
        (["upgrade"], "no desk has ever run"),
        (["restore", str(tmp_path / "nowhere")], "is no backup"),
        (["backup", "--keep", "0"], "--keep must be at least 1"),
    ]:
        assert main(arguments) == 1, arguments
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "none" / "kontor.db").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://kontor:word@db/kontor", "pg_dump --format=custom"),
        ("sqlite:////elsewhere/kontor.db", "sqlite3 FILE '.backup COPY'"),
    ],
)
def test_a_store_that_is_not_in_the_home_is_not_backed_up_by_an_old_file_there(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, words: str
) -> None:
    """A copy of the file that lies there would look like a backup of the orders."""
    write_store_block(home, url)
    monkeypatch.setenv("KONTOR_HOME", str(home.path))
    for command in ("backup", "upgrade"):
        assert main([command]) == 1
        error = capsys.readouterr().err
        assert words in error
        assert ":word@" not in error
    assert main(["backup", "--without-store"]) == 0
    made = newest_backup(home)
    assert made is not None
    assert not (made / "kontor.db").exists()
    assert read_backup(made).without_store
