"""When an ended child is started again."""

from __future__ import annotations

from deployments.children import describe_exit
from deployments.crew import LONGEST_PAUSE, STEADY_SECONDS, Restarts


def test_a_child_that_keeps_ending_is_started_ever_later_but_never_given_up() -> None:
    """No hot loop, and no desk that stays half dead until morning."""
    restarts = Restarts()
    pauses = [restarts.pause_after(1.0, asked_for=False) for _ in range(2000)]
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_a_child_that_worked_for_a_while_is_started_soon_again() -> None:
    """Trouble of last week does not count."""
    restarts = Restarts()
    for _ in range(6):
        restarts.pause_after(1.0, asked_for=False)
    assert restarts.pause_after(STEADY_SECONDS, asked_for=False) == 0.5


def test_a_worker_that_asks_for_a_restart_gets_it_at_once() -> None:
    """It has drained before, on purpose: waiting would only make its runs late."""
    assert Restarts().pause_after(600, asked_for=True) == 0.0


def test_a_worker_that_asks_for_a_restart_as_soon_as_it_starts_does_not_hot_loop() -> None:
    """A memory ceiling below what an idle worker needs would be such a case."""
    restarts = Restarts()
    pauses = [restarts.pause_after(3.0, asked_for=True) for _ in range(20)]
    assert min(pauses) > 0
    assert pauses[-1] == LONGEST_PAUSE


def test_an_end_is_told_in_words() -> None:
    """`-9` means nothing at three in the morning."""
    assert describe_exit(-9) == "signal SIGKILL"
    assert describe_exit(75) == "exit code 75"
