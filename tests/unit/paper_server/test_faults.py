"""Planned faults: which requests they hit, how often, and that a seed repeats them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from kontor.paper.faults import FaultKind, FaultPlan, FaultRule
from kontor.paper.injection import shift_stamps

ORDER = ("POST", "/api/v5/trade/order", "")


def hits(plan: FaultPlan, count: int, method: str = "POST", path: str = "/api/v5/trade/order") -> list[bool]:
    return [plan.for_request(method, path, "") is not None for _ in range(count)]


def test_without_a_word_a_fault_happens_once() -> None:
    """The commonest wish in a test: the next call goes wrong."""
    plan = FaultPlan()
    plan.add(FaultRule(kind=FaultKind.HTTP_500))
    assert hits(plan, 3) == [True, False, False]


def test_a_fault_happens_as_often_as_told() -> None:
    """Twice means the first two."""
    plan = FaultPlan()
    plan.add(FaultRule(kind=FaultKind.HTTP_500, times=2))
    assert hits(plan, 4) == [True, True, False, False]


def test_the_same_seed_hits_the_same_requests() -> None:
    """A failed campaign can be run again."""
    runs = []
    for _ in range(2):
        plan = FaultPlan()
        plan.add(FaultRule(kind=FaultKind.DROP_AFTER, probability=0.3, seed=11))
        runs.append(hits(plan, 200))
    assert runs[0] == runs[1]
    assert 30 < sum(runs[0]) < 90


def test_another_seed_hits_others() -> None:
    """Campaigns differ by their seed alone."""
    runs = []
    for seed in (1, 2):
        plan = FaultPlan()
        plan.add(FaultRule(kind=FaultKind.DROP_AFTER, probability=0.3, seed=seed))
        runs.append(hits(plan, 200))
    assert runs[0] != runs[1]


def test_chance_and_number_together_cap_the_hits() -> None:
    """At most three, whenever chance has it."""
    plan = FaultPlan()
    plan.add(FaultRule(kind=FaultKind.DROP_AFTER, probability=0.5, times=3, seed=1))
    assert sum(hits(plan, 100)) == 3


def test_only_the_named_path_method_and_text_are_hit() -> None:
    """A fault for one order must not touch another's."""
    plan = FaultPlan()
    plan.add(FaultRule(kind=FaultKind.HANG, path="/api/v5/trade/*", method="POST", contains="abc", probability=1))
    assert plan.for_request("POST", "/api/v5/trade/order", '{"clOrdId":"abc"}')
    assert not plan.for_request("GET", "/api/v5/trade/order", "clOrdId=abc")
    assert not plan.for_request("POST", "/api/v5/trade/order", '{"clOrdId":"abd"}')
    assert not plan.for_request("POST", "/api/v5/account/set-leverage", "abc")


def test_the_first_fault_that_fires_wins_and_the_next_waits_its_turn() -> None:
    """Rules read as a script: first a 500, then a dropped connection."""
    plan = FaultPlan()
    plan.add(FaultRule(kind=FaultKind.HTTP_500))
    plan.add(FaultRule(kind=FaultKind.DROP_AFTER))
    fired = [plan.for_request(*ORDER) for _ in range(3)]
    assert [rule.kind if rule else None for rule in fired] == [FaultKind.HTTP_500, FaultKind.DROP_AFTER, None]


def test_socket_faults_leave_requests_alone_and_the_other_way_round() -> None:
    """A rule for every path must not break the handshake when it means open sockets."""
    plan = FaultPlan()
    plan.add(FaultRule(kind=FaultKind.WS_CLOSE, probability=1))
    assert plan.for_request("GET", "/ws/v5/public", "") is None
    assert plan.for_socket("/ws/v5/public")
    assert plan.any_on_sockets
    plan.remove()
    plan.add(FaultRule(kind=FaultKind.HTTP_503, probability=1))
    assert plan.for_socket("/ws/v5/public") is None
    assert not plan.any_on_sockets


def test_hits_and_opportunities_are_counted() -> None:
    """A test asserts that its fault really happened."""
    plan = FaultPlan()
    planned = plan.add(FaultRule(kind=FaultKind.HTTP_500, times=2))
    hits(plan, 5)
    shown = plan.as_json()[0]
    assert (shown["id"], shown["hits"], shown["seen"], shown["kind"]) == (planned.id, 2, 2, "http_500")


def test_a_removed_fault_no_longer_happens() -> None:
    """Removal by id, then of everything."""
    plan = FaultPlan()
    first = plan.add(FaultRule(kind=FaultKind.HTTP_500, probability=1))
    plan.add(FaultRule(kind=FaultKind.HTTP_502, probability=1))
    assert plan.remove(first.id) == 1
    assert plan.remove(first.id) == 0
    rule = plan.for_request(*ORDER)
    assert rule is not None
    assert rule.kind is FaultKind.HTTP_502
    assert plan.remove() == 1
    assert hits(plan, 2) == [False, False]


@pytest.mark.parametrize(
    ("kind", "when", "processed"),
    [
        ("drop_before", None, False),
        ("drop_after", None, True),
        ("http_500", None, False),
        ("http_503", "after", True),
        ("html_200", None, True),
        ("html_200", "before", False),
        ("hang", None, False),
        ("hang", "after", True),
        ("http_429", None, False),
        ("truncated_json", None, True),
    ],
)
def test_a_rule_says_whether_the_request_takes_effect(kind: str, when: str | None, processed: bool) -> None:
    """The difference between a lost order and a doubled one."""
    assert FaultRule.model_validate({"kind": kind, "when": when}).processed is processed


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "no_such"},
        {"kind": "delay"},
        {"kind": "wrong_clock"},
        {"kind": "http_500", "times": 0},
        {"kind": "http_500", "probability": 1.5},
        {"kind": "http_500", "sometimes": True},
        {"kind": "drop_before", "when": "after"},
        {"kind": "http_429", "when": "after"},
        {"kind": "hang", "seconds": -1},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: dict[str, object]) -> None:
    """A fault that silently never happens would make a test that cannot fail."""
    with pytest.raises(ValidationError):
        FaultRule.model_validate(rule)


def test_a_wrong_clock_moves_every_timestamp_and_nothing_else() -> None:
    """Prices and ids that look like numbers stay as they are."""
    payload = {"code": "0", "data": [{"ts": "1000", "px": "1000", "ordId": "1000", "fillTime": "", "uTime": "2000"}]}
    assert shift_stamps(payload, 500) == {
        "code": "0",
        "data": [{"ts": "1500", "px": "1000", "ordId": "1000", "fillTime": "", "uTime": "2500"}],
    }
