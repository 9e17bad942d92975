"""The doctor on what a desk needs while it trades: the exchange, Prefect's server, the page, channels, its accounts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import httpx
import pytest

from blocks.notifiers import CHANNELS
from deployments.doctor import channels, desk, venue
from deployments.doctor.verdict import Health, Verdict
from deployments.initialization import INITIALIZATION
from deployments.prefect_api import PrefectApi
from kontor.desk import open_gate
from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.execution.halt import halt
from kontor.ports import Exchange
from kontor.store.memory import MemoryStore
from tests.unit.cli.verdicts import NOW, SETTINGS, Account, budget, named, problems


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
