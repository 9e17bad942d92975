"""Every updater is judged against its own interval."""

from datetime import UTC, datetime, timedelta

from kontor.domain.health import judge
from kontor.ports import Heartbeat

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def beat(name: str, *, ago: float | None, error: str | None = None) -> Heartbeat:
    at = None if ago is None else NOW - timedelta(seconds=ago)
    return Heartbeat(name, at, NOW if error else None, error, None)


def test_the_same_age_is_well_for_a_slow_updater_and_down_for_a_quick_one() -> None:
    intervals = {"quick": timedelta(seconds=10), "slow": timedelta(seconds=300)}
    beats = {name: beat(name, ago=60) for name in intervals}
    quick, slow = judge(intervals, beats, NOW)
    assert (quick.ok, slow.ok) == (False, True)
    assert quick.reason == "no success for 60 s"


def test_an_updater_that_never_reported_is_down() -> None:
    (verdict,) = judge({"lost": timedelta(seconds=10)}, {}, NOW)
    assert not verdict.ok
    assert (verdict.age, verdict.reason) == (None, "never reported")


def test_a_failure_is_no_sign_of_life() -> None:
    """The notebook set its status to True when a fetch failed."""
    (verdict,) = judge({"sick": timedelta(seconds=10)}, {"sick": beat("sick", ago=None, error="no route")}, NOW)
    assert (verdict.ok, verdict.reason) == (False, "no route")


def test_a_fresh_success_outweighs_an_older_error() -> None:
    (verdict,) = judge({"well": timedelta(seconds=10)}, {"well": beat("well", ago=3, error="old")}, NOW)
    assert verdict.ok
    assert verdict.age == timedelta(seconds=3)
