"""A shift: one executor's time with the lease, and what its parts share during it."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from kontor.config import OrderSettings
from kontor.domain.order import Order
from kontor.errors import AuthenticationFailed, KontorError, LeaseLost, Rejected, StoreError
from kontor.execution.halt import block
from kontor.execution.journal import Journal
from kontor.execution.lease import HeldLease
from kontor.ports import Alert, Clock, Exchange, Notifier, Store

log = logging.getLogger(__name__)

# Called with the name of each step between claim and recorded result; tests end the process there.
Failpoint = Callable[[str], None]


def no_failpoint(step: str) -> None:
    """Go on."""
    del step


@dataclass(slots=True)
class Shift:
    """What sender, canceler, resolver and follower work with while the lease is held."""

    account: str
    store: Store
    exchange: Exchange
    clock: Clock
    settings: OrderSettings
    held: HeldLease
    journal: Journal
    tasks: asyncio.TaskGroup
    notifier: Notifier | None = None
    failpoint: Failpoint = no_failpoint
    # Set whenever there may be something to do.
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    # Set whenever the loop has been through everything.
    came_round: asyncio.Event = field(default_factory=asyncio.Event)
    # Symbols with a create or a first cancel on the wire: their next order waits, so that order is kept.
    busy: Counter[str] = field(default_factory=Counter)
    # Client order ids that some task of this process is working on.
    at_work: set[str] = field(default_factory=set)
    # What the venue said against orders that were sent before: final once it is known not to have them.
    refusals: dict[str, Rejected] = field(default_factory=dict)
    # Orders whose id the venue refused as known already: it may not say later that it never had them.
    said_placed: set[str] = field(default_factory=set)
    running: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def request_timeout(self) -> float:
        """Seconds after which a request to the venue is given up."""
        return float(self.settings.request_timeout_seconds)

    def may_still_arrive(self, order: Order) -> bool:
        """Whether a send of an earlier executor, stopped between its check and its socket, could still come through."""
        if order.submitted_at is None:
            return False
        patience = timedelta(seconds=self.settings.lease_seconds + self.settings.request_timeout_seconds)
        return self.clock.now() < order.submitted_at + patience

    def hold(self, symbol: str) -> None:
        """Let the symbol's next order wait for what is on the wire."""
        self.busy[symbol] += 1

    def release(self, symbol: str) -> None:
        """Undo one `hold`."""
        self.busy[symbol] -= 1
        if self.busy[symbol] <= 0:
            del self.busy[symbol]

    def start(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Run some work beside the loop; what fails in it is logged and stays in it, a lost lease ends the shift."""
        contained = self._contain(work, name)
        try:
            task = self.tasks.create_task(contained, name=name)
        except RuntimeError:
            # The shift is ending: nothing new begins, whoever comes next finds the work in the store.
            contained.close()
            return
        self.running.add(task)
        task.add_done_callback(self._ended)

    def alert(self, title: str, text: str, *, severity: str = "critical", event: str = "order.held") -> None:
        """Tell a person, if the desk has a way to; never waits."""
        if self.notifier is not None:
            self.notifier.notify(Alert(title, text, severity, self.clock.now(), account=self.account, event=event))

    async def block(self, error: AuthenticationFailed) -> None:
        """The key is refused: nothing more can be sent until a person has mended it."""
        await block(self.store.desk, self.account, str(error), actor=self.journal.actor, at=self.clock.now())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        self.wake.set()

    async def _contain(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        try:
            await work()
        except LeaseLost:
            raise
        except StoreError as error:
            log.error("%s not recorded account=%s error=%s", name, self.account, error)  # noqa: TRY400  (says it all)
        except KontorError as error:
            log.warning("%s failed account=%s error=%s", name, self.account, error)
        except Exception:  # one piece of work must not end the others
            log.exception("%s failed account=%s", name, self.account)
