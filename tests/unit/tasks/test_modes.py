"""Live accounts are marked in every alert, whoever wrote it: the sender does it, from the account's block."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from kontor.errors import ConfigError
from kontor.notify import news
from kontor.ports import Alert
from tasks import KEEP_OPEN, notifications
from tasks.notifications import Modes
from tasks.resources import Resources

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Accounts:
    """The blocks of three accounts, one of which cannot be read."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def settings(self, _: Resources, account: str) -> Any:
        self.asked.append(account)
        if account == "gone":
            raise ConfigError("no block of that name")
        return SimpleNamespace(mode=account)


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> Accounts:
    accounts = Accounts()

    async def settings(resources: Resources, account: str) -> Any:
        return await accounts.settings(resources, account)

    monkeypatch.setattr(Resources, "settings", settings)
    return accounts


EVERY_KIND = [
    news.trading_halted("live", AT, reason="lost 5 %", actor="monitor-risk"),
    news.updaters_down("live", AT, reasons={"update-balance": "no success"}),
    news.limit_hit("live", AT, limit="max_order_value", text="", fields=(("Symbol", "BTC/USD"),)),
    Alert("BTC/USD has no stop", "", "critical", AT, "live", event="stop.missing"),
    Alert("Strategy trend fails", "", "critical", AT, "live", event="strategy.failed"),
    Alert("update-balance failed", "", "warning", AT, "live", (("Run", "red-fox"),), event="flow.failed"),
    news.report("capital", "Capital", "live", AT, (("Total", "1"),)),
]


@pytest.mark.parametrize("alert", EVERY_KIND, ids=lambda alert: alert.event)
async def test_whatever_is_told_of_a_live_account_says_so(alert: Alert, accounts: Accounts) -> None:
    """At three in the morning the first question is whether it is real money."""
    told = await Modes().stamp(alert)
    assert told.title == f"LIVE {alert.title}"
    assert dict(told.fields) == {**dict(alert.fields), "Mode": "live"}


async def test_a_paper_account_is_named_as_such_and_its_title_stays(accounts: Accounts) -> None:
    """Also where the alert brings its mode along, as a fill does: then nobody is asked."""
    alert = Alert("Filled", "", "info", AT, "paper", side="buy")
    told = await Modes().stamp(alert)
    assert (told.title, dict(told.fields)) == ("Filled", {"Mode": "paper"})
    live = Alert("Filled", "", "info", AT, "paper", (("Mode", "live"),))
    assert (await Modes().stamp(live)).title == "LIVE Filled"
    assert accounts.asked == ["paper"]


async def test_an_alert_goes_out_as_it_is_where_nobody_can_say(accounts: Accounts) -> None:
    """A block that cannot be read must not keep an alert back; nor is it asked for each of them."""
    modes, alert = Modes(), Alert("Halted", "", "critical", AT, "gone")
    assert await modes.stamp(alert) == alert
    assert await modes.stamp(alert) == alert
    assert accounts.asked == ["gone"]
    assert await modes.stamp(Alert("no account", "", "info", AT)) == Alert("no account", "", "info", AT)


async def test_what_was_known_stays_while_prefects_api_is_away(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live account does not turn into nothing because a server restarts."""
    modes, alert = Modes(), Alert("Halted", "", "critical", AT, "live")
    await modes.stamp(alert)

    async def away(_: Resources, __: str) -> Any:
        raise OSError("connection refused")

    monkeypatch.setattr(Resources, "settings", away)
    monkeypatch.setattr(notifications, "MODE_SECONDS", -1.0)
    assert (await modes.stamp(alert)).title == "LIVE Halted"


async def test_the_sender_of_a_process_stamps_and_that_of_a_worker_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers of a desk are one teller; a run by hand that fails is told whatever they have said today."""
    assert notifications.process_sender()._decisions.shared is None
    await notifications.close_sender(seconds=0)
    notifications._senders.clear()
    monkeypatch.setenv(KEEP_OPEN, "1")
    sender = notifications.process_sender()
    try:
        assert sender._stamp is not None
        assert sender._decisions.shared is not None
    finally:
        await notifications.close_sender(seconds=0)
        notifications._senders.clear()
