"""The doctor on a healthy desk, and on desks with one planted fault each: it has to find and name every one."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from cryptography.fernet import Fernet

from blocks.notifiers import CHANNELS
from deployments.backup import make_backup
from deployments.block_secrets import settle_key
from deployments.cli import main
from deployments.credentials import make_auth, new_key, read_key
from deployments.doctor import channels, desk, machine, venue
from deployments.doctor.verdict import Health, Verdict
from deployments.home import Home, Ports
from deployments.initialization import INITIALIZATION
from deployments.instance import DeskRecord, ProcessRef
from deployments.prefect_api import PrefectApi
from deployments.stores import opened
from kontor.desk import open_gate
from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.domain.venue_profile import VenueProfile
from kontor.errors import AuthenticationFailed, ExchangeError
from kontor.exchange.capabilities import NEEDED
from kontor.execution.halt import halt
from kontor.ports import Exchange, ExchangeSettings
from kontor.resilience.budget_state import ReportedBudget
from kontor.store.memory import MemoryStore

NOW = datetime.now(UTC)
SETTINGS = ExchangeSettings("okx", "live", api_key="k", secret="s", mode="live")


@pytest.fixture
async def home(tmp_path: Path) -> Home:
    """A desk that is down and in good health."""
    home = Home(tmp_path / "home")
    home.make()
    make_auth(home)
    async with opened(home.default_store_url) as store:
        await store.migrate()
    home.prefect_database.parent.mkdir()
    with closing(sqlite3.connect(home.prefect_database, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE block_type (id, slug)")
        connection.execute("CREATE TABLE block_document (id, name, data, block_type_id)")
        connection.execute("CREATE TABLE configuration (id, key, value)")
    settle_key(home)
    make_backup(home, home.backups, lambda _: None)
    return home


def write_block(home: Home, key: str, values: dict[str, Any]) -> None:
    data = json.dumps(Fernet(key).encrypt(json.dumps(values).encode()).decode())
    with closing(sqlite3.connect(home.prefect_database, isolation_level=None)) as connection:
        connection.execute("INSERT INTO block_type VALUES ('t', 'kontor-exchange-account')")
        connection.execute("INSERT INTO block_document VALUES ('d', 'live', ?, 't')", (data,))


@dataclass
class Account:
    """An exchange in good health, with what a test breaks in it."""

    ahead: timedelta = timedelta(0)
    down: bool = False
    bad_key: bool = False
    may: frozenset[str] = frozenset({"read", "trade"})
    missing: str = ""

    @property
    def profile(self) -> VenueProfile:
        can = {name: name != self.missing for name in NEEDED}
        return VenueProfile("okx", can, timedelta(seconds=1))

    async def fetch_time(self) -> datetime:
        if self.down:
            raise ExchangeError("okx fetch_time: cannot connect to host")
        return datetime.now(UTC) + self.ahead

    async def fetch_balance(self) -> Any:
        if self.bad_key:
            raise AuthenticationFailed("okx fetch_balance: Invalid OK-ACCESS-KEY", code="50111")

    async def call(self, method: str, *args: Any) -> Any:  # noqa: ARG002 - the port's
        return self.may


def problems(verdicts: list[Verdict]) -> list[str]:
    return [each.check for each in verdicts if each.health in {Health.FAILED, Health.WARNING}]


def named(verdict: Verdict, check: str, *words: str, health: Health = Health.FAILED) -> None:
    """The verdict is about this, says these words, and has a remedy."""
    assert (verdict.check, verdict.health) == (check, health), verdict
    assert [word for word in words if word not in f"{verdict.finding} {verdict.remedy}"] == [], verdict
    assert verdict.remedy


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


@pytest.mark.parametrize(
    ("fault", "check", "word", "health"),
    [
        (Account(down=True), "exchange", "cannot connect", Health.FAILED),
        (Account(ahead=timedelta(seconds=30)), "clock", "30.0", Health.FAILED),
        (Account(ahead=timedelta(seconds=-2.5)), "clock", "behind", Health.WARNING),
        (Account(bad_key=True), "exchange key", "Invalid OK-ACCESS-KEY", Health.FAILED),
        (Account(may=frozenset({"read", "trade", "withdraw"})), "key permissions", "withdraw", Health.FAILED),
        (Account(may=frozenset({"read"})), "key permissions", "not trade", Health.FAILED),
        (Account(missing="cancelAllOrdersAfter"), "capabilities", "dead man's switch", Health.WARNING),
    ],
)
async def test_faults_at_the_exchange(fault: Account, check: str, word: str, health: Health) -> None:
    """Faults 13 to 19: unreachable, a drifted clock (twice), a bad key, too many and too few rights, a capability."""
    verdicts = list(await venue.examine(cast("Exchange", fault), SETTINGS, [budget(0.9)]))
    assert problems(verdicts) == [check]
    named(next(each for each in verdicts if each.check == check), check, word, health=health)


def test_used_up_rate_budget() -> None:
    """Fault 20: the desk's own processes say it, the doctor's fresh connection could not know."""
    found = venue.rate_budget([budget(0.9), budget(-0.3, "host:7")])
    named(found, "rate budget", "host:7 0%", "3 calls wait", "longer intervals", health=Health.WARNING)
    assert venue.rate_budget([]).health is Health.SKIPPED


def budget(left: float, process: str = "host:1") -> ReportedBudget:
    return ReportedBudget(process, 20.0, left, 3, NOW)


def api(answers: Callable[[httpx.Request], Any]) -> PrefectApi:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("csrf-token"):
            return httpx.Response(422, json={"detail": "CSRF protection is disabled."})
        found = answers(request)
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)

    return PrefectApi("http://127.0.0.1:1", transport=httpx.MockTransport(handle))


def scheduling(*due: datetime) -> Callable[[httpx.Request], Any]:
    def answer(request: httpx.Request) -> Any:
        if "flow_runs" in request.url.path:
            return [{"next_scheduled_start_time": moment.isoformat()} for moment in due]
        if "flows" in request.url.path:
            return [{"id": "f", "name": "update-tickers"}]
        schedule = [{"active": True, "schedule": {"interval": 10}}]
        return [{"id": "d", "flow_id": "f", "name": "paper", "schedules": schedule, "parameters": {}}]

    return answer


async def test_a_scheduler_that_schedules_nothing_and_a_server_with_another_password() -> None:
    """Faults 21 and 22: such a server looks healthy."""
    async with api(scheduling(NOW + timedelta(seconds=10))) as well:
        assert (await desk.scheduler(well, NOW)).health is Health.OK
        assert (await desk.server(well)).health is Health.OK
    async with api(scheduling(NOW - timedelta(seconds=60))) as stuck:
        named(await desk.scheduler(stuck, NOW), "scheduler", "not one run is planned", "SQLAlchemy")
    async with api(lambda r: httpx.Response(200 if r.url.path.endswith("health") else 401)) as closed:
        named(await desk.server(closed), "server", "password", "restart")


async def test_an_updater_that_somebody_has_paused_is_named() -> None:
    """Fault 31: it is not late, so nothing else would tell that it does not run."""
    store = MemoryStore()

    def answer(request: httpx.Request) -> Any:
        found = scheduling()(request)
        return [each | {"paused": True} for each in found] if "deployments" in request.url.path else found

    async with api(answer) as prefect:
        verdict = await desk.updaters(prefect, store, "paper")
    named(verdict, "updaters", "paused: update-tickers", "resume", health=Health.WARNING)


async def test_a_page_that_hangs_or_is_not_ours() -> None:
    """Faults 29 and 30: only warnings, for trading goes on without it."""

    async def asked(answer: Callable[[httpx.Request], httpx.Response]) -> Verdict:
        return await desk.page("http://127.0.0.1:1", timedelta(seconds=1), httpx.MockTransport(answer))

    def hangs(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("no answer", request=request)

    named(await asked(hangs), "page", "does not answer (ReadTimeout)", "page.log", health=Health.WARNING)
    named(await asked(lambda _: httpx.Response(404)), "page", "404", "page.log", health=Health.WARNING)
    assert (await asked(lambda _: httpx.Response(200, text="ok\n"))).health is Health.OK
    assert (await desk.page("", timedelta(seconds=1))).health is Health.SKIPPED


async def test_dead_webhook_and_no_channel_at_all() -> None:
    """Faults 23 and 24; what is asked sends nothing, and no address is repeated."""
    asked: list[httpx.Request] = []

    def gone(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(404 if "discord" in request.url.host else 200)

    blocks = {"discord": {"url": "https://discord.com/api/webhooks/1/very-secret"}}
    blocks["telegram"] = {"token": "1:very-secret", "chat_id": "1"}
    first, second = await channels.webhooks(blocks, httpx.MockTransport(gone))
    named(first, "Discord webhook", "404", "make a new one")
    assert second.health is Health.OK
    assert "very-secret" not in f"{first} {second}"
    assert {request.method for request in asked} == {"GET"}
    none = dict.fromkeys(CHANNELS)
    named((await channels.webhooks(none))[0], "alerts", "nobody is told", *CHANNELS, health=Health.WARNING)


async def test_a_desk_that_tells_by_apprise_has_a_channel() -> None:
    """Every kind of channel counts, also one that cannot be asked without sending something."""
    for kind in CHANNELS:
        block = {"url": "ntfys://very-secret", "token": "1:very-secret"}
        found = await channels.webhooks({**dict.fromkeys(CHANNELS), kind: block}, httpx.MockTransport(answer_well))
        assert [each.check for each in found if each.health is Health.OK] == [channels.NAMES[kind]]
        assert len(found) == len(CHANNELS)
        assert "very-secret" not in str(found)


def answer_well(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, request=request)


def test_a_desk_with_real_money_and_no_heartbeat() -> None:
    """Fault 31: a machine that dies cannot say so. The address itself is never asked: that would be the all-clear."""
    found = channels.heartbeat(None, is_live=True)
    named(found, "heartbeat", "Kontor Heartbeat", "named default", health=Health.WARNING)
    assert channels.heartbeat(None, is_live=False).health is Health.SKIPPED
    set_up = channels.heartbeat({"url": "https://hc.example/very-secret"}, is_live=True)
    assert set_up.health is Health.OK
    assert "very-secret" not in str(set_up)


async def test_an_account_whose_gate_is_closed() -> None:
    """Fault 32: with what keeps it closed, when that is known."""
    store = MemoryStore()
    named(await desk.gate(store, "live"), "initialization", "gate is closed", "prefect deployment run initialize/live")
    noted = {"problem": "OnMaintenance: closed", "remedy": "at once: run it", "retry_at": "2026-01-01T03:04:05+00:00"}
    await store.desk.set_attribute("live", INITIALIZATION, noted, NOW)
    named(await desk.gate(store, "live"), "initialization", "OnMaintenance: closed", "at 03:04:05 UTC", "run it")
    await open_gate(store.desk, "live", NOW)
    assert (await desk.gate(store, "live")).health is Health.OK


async def test_halted_account_and_order_of_unknown_fate() -> None:
    """Faults 25 and 26."""
    store = MemoryStore()
    order = Order("o-1", "live", "BTC/USD", Side.BUY, OrderType.LIMIT, Decimal(1), price=Decimal(1), created_at=NOW)
    await store.orders.enqueue([order], "test")
    sent = replace(order, state=OrderState.SUBMITTED, unknown_since=NOW - timedelta(hours=1), updated_at=NOW)
    assert await store.orders.record([(order, sent)], actor="test", at=NOW) == [True]
    await halt(store.desk, "live", "restored", actor="kontor restore", at=NOW)
    first, second = await desk.trading(store, "live")
    named(first, "trading", "kontor restore", "resume-trading", health=Health.WARNING)
    named(second, "orders", "o-1", "resolve-order")


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
