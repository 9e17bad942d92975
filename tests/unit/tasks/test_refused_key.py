"""A key that the exchange refuses: trading halts, one person is told once, and one odd answer changes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import pytest

from kontor.config import KontorConfig
from kontor.desk import Desk
from kontor.domain.health import UpdaterHealth
from kontor.errors import AccountBlocked, AuthenticationFailed, ExchangeError
from kontor.execution.halt import halted, resume
from kontor.ports import Alert, Exchange
from kontor.resilience.clock import VirtualClock
from kontor.store.memory import MemoryStore
from tasks.desk import _key_watch
from tasks.status import tell_changes

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


async def run_updater(desk: Desk, name: str = "update-balance", *, gated: bool = True) -> None:
    """What becomes of a run whose key is refused."""
    async with _key_watch(desk, name, gated=gated):
        raise REFUSED


async def test_many_refused_runs_halt_the_account_and_tell_it_once(desk: Desk, ears: Ears) -> None:
    """Six updaters meet a revoked key within the same half minute; one message is what a person needs."""
    ends = await asyncio.gather(*(run_updater(desk, f"updater-{n}") for n in range(6)), return_exceptions=True)
    ends += await asyncio.gather(*(run_updater(desk) for _ in range(3)), return_exceptions=True)
    assert {type(end) for end in ends} == {AccountBlocked}
    found = await halted(desk.store.desk, "live")
    assert found is not None
    assert found.blocked
    assert [(alert.severity, alert.account) for alert in ears.heard] == [("critical", "live")]
    assert "invalid api key" in ears.heard[0].text


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


async def test_after_a_rotation_and_a_resume_the_next_revocation_is_told_again(desk: Desk, ears: Ears) -> None:
    """Once each time, not once for ever."""
    clock = cast("VirtualClock", desk.clock)
    with pytest.raises(AccountBlocked):
        await run_updater(desk)
    await clock.advance(60)
    await resume(desk.store.desk, "live", actor="operator", at=clock.now())
    with pytest.raises(AccountBlocked):
        await run_updater(desk)
    assert len(ears.heard) == 2


async def test_updaters_that_are_down_for_the_key_alone_are_no_further_alerts(desk: Desk, ears: Ears) -> None:
    """The halt has said it; what else is down is told as always."""

    def down(name: str, reason: str) -> UpdaterHealth:
        return UpdaterHealth(name, timedelta(seconds=30), None, None, ok=False, reason=reason)

    verdicts = (
        down("update-balance", f"{type(REFUSED).__name__}: {REFUSED}"),
        down("update-tickers", "no network"),
    )
    await tell_changes.fn(desk, verdicts)
    assert len(ears.heard) == 1
    assert "update-tickers" in ears.heard[0].title + ears.heard[0].text
    assert "update-balance" not in ears.heard[0].title + ears.heard[0].text
