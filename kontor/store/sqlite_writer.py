"""The one writing thread of a process: units of work that pile up while the disk is busy share the next commit."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from kontor.errors import StoreUnavailable

T = TypeVar("T")

# After a unit of work that was not durable (candles), the lock is left alone for as long as it was held, at most so
# long: another process's order then gets its turn between two of them.
MOST_COURTESY_SECONDS = 0.004

# What one commit may carry: beyond this the write lock would be held for long.
MOST_AT_ONCE = 64

# The change numbers that a unit of work has reached, by account.
Announced = dict[str, int]


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """A unit of work, and the future of its result."""

    work: Callable[[Connection], T]
    durable: bool
    done: "Future[tuple[T, Announced]]" = field(default_factory=Future)


class SqliteWriter:
    """Runs jobs in order, in one thread; `commit` runs a function in one transaction, again while others hold the lock.

    `committed` is called in that thread after each transaction.

    Durable jobs that wait go into one transaction, for one wait on the disk. Should any of them fail, each runs alone:
    an error is its own job's.
    """

    def __init__(
        self, commit: Callable[[Callable[[Connection], Any], bool], Any], committed: Callable[[], None]
    ) -> None:
        self._commit, self._committed = commit, committed
        self._jobs: deque[Job[Any]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")

    def submit(self, work: Callable[[Connection], T], *, durable: bool) -> "Future[tuple[T, Announced]]":
        """The result of `work` and what it announced, once committed; canceled before it begins, it never runs."""
        job = Job(work, durable)
        self._jobs.append(job)
        self._thread.submit(self._next)
        return job.done

    def finish(self, last: Callable[[], None]) -> None:
        """Do what was submitted, then `last`, then end the thread."""
        self._thread.submit(last).result()
        self._thread.shutdown()

    def _next(self) -> None:
        batch = self._take()
        if len(batch) > 1 and self._all_at_once(batch):
            return
        for job in batch:
            began = time.monotonic()
            self._alone(job)
            if not job.durable:
                time.sleep(min(time.monotonic() - began, MOST_COURTESY_SECONDS))

    def _take(self) -> list[Job[Any]]:
        """The next job that nobody has canceled, with the durable ones behind it."""
        batch: list[Job[Any]] = []
        while self._jobs and len(batch) < MOST_AT_ONCE:
            if batch and not (batch[-1].durable and self._jobs[0].durable):
                break
            job = self._jobs.popleft()
            if job.done.set_running_or_notify_cancel():
                batch.append(job)
        return batch

    def _all_at_once(self, batch: list[Job[Any]]) -> bool:
        try:
            results = self._commit(lambda conn: [_run(job, conn) for job in batch], True)
        except StoreUnavailable as error:
            # No better for each alone.
            for job in batch:
                job.done.set_exception(error)
        except Exception:  # noqa: BLE001, whatever it is, the job it belongs to will raise it again
            return False
        else:
            for job, result in zip(batch, results, strict=True):
                job.done.set_result(result)
            self._committed()
        return True

    def _alone(self, job: Job[Any]) -> None:
        try:
            result = self._commit(lambda conn: _run(job, conn), job.durable)
        except BaseException as error:  # noqa: BLE001, it is raised where the result is awaited
            job.done.set_exception(error)
        else:
            job.done.set_result(result)
            self._committed()


def _run(job: Job[T], conn: Connection) -> tuple[T, Announced]:
    announced: Announced = {}
    conn.info["announced"] = announced
    return job.work(conn), announced
