"""The doctor on a healthy machine, and on machines with one planted fault each: it has to find and name every one."""

from __future__ import annotations

import json
import socket
import sqlite3
from contextlib import closing
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.fernet import Fernet

from deployments.backup import make_backup
from deployments.cli import main
from deployments.credentials import new_key, read_key
from deployments.doctor import desk, machine, venue
from deployments.doctor.verdict import Health, Verdict
from deployments.home import Home, Ports
from deployments.instance import DeskRecord, ProcessRef
from kontor.ports import Exchange
from tests.unit.cli.homes import a_home
from tests.unit.cli.verdicts import NOW, SETTINGS, Account, budget, named, problems


@pytest.fixture
async def home(tmp_path: Path) -> Home:
    """A desk that is down and in good health."""
    home = await a_home(
        tmp_path / "home",
        "CREATE TABLE block_type (id, slug)",
        "CREATE TABLE block_document (id, name, data, block_type_id)",
        "CREATE TABLE configuration (id, key, value)",
    )
    make_backup(home, home.backups, lambda _: None)
    return home


def write_block(home: Home, key: str, values: dict[str, Any]) -> None:
    data = json.dumps(Fernet(key).encrypt(json.dumps(values).encode()).decode())
    with closing(sqlite3.connect(home.prefect_database, isolation_level=None)) as connection:
        connection.execute("INSERT INTO block_type VALUES ('t', 'kontor-exchange-account')")
        connection.execute("INSERT INTO block_document VALUES ('d', 'live', ?, 't')", (data,))


async def test_a_healthy_machine_and_exchange_have_no_complaint(home: Home) -> None:
    """A doctor who always finds something is not asked again."""
    assert problems([machine.python_version(), machine.pins(), machine.folder(home), machine.private_files(home)]) == []
    assert problems([*machine.databases(home), machine.backups(home), desk.block_key(home)]) == []
    assert problems([machine.disk(home, lambda _: 10**11)]) == []
    assert problems(list(await venue.examine(cast("Exchange", Account()), SETTINGS, [budget(0.9)]))) == []


def test_wrong_pin_and_wrong_python() -> None:
    """Faults 1 and 2: a library that starts and schedules nothing, and a Python too new."""
    changed = {"sqlalchemy": "2.1.0"}
    named(
        machine.pins(lambda name: changed.get(name.lower()) or metadata.version(name)),
        "versions",
        "sqlalchemy is 2.1.0",
    )
    named(machine.python_version((3, 14, 0)), "python", "3.14.0", "3.13")


def test_taken_port() -> None:
    """Fault 3."""
    with socket.socket() as taken, socket.socket() as other:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other.bind(("127.0.0.1", 0))
        ports = Ports(taken.getsockname()[1], other.getsockname()[1], 0)
        other.close()
        named(machine.ports_free(ports, is_running=False), "ports", str(ports.prefect), "KONTOR_PREFECT_PORT")
        assert machine.ports_free(ports, is_running=True).health is Health.SKIPPED


def test_read_only_folder_and_full_disk(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults 4 and 5."""

    def refuse(_: Path, __: bytes) -> int:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        named(machine.folder(home), "home", "Read-only file system", "mount it writable")
    named(machine.disk(home, lambda _: 10**8), "disk", "0.1 GB", "make room")


def test_open_secret_file(home: Home) -> None:
    """Fault 6."""
    home.encryption_key_file.chmod(0o640)
    named(machine.private_files(home), "secret files", "encryption-key", f"chmod 600 {home.encryption_key_file}")


def test_corrupted_store_and_store_of_another_version(home: Home) -> None:
    """Faults 7 and 8."""
    with closing(sqlite3.connect(home.store_file, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    named(machine.databases(home)[0], "state store", "9999", "update Kontor")
    content = bytearray(home.store_file.read_bytes())
    content[4096:12288] = b"\xff" * 8192
    for beside in home.path.glob("kontor.db-*"):
        beside.unlink()
    home.store_file.write_bytes(content)
    named(machine.databases(home)[0], "state store", "damaged", "kontor restore", str(home.backups))


def test_lost_block_key_and_key_in_the_database(home: Home) -> None:
    """Faults 9 and 10."""
    with closing(sqlite3.connect(home.prefect_database, isolation_level=None)) as connection:
        value = json.dumps({"fernet_key": new_key()})
        connection.execute("INSERT INTO configuration VALUES ('c', 'ENCRYPTION_KEY', ?)", (value,))
    named(desk.block_key(home), "block key", "beside the secrets", "restart")
    write_block(home, new_key(), {"api_key": "k"})
    named(desk.block_key(home), "block key", "kontor-exchange-account/live", "put the right key back")


def test_orphaned_process_and_missing_worker(home: Home) -> None:
    """Faults 11 and 12: of a desk that is down, and of one that is up."""
    record = DeskRecord.of_this_process(Ports())
    this = replace_name(record.supervisor, "worker orders")
    record.children = [this]
    record.save(home)
    named(desk.processes(record, is_running=False), "processes", "worker orders", "kontor down")
    named(desk.processes(record, is_running=True), "processes", "Prefect server", "worker updates")


def replace_name(ref: ProcessRef, name: str) -> ProcessRef:
    return ref.model_copy(update={"name": name})


def test_stale_backup(home: Home) -> None:
    """Fault 27."""
    later = NOW + timedelta(days=30)
    named(machine.backups(home, later), "backup", "days old", "kontor backup", health=Health.WARNING)


def test_the_command_says_everything_at_once_as_json_with_an_exit_code(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For monitoring; a wrong kontor.yaml is one finding among others."""
    monkeypatch.setenv("KONTOR_HOME", str(home.path))
    with socket.socket() as one, socket.socket() as two:
        for each, name in ((one, "KONTOR_PREFECT_PORT"), (two, "KONTOR_PAPER_PORT")):
            each.bind(("127.0.0.1", 0))
            monkeypatch.setenv(name, str(each.getsockname()[1]))
    monkeypatch.setenv("KONTOR_WEB_PORT", "off")
    assert main(["doctor", "--json", "--offline"]) == 0
    found = {each["check"]: each for each in json.loads(capsys.readouterr().out)}
    assert {"versions", "ports", "disk", "state store", "block key", "settings", "backup", "alerts"} <= set(found)
    assert [each for each in found.values() if each["health"] == "failed"] == []
    write_block(home, read_key(home), {"exchange_id": "okx"})
    home.auth_file.chmod(0o644)
    assert main(["doctor", "--offline"]) == 1
    assert f"chmod 600 {home.auth_file}" in " ".join(capsys.readouterr().out.split())
    home.auth_file.chmod(0o600)
    home.encryption_key_file.write_text(f"{new_key()}\n")
    home.encryption_key_file.chmod(0o600)
    assert main(["doctor", "--json", "--offline"]) == 1
    found = {each["check"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["block key"]["health"] == "failed"
    # A channel that cannot be read is not one that nobody has made.
    assert (found["alerts"]["health"], found["alerts"]["finding"]) == ("skipped", "needs a key that opens the blocks")


def test_without_a_name_every_account_that_is_deployed_is_looked_at(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A desk with live accounts alone has no account paper to fail on; two accounts are told apart."""
    entry = "{name: %s, entrypoint: flows.account.update_balance, parameters: {account: %s}}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KONTOR_HOME", str(home.path))
    (tmp_path / "kontor.yaml").write_text("{}")

    def look(*names: str) -> list[dict[str, str]]:
        (tmp_path / "prefect.yaml").write_text(f"deployments: [{', '.join(entry % (n, n) for n in names)}]")
        main(["doctor", "--json", "--offline"])
        return json.loads(capsys.readouterr().out)

    (verdict,) = [each for each in look("live") if each["check"] == "settings"]
    assert verdict["health"] == "ok"
    found = [each for each in look("live", "main") if each["check"] == "trading"]
    assert [each["account"] for each in found] == ["live", "main"]


async def test_a_wrong_settings_file_is_a_finding(tmp_path: Path) -> None:
    """Fault 28."""
    from deployments.doctor.verdict import examined
    from deployments.project import Project

    (tmp_path / "prefect.yaml").write_text("deployments: [{name: paper, entrypoint: flows.account.update_balance}]")
    (tmp_path / "kontor.yaml").write_text("risk: {max_open_orders: -3}")

    async def look() -> Verdict:
        return desk.settings(Project(tmp_path), ["paper"])

    named(await examined("settings", look, "mend it there"), "settings", "max_open_orders")
    (tmp_path / "kontor.yaml").write_text("{}")
    assert (await look()).health is Health.OK
    named(desk.settings(Project(tmp_path), ["paper", "other"]), "settings", "for account other", "paper")
    (tmp_path / "prefect.yaml").write_text("deployments: []")
    named(desk.settings(Project(tmp_path), []), "settings", "nothing for any account")
