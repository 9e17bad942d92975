"""A key that the exchange refuses: trading halts, people are told once, and one odd answer changes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from kontor.config import KontorConfig
from kontor.config.alerts import AlertSettings
from kontor.desk import Desk
from kontor.domain.health import UpdaterHealth
from kontor.errors import AccountBlocked, AuthenticationFailed, ExchangeError
from kontor.execution import clock_drift
from kontor.execution.halt import block, halt, halted, resume
from kontor.notify.teller import Teller
from kontor.ports import Alert, Exchange
from kontor.resilience.clock import VirtualClock
from kontor.store.memory import MemoryStore
from tasks.desk import _key_watch
from tasks.resources import Resources
from tasks.status import tell_changes
from tasks.watch import Watch

REFUSED = AuthenticationFailed("okx fetch_balance: invalid api key", code="50111")


@dataclass
class Account:
    """The one read that is asked for once more."""

    answers: list[Exception | None] = field(default_factory=list)

    async def fetch_balance(self) -> None:
        answer = self.answers.pop(0) if self.answers else REFUSED
        if answer is not None:
            raise answer


@dataclass
class Ears:
    """Takes alerts."""

    heard: list[Alert] = field(default_factory=list)

    def notify(self, alert: Alert) -> None:
        self.heard.append(alert)

    async def drain(self, *, seconds: float) -> int:  # noqa: ARG002 - the port's
        return 0


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
def desk(account: Account, ears: Ears) -> Desk:
    return Desk("live", KontorConfig(), cast("Exchange", account), MemoryStore(), VirtualClock(), ears)


@pytest.fixture
async def teller(desk: Desk, ears: Ears) -> Teller:
    """As watch-desk has it, following from now on."""
    watch = Watch("live", desk.store, cast("Resources", SimpleNamespace(clock=desk.clock)))
    teller = Teller("live", desk.store, desk.clock, ears, watch._halts)
    await teller.step(AlertSettings())
    return teller


async def run_updater(desk: Desk, name: str = "update-balance", *, gated: bool = True) -> None:
    """What becomes of a run whose key is refused."""
    async with _key_watch(desk, name, gated=gated):
        raise REFUSED


async def test_many_refused_runs_halt_the_account_and_are_told_once(desk: Desk, ears: Ears, teller: Teller) -> None:
    """Six updaters, the executor and a stream meet a revoked key at once; one message is what a person needs."""
    clock = cast("VirtualClock", desk.clock)
    ends = await asyncio.gather(*(run_updater(desk, f"updater-{n}") for n in range(6)), return_exceptions=True)
    await teller.step(AlertSettings())
    for actor in ("executor orders-1", "stream-account"):
        await block(desk.store.desk, "live", str(REFUSED), actor=actor, at=clock.now())
    ends += await asyncio.gather(*(run_updater(desk) for _ in range(3)), return_exceptions=True)
    for _ in range(120):
        await clock.advance(1)
        await teller.step(AlertSettings())
    assert {type(end) for end in ends} == {AccountBlocked}
    found = await halted(desk.store.desk, "live")
    assert found is not None
    assert found.blocked
    assert [(alert.severity, alert.account, alert.event) for alert in ears.heard] == [
        ("critical", "live", "trading.halted")
    ]
    assert ears.heard[0].title == "Trading halted: the exchange refuses the key"
    assert "invalid api key" in ears.heard[0].text


@pytest.mark.parametrize("actor", ["executor orders-1", "reconcile-orders", "monitor-risk", clock_drift.ACTOR, "me"])
async def test_a_halt_whose_caller_died_at_once_is_told_all_the_same(
    desk: Desk, ears: Ears, teller: Teller, actor: str
) -> None:
    """The switch is in the store; whoever set it need not live to tell."""
    await halt(desk.store.desk, "live", "lost 5 % today", actor=actor, at=desk.clock.now(), title="Trading halted: why")
    assert ears.heard == []
    await teller.step(AlertSettings())
    assert [(alert.title, dict(alert.fields)["By"]) for alert in ears.heard] == [("Trading halted: why", actor)]


def test_nobody_but_the_teller_tells_of_a_halt() -> None:
    """A second teller is a second message for every halt."""
    root = Path(__file__).parents[3]
    sources = [path for part in ("kontor", "tasks", "flows") for path in (root / part).rglob("*.py")]
    makers = {path.name for path in sources if 'event="trading.halted"' in path.read_text()}
    assert makers == {"news.py"}
    assert {path.name for path in sources if "trading_halted(" in path.read_text()} == {"news.py", "teller.py"}


@pytest.mark.parametrize("answer", [None, ExchangeError("venue down")])
async def test_one_odd_answer_is_a_failed_run_and_no_halt(
    desk: Desk, account: Account, ears: Ears, answer: Exception | None
) -> None:
    """A halt lasts until a person wakes up."""
    account.answers = [answer]
    with pytest.raises(AuthenticationFailed):
        await run_updater(desk)
    assert await halted(desk.store.desk, "live") is None
    assert ears.heard == []


async def test_initialization_fails_with_the_venues_words(desk: Desk, ears: Ears) -> None:
    """`kontor up` waits for it, and must not take Blocked for done."""
    with pytest.raises(AuthenticationFailed):
        await run_updater(desk, "initialize", gated=False)
    assert ears.heard == []


async def test_after_a_rotation_and_a_resume_the_next_revocation_is_told_again(
    desk: Desk, ears: Ears, teller: Teller
) -> None:
    """Once each time, not once for ever."""
    clock = cast("VirtualClock", desk.clock)
    with pytest.raises(AccountBlocked):
        await run_updater(desk)
    await teller.step(AlertSettings())
    await clock.advance(60)
    await resume(desk.store.desk, "live", actor="operator", at=clock.now())
    await teller.step(AlertSettings())
    with pytest.raises(AccountBlocked):
        await run_updater(desk)
    await teller.step(AlertSettings())
    assert [alert.event for alert in ears.heard] == ["trading.halted", "trading.resumed", "trading.halted"]


def down(name: str, reason: str) -> UpdaterHealth:
    return UpdaterHealth(name, timedelta(seconds=30), None, None, ok=False, reason=reason)


async def test_updaters_that_are_down_for_the_key_alone_are_no_further_alerts(desk: Desk, ears: Ears) -> None:
    """The halt has said it; what else is down is told as always."""
    verdicts = (
        down("update-balance", f"{type(REFUSED).__name__}: {REFUSED}"),
        down("update-tickers", "no network"),
    )
    await tell_changes.fn(desk, verdicts)
    assert len(ears.heard) == 1
    assert "update-tickers" in ears.heard[0].title + ears.heard[0].text
    assert "update-balance" not in ears.heard[0].title + ears.heard[0].text


async def test_the_account_stream_of_a_blocked_account_is_no_alert_of_its_own(desk: Desk, ears: Ears) -> None:
    """It has ended because of the key; on an account that is not blocked its silence is told."""
    silent = down("stream-account", "no success for 60 s")
    await block(desk.store.desk, "live", str(REFUSED), actor="stream-account", at=desk.clock.now())
    await tell_changes.fn(desk, (silent,))
    assert ears.heard == []
    await resume(desk.store.desk, "live", actor="operator", at=desk.clock.now())
    await tell_changes.fn(desk, (silent,))
    assert [alert.title for alert in ears.heard] == ["stream-account is down"]


async def test_what_was_down_before_the_key_was_refused_is_not_told_to_be_up(desk: Desk, ears: Ears) -> None:
    """Another reason for being down is no recovery."""
    await tell_changes.fn(desk, (down("update-balance", "no network"),))
    await tell_changes.fn(desk, (down("update-balance", f"AuthenticationFailed: {REFUSED}"),))
    assert [alert.event for alert in ears.heard] == ["updater.down"]
