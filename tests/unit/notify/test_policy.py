"""What one channel is told, and when: filters, quiet hours, grouping; and a day of flapping from end to end."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from kontor.config.alerts import AlertSettings, ChannelRules, QuietHours
from kontor.domain.order import Order, OrderType, Side
from kontor.notify import news
from kontor.notify.policy import Policy, quiet_until, wants
from kontor.notify.queued import Queued
from kontor.notify.repeats import Repeats
from kontor.ports import Alert

START = datetime(2026, 1, 10, 12, tzinfo=UTC)
FAILED = Alert("update-candles failed", "Why.", "warning", START, "paper", event="flow.failed")
DOWN = Alert("update-candles is down", "", "critical", START, "paper", event="updater.down", group="updaters")
UP = replace(DOWN, title="update-candles is up again", severity="info", event="updater.up")
FILL = Alert("Filled: buy 1 BTC/USD", "", "info", START, "paper", side="buy", event="order.filled")
HALT = Alert("Trading halted", "", "critical", START, "paper", event="trading.halted")
NIGHT = {"start": "23:00", "end": "07:00", "timezone": "Europe/Berlin"}


def rules(**given: Any) -> ChannelRules:
    return ChannelRules.model_validate(given)


@dataclass
class Day:
    """A channel's policy on a clock that the test moves."""

    rules: ChannelRules = field(default_factory=ChannelRules)
    seconds: float = 0.0
    policy: Policy = field(init=False)

    def __post_init__(self) -> None:
        self.policy = Policy(self.rules, lambda: START.timestamp() + self.seconds)

    def tell(self, alert: Alert) -> bool:
        return self.policy.admit(Queued(alert))

    def at(self, hour: int, minute: int = 0) -> None:
        """Move on to a time of this day, or of the next."""
        moment = START.replace(hour=hour, minute=minute)
        now = START + timedelta(seconds=self.seconds)
        self.seconds += (moment - now).total_seconds() % 86400


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {FAILED, DOWN, FILL}),
        ({"enabled": False}, set()),
        ({"severity": "warning"}, {FAILED, DOWN}),
        ({"severity": "critical"}, {DOWN}),
        ({"events": ["order.*"]}, {FILL, DOWN}),
        ({"events": ["order.*"], "without": ["updater.*"]}, {FILL}),
        ({"without": ["flow.failed"]}, {DOWN, FILL}),
        ({"without": ["*"]}, set()),
    ],
)
def test_a_channel_is_told_what_its_filters_let_through(given: dict[str, Any], told: set[Alert]) -> None:
    """The phone gets what needs a person, the channel of the team gets everything."""
    assert {alert for alert in (FAILED, DOWN, FILL) if wants(rules(**given), alert)} == told


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-01-10T21:59:59", None),  # 22:59:59 in Berlin
        ("2026-01-10T22:00:00", "2026-01-11T06:00:00"),
        ("2026-01-11T05:59:59", "2026-01-11T06:00:00"),
        ("2026-01-11T06:00:00", None),
        # The night in which the clocks go forward is an hour shorter.
        ("2026-03-28T23:30:00", "2026-03-29T05:00:00"),
    ],
)
def test_quiet_hours_are_those_of_their_time_zone(now: str, end: str | None) -> None:
    """Over midnight, and over the change to summer time."""
    found = quiet_until(QuietHours.model_validate(NIGHT), datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert found == (None if end is None else datetime.fromisoformat(end).replace(tzinfo=UTC))


def test_an_unquoted_time_in_yaml_means_what_it_says() -> None:
    """YAML 1.1 turns 23:00 into the number 1380."""
    hours = QuietHours.model_validate({"start": 23 * 60, "end": 7 * 60 + 30})
    assert (f"{hours.start:%H:%M}", f"{hours.end:%H:%M}") == ("23:00", "07:30")


def test_at_night_only_critical_alerts_come_and_one_digest_in_the_morning() -> None:
    """Sleep, unless the house burns; and nothing is lost by sleeping."""
    day = Day(rules(quiet_hours=NIGHT))
    day.at(22, 30)  # UTC: half past eleven in Berlin
    assert not day.tell(FILL)
    assert not day.tell(FILL)
    assert not day.tell(FAILED)
    assert day.tell(HALT)
    assert day.policy.due() == []
    wait = day.policy.next_due_in()
    assert wait is not None
    assert wait == 7.5 * 3600
    day.seconds += wait
    (digest,) = day.policy.due()
    assert digest.alert.title == "3 alerts in one"
    assert digest.alert.text == "2 × Filled: buy 1 BTC/USD\nupdate-candles failed"
    assert (digest.alert.severity, digest.alert.event) == ("warning", "alerts.digest")
    assert day.policy.next_due_in() is None
    assert day.tell(FILL)


UNKNOWN = Order("k1", "paper", "BTC/USD", Side.BUY, OrderType.MARKET, Decimal(1), START, unknown_since=START)


@pytest.mark.parametrize(
    "alert",
    [
        news.trading_halted("paper", START, reason="lost 5 % today", actor="monitor-risk"),
        news.order_unknown(UNKNOWN, START + timedelta(minutes=1), mode="live"),
        Alert("Reconciliation found differences", "BTC: 1 too many", "critical", START, "paper", event="drift"),
        news.updaters_down("paper", START, reasons={"update-balance": "never reported"}),
    ],
    ids=lambda alert: alert.event,
)
def test_what_needs_a_person_pierces_quiet_hours_and_any_grouping(alert: Alert) -> None:
    """A halt, an unknown outcome, drift and a dead updater, at three in the morning after a hundred other alerts."""
    day = Day(rules(quiet_hours=NIGHT, events=["order.*"], grouping={"burst": 1}))
    day.at(2)
    for number in range(100):
        assert not day.tell(replace(FAILED, title=f"updater {number} failed"))
    assert alert.severity == "critical"
    assert wants(day.rules, alert)
    assert day.tell(alert)
    assert day.policy.due() == []


def test_one_alert_held_alone_comes_as_it_was() -> None:
    """A digest of one would hide its facts."""
    day = Day(rules(quiet_hours=NIGHT))
    day.at(23)
    assert not day.tell(FAILED)
    assert day.policy.flush() == [Queued(FAILED)]


def test_too_many_are_one_digest_and_trades_and_critical_ones_pass() -> None:
    """An exchange that fails makes every updater fail: five messages say so, not fifty."""
    day = Day()
    failures = [replace(FAILED, title=f"updater {number} failed") for number in range(40)]
    assert [day.tell(each) for each in failures].count(True) == 5
    assert all(day.tell(each) for each in (FILL, DOWN, replace(FILL, side=None, event="report.capital")))
    day.seconds += 300
    (digest,) = day.policy.due()
    assert digest.alert.title == "35 alerts in one"
    assert digest.alert.text.splitlines()[0] == "updater 5 failed"
    assert digest.alert.text.splitlines()[-1] == "and 20 more"


def test_what_is_held_is_bounded() -> None:
    """A hundred thousand different alerts in quiet hours must not be remembered one by one."""
    day = Day(rules(quiet_hours=NIGHT))
    day.at(23)
    for number in range(10_000):
        day.tell(replace(FAILED, title=f"{number}"))
    assert len(day.policy._held.titles) == 15
    (digest,) = day.policy.flush()
    assert digest.alert.title == "10000 alerts in one"


@pytest.mark.parametrize("period", [10, 60, 300, 1800])
def test_a_day_of_flapping_is_at_most_twenty_messages_in_a_channel(period: int) -> None:
    """One updater fails, is down and is up again all day long, as fast as it can or every half hour."""
    day, repeats = Day(), Repeats()
    sent = 0

    def through(queued: list[Queued]) -> int:
        return sum(day.policy.admit(each) for each in queued)

    for second in range(0, 24 * 3600, 10):
        day.seconds = float(second)
        sent += through(repeats.due(second)) + len(day.policy.due())
        if second % period == 0:
            story = [FAILED, DOWN] if second // period % 2 else [UP]
            sent += through([found for alert in story if (found := repeats.admit(alert, second))])
    assert 4 <= sent <= 20


@pytest.mark.parametrize("components", [2, 10, 40])
def test_many_components_that_flap_together_are_no_more_messages(components: int) -> None:
    """A venue that comes and goes takes all updaters with it; down and up again is one story for all of them."""
    day, repeats = Day(), Repeats()
    sent = 0
    for second in range(0, 24 * 3600, 60):
        day.seconds = float(second)
        story = [replace(FAILED, title=f"updater {number} failed") for number in range(components)]
        story.append(DOWN if second // 60 % 2 else UP)
        passed = [*repeats.due(second), *(found for alert in story if (found := repeats.admit(alert, second)))]
        sent += sum(day.policy.admit(each) for each in passed) + len(day.policy.due())
    assert sent <= 20


def test_a_channel_without_quiet_hours_of_its_own_takes_those_of_all() -> None:
    """Said once for everybody, and again only where it differs."""
    settings = AlertSettings.model_validate(
        {
            "quiet_hours": NIGHT,
            "channels": {"telegram": {"severity": "critical"}, "discord": {"quiet_hours": {**NIGHT, "end": "08:00"}}},
        }
    )
    hours = [settings.rules(name).quiet_hours for name in ("telegram", "discord", "apprise")]
    assert [str(each.end) if each else None for each in hours] == ["07:00:00", "08:00:00", "07:00:00"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"channels": {"sms": {}}}, "channels.sms"),
        ({"channels": {"discord": {"severity": "loud"}}}, "'info', 'warning' or 'critical'"),
        ({"channels": {"discord": {"events": ["Order Filled"]}}}, "pattern"),
        ({"quiet_hours": {**NIGHT, "timezone": "Europe/Atlantis"}}, "write an IANA name, such as Europe/Berlin"),
        ({"quiet_hours": {"start": "25:00", "end": "07:00"}}, "start"),
        ({"quiet_hours": {"start": "23:00"}}, "end"),
    ],
)
def test_a_mistake_names_its_place(given: dict[str, Any], sentence: str) -> None:
    """kontor.yaml is edited by hand."""
    with pytest.raises(ValueError, match=sentence):
        AlertSettings.model_validate(given)


REPORT = Alert("Daily summary 2026-01-10", "", "info", START, "paper", (("Capital", "1,000.00 USD"),))
REPORT = replace(REPORT, event="report.daily_summary")


def test_reports_of_the_night_come_whole_in_the_morning_beside_the_digest() -> None:
    """The summary is for its figures; of an hourly message only the newest is of use."""
    day = Day(rules(quiet_hours=NIGHT))
    day.at(23)
    capital = replace(REPORT, title="Capital", event="report.capital")
    for alert in (FILL, FAILED, replace(capital, text="old"), REPORT, replace(capital, text="new"), FILL):
        assert not day.tell(alert)
    assert day.policy.due() == []
    wait = day.policy.next_due_in()
    assert wait is not None
    day.seconds += wait
    digest, *reports = day.policy.due()
    assert digest.alert.title == "3 alerts in one"
    assert [queued.alert for queued in reports] == [replace(capital, text="new"), REPORT]
    assert day.policy.next_due_in() is None


def test_a_report_held_alone_comes_when_the_quiet_hours_end() -> None:
    """A desk that slept well has nothing else to say."""
    day = Day(rules(quiet_hours=NIGHT))
    day.at(23)
    assert not day.tell(REPORT)
    wait = day.policy.next_due_in()
    assert wait is not None
    day.seconds += wait
    assert [queued.alert for queued in day.policy.due()] == [REPORT]


def test_an_updater_that_dies_is_told_at_once_however_much_another_one_flaps() -> None:
    """At two in the morning, after an evening of update-ranges: track-orders must not wait until six."""
    day, repeats = Day(rules(quiet_hours=NIGHT)), Repeats()

    def tell(alert: Alert) -> bool:
        found = repeats.admit(alert, START.timestamp() + day.seconds)
        return found is not None and day.policy.admit(found)

    def down(*names: str) -> Alert:
        return news.updaters_down("paper", START, reasons=dict.fromkeys(names, "no success"))

    day.at(18)
    told = 0
    for number in range(96):
        told += tell(news.updaters_up("paper", START, names=["update-ranges"]) if number % 2 else down("update-ranges"))
        for digest in repeats.due(START.timestamp() + day.seconds):
            told += day.policy.admit(digest)
        day.policy.due()
        day.seconds += 300
    assert 1 <= told <= 5
    assert not tell(down("update-ranges"))
    assert tell(down("track-orders", "update-ranges"))
    assert tell(down("track-orders", "update-positions", "update-ranges"))
    assert not tell(down("track-orders", "update-positions", "update-ranges"))


def test_critical_alerts_have_a_limit_a_day_and_what_must_be_known_has_none() -> None:
    """Forty strategies that fail are six messages and digests; a halt among them comes at once, by night too."""
    day = Day(rules(quiet_hours=NIGHT))
    day.at(23)
    failing = [replace(DOWN, title=f"Strategy {number} fails", group="") for number in range(40)]
    assert [day.tell(each) for each in failing].count(True) == 6
    assert day.tell(HALT)
    assert day.tell(replace(HALT, event="drift"))
    assert day.tell(replace(HALT, event="order.unknown"))
    assert not day.policy.admit(Queued(replace(DOWN, title="again"), is_first=False))
    (digest,) = day.policy.due()
    assert (digest.alert.title, digest.alert.severity) == ("35 alerts in one", "critical")
    day.seconds += 86_400
    assert day.tell(DOWN)


def test_a_critical_alert_that_comes_again_leaves_room_for_news() -> None:
    """Half of the day's limit is for what nobody has heard of yet."""
    day = Day()
    again = [Queued(replace(DOWN, title=f"{number}"), is_first=False) for number in range(10)]
    assert [day.policy.admit(each) for each in again].count(True) == 3
    assert [day.tell(replace(DOWN, title=f"new {number}")) for number in range(10)].count(True) == 3


def test_what_was_decided_is_the_same_after_it_was_kept_and_read_again() -> None:
    """A restart, or another process: the pauses go on, and what is held comes whole."""
    first = Day(rules(quiet_hours=NIGHT))
    first.at(23)
    for alert in (FILL, FAILED, REPORT, *(replace(DOWN, title=f"{number}") for number in range(8))):
        first.tell(alert)
    kept = json.loads(json.dumps(first.policy.dump()))
    second = Day(first.rules, first.seconds)
    second.policy.load(kept)
    assert second.policy.dump() == first.policy.dump()
    assert second.policy.flush() == first.policy.flush()
