"""Executor processes that start at once: one process imports everything and forks a child per executor.

Run as `python -m tests.chaos.executors SPEC` it answers each line of its input, a JSON object with what is different
about this one, with the pid of a child.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any, cast

import psutil

from kontor.config import OrderSettings
from kontor.domain.venue_profile import VenueProfile
from kontor.exchange.opening import open_exchange
from kontor.execution.executor import Executor
from kontor.ports import Exchange, ExchangeSettings
from kontor.resilience.clock import SystemClock
from kontor.store.opening import open_store


@dataclass(frozen=True)
class Spec:
    """Where the desk of a campaign is, and how impatient it is: seconds that are minutes elsewhere."""

    store_url: str
    rest_url: str
    log_file: str
    account: str = "paper"
    # API key, secret and passphrase; those of a paper exchange on its own follow from the account's name.
    key: tuple[str, str, str] | None = None
    lease_seconds: float = 0.8
    request_seconds: float = 0.8
    absence_seconds: float = 0.6
    good_for_seconds: float = 20.0
    # The step between claim and recorded result at which the process kills itself, or stops until it is continued.
    dies_at: str = ""
    stops_at: str = ""

    @property
    def settings(self) -> OrderSettings:
        """Order settings below the smallest ones kontor.yaml allows: a campaign has no time for real leases."""
        return OrderSettings.model_construct(
            good_for_seconds=self.good_for_seconds,
            lease_seconds=self.lease_seconds,
            request_timeout_seconds=self.request_seconds,
            cancel_on_stop=False,
        )

    def failpoint(self, step: str) -> None:
        """Called by the executor at each step."""
        if step == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == self.stops_at:
            os.kill(os.getpid(), signal.SIGSTOP)

    def open_exchange(self) -> Exchange:
        """The real adapter on the campaign's venue."""
        names = ("key", "secret", "passphrase")
        api_key, secret, password = self.key or [f"{self.account}-{name}" for name in names]
        settings = ExchangeSettings(
            exchange_id="okx",
            account=self.account,
            api_key=api_key,
            secret=secret,
            password=password,
            urls={"rest": self.rest_url, "ws": self.rest_url.replace("http", "ws") + "/ws/v5"},
            request_timeout=timedelta(seconds=self.request_seconds),
            requests_per_second=500,
        )
        inner: Any = open_exchange(settings, clock=SystemClock())
        return cast("Exchange", Impatient(inner, timedelta(seconds=self.absence_seconds)))


class Impatient:
    """An exchange whose absence grace is short; the paper exchange shows an order as soon as it has it."""

    def __init__(self, inner: Any, grace: timedelta) -> None:
        self._inner, self._grace = inner, grace

    @property
    def profile(self) -> VenueProfile:
        return replace(self._inner.profile, absence_grace=self._grace)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def execute(spec: Spec) -> None:
    """Be an executor until told to stop, or killed."""
    store = open_store(spec.store_url)
    exchange = spec.open_exchange()
    owner = f"chaos {os.getpid()}"
    executor = Executor(spec.account, store, exchange, SystemClock(), spec.settings, owner, failpoint=spec.failpoint)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, executor.stop)
    try:
        await executor.run()
    finally:
        await exchange.close()
        await store.close()


def spawn(spec: Spec) -> int:
    """Fork an executor; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        # The child's own output must not mix with the answers of its parent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        asyncio.run(execute(spec))
        code = 0
    except BaseException:
        logging.getLogger(__name__).exception("executor process failed")
    finally:
        logging.shutdown()
        os._exit(code)


def main(argument: str) -> None:
    """Answer each line of the input with the pid of a new executor, until the input ends."""
    spec = Spec(**json.loads(argument))
    form = "%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"
    logging.basicConfig(filename=spec.log_file, level=logging.INFO, format=form)
    # Killed children are nobody's zombies.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    children: list[int] = []
    for line in sys.stdin:
        children.append(spawn(replace(spec, **json.loads(line))))
        print(children[-1], flush=True)
    for pid in children:
        # Those that its reader has lost track of; a pid of one that is gone may not be ours any more.
        if _is_child(pid):
            os.kill(pid, signal.SIGKILL)


def _is_child(pid: int) -> bool:
    try:
        return psutil.Process(pid).ppid() == os.getpid()
    except psutil.NoSuchProcess:
        return False


def as_argument(spec: Spec) -> str:
    """The spec as `main` reads it."""
    return json.dumps(asdict(spec))


if __name__ == "__main__":
    main(sys.argv[1])
