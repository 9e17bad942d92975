"""One commit for many answers."""

from __future__ import annotations

import asyncio

import pytest

from kontor.paper.commits import Commits


async def test_answers_that_wait_together_share_one_commit() -> None:
    """A commit costs a disk write; fifty orders at once must not cost fifty."""
    flushed: list[int] = []
    commits = Commits(lambda: flushed.append(1))
    await asyncio.gather(*(commits.done() for _ in range(50)))
    assert len(flushed) == 1
    await commits.done()
    assert len(flushed) == 2


async def test_nobody_is_answered_before_the_commit() -> None:
    """An acknowledged order must be on disk."""
    order: list[str] = []
    commits = Commits(lambda: order.append("commit"))

    async def answer() -> None:
        await commits.done()
        order.append("answer")

    await asyncio.gather(answer(), answer())
    assert order == ["commit", "answer", "answer"]


async def test_a_failed_commit_fails_every_answer_and_the_next_one_tries_again() -> None:
    """A full disk must not acknowledge anything, and must not be forever."""
    outcomes: list[Exception | None] = [OSError("disk full"), None]

    def flush() -> None:
        outcome = outcomes.pop(0)
        if outcome:
            raise outcome

    commits = Commits(flush)
    results = await asyncio.gather(commits.done(), commits.done(), return_exceptions=True)
    assert all(isinstance(result, OSError) for result in results)
    await commits.done()


async def test_a_client_that_goes_away_takes_nobodys_answer_with_it() -> None:
    """The shared commit outlives any one of those who wait for it."""
    commits = Commits(lambda: None)
    leaving, staying = asyncio.create_task(commits.done()), asyncio.create_task(commits.done())
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await staying
