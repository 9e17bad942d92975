"""Group commit: what piles up shares a transaction; errors and cancellations stay with their own."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine

from kontor.errors import LeaseLost, StoreUnavailable
from kontor.store.sqlite_writer import MOST_AT_ONCE, SqliteWriter


class Database:
    """Counts transactions; the first one waits until the test has submitted the others."""

    def __init__(self) -> None:
        self.connection = create_engine("sqlite://").connect()
        self.transactions: list[bool] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.trouble: Exception | None = None
        self.committed = 0
        self.writer = SqliteWriter(self.commit, self._count)

    def _count(self) -> None:
        self.committed += 1

    def commit(self, work: Callable[[Connection], Any], durable: bool) -> Any:
        self.begun.set()
        assert self.go.wait(10)
        self.transactions.append(durable)
        if self.trouble:
            raise self.trouble
        return work(self.connection)

    def submit(self, *results: Any, durable: bool = True) -> list["Future[Any]"]:
        def job(result: Any) -> Callable[[Connection], Any]:
            def work(_: Connection) -> Any:
                if isinstance(result, Exception):
                    raise result
                return result

            return work

        return [self.writer.submit(job(result), durable=durable) for result in results]

    def hold(self) -> "Future[Any]":
        """A first job that is in the middle of its commit: whatever is submitted now piles up."""
        (first,) = self.submit("first")
        assert self.begun.wait(10)
        return first

    def finish(self) -> None:
        self.go.set()
        self.writer.finish(self.connection.close)


def results(futures: list["Future[Any]"]) -> list[Any]:
    return [future.result()[0] for future in futures]


def test_what_waits_shares_a_transaction() -> None:
    """The first goes alone, those that came meanwhile together: one wait on the disk for all of them."""
    database = Database()
    first = database.hold()
    futures = database.submit(*range(10))
    database.finish()
    assert results([first, *futures]) == ["first", *range(10)]
    assert database.transactions == [True, True]


def test_a_transaction_is_bounded() -> None:
    """A thousand orders do not keep the other processes out."""
    database = Database()
    database.hold()
    futures = database.submit(*range(3 * MOST_AT_ONCE))
    database.finish()
    assert results(futures) == list(range(3 * MOST_AT_ONCE))
    assert len(database.transactions) == 4


def test_an_error_is_its_own_jobs() -> None:
    """One executor has lost its lease: the orders that others enqueue meanwhile are stored."""
    database = Database()
    database.hold()
    one, lost, other = database.submit(1, LeaseLost("lost"), 2)
    database.finish()
    assert results([one, other]) == [1, 2]
    with pytest.raises(LeaseLost):
        lost.result()


def test_a_full_disk_is_everybodys_trouble() -> None:
    """Trying each alone would only take longer."""
    database = Database()
    database.trouble = StoreUnavailable("full")
    database.hold()
    futures = database.submit(*range(5))
    database.finish()
    assert all(isinstance(future.exception(), StoreUnavailable) for future in futures)
    assert len(database.transactions) == 2


def test_a_canceled_job_never_runs_and_holds_up_nobody() -> None:
    """A flow that timed out before its write had begun."""
    database = Database()
    database.hold()
    one, canceled, last = database.submit(0, 1, 2)
    assert canceled.cancel()
    database.finish()
    assert results([one, last]) == [0, 2]


def test_loose_work_goes_alone() -> None:
    """Candles take long: they are not added to the transaction of orders, nor to each other."""
    database = Database()
    database.hold()
    futures = [*database.submit(0), *database.submit(1, 2, durable=False), *database.submit(3, 4)]
    database.finish()
    assert results(futures) == list(range(5))
    assert database.transactions == [True, True, False, False, True]
