"""What tests of the doctor share: an exchange to examine, and what a verdict has to say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deployments.doctor.verdict import Health, Verdict
from kontor.domain.venue_profile import VenueProfile
from kontor.errors import AuthenticationFailed, ExchangeError
from kontor.exchange.capabilities import NEEDED
from kontor.ports import ExchangeSettings
from kontor.resilience.budget_state import ReportedBudget

NOW = datetime.now(UTC)
SETTINGS = ExchangeSettings("okx", "live", api_key="k", secret="s", mode="live")


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


def budget(left: float, process: str = "host:1") -> ReportedBudget:
    return ReportedBudget(process, 20.0, left, 3, NOW)
