"""Every error Kontor raises. An exchange error answers one question: may I send this order again?

KontorError
├── ConfigError            a file, block or parameter is wrong: says where, and the remedy
├── StrategyFailed         a strategy raised, hung or returned something that is no decision
├── NotNow                 nothing failed, but this run has nothing to do now
│   ├── GateClosed         the desk is not initialized yet (run ends as `Waiting`)
│   ├── StreamIsFresh      a stream delivers it already (run ends as `Streamed`, a success)
│   ├── StillRunning       the predecessor is still at work (run ends as `Skipped`)
│   └── AccountBlocked     the venue refuses the account's key, which is told once (run ends as `Blocked`)
├── StoreError             the state store could not do it
│   ├── StoreUnavailable   disk full, read-only, locked or unreachable: halt, nothing unrecorded is sent
│   └── LeaseLost          somebody else holds the lease now: stop at once, write nothing
├── StepFailed             a step of a config-defined updater failed; what the steps before it stored stays
├── OrderError
│   ├── IllegalTransition  the order cannot go from this state to that one
│   ├── OrderDenied        our own gate refused: rule, limit and figure
│   └── OrderRefused       an order that a person wanted came to nothing
├── StreamBroken           a live stream lost its connection or its thread: reconcile, then go on
├── (DeadlineExceeded       a network operation took longer than it may: see kontor.resilience.deadline)
└── ExchangeError
    ├── NotSent            YES      the request never left this machine
    │   └── CircuitOpen             a breaker holds it back: the venue has not been answering; says when to come back
    ├── NotPlaced          YES      the venue refused to look at it now: back off first
    │   ├── RateLimited
    │   ├── OnMaintenance
    │   └── ClockSkewed
    ├── Rejected           NO       the venue looked at it and said no
    │   ├── InsufficientFunds
    │   ├── InvalidOrder
    │   ├── AuthenticationFailed    halts the key
    │   └── NotSupported            this venue cannot do that at all
    ├── Incomplete         LOOK_UP  a list is longer than can be fetched; ask for a shorter time
    ├── OrderNotFound      LOOK_UP  an answer to a question about an order; for a cancel: it may be filled
    ├── AlreadyPlaced      LOOK_UP  this client order id is known there
    └── OutcomeUnknown     LOOK_UP  it may or may not have been placed
"""

from datetime import timedelta
from decimal import Decimal
from enum import StrEnum


class Resend(StrEnum):
    """May the same request be sent again?"""

    YES = "yes"
    NO = "no"
    LOOK_UP = "look it up"


class KontorError(Exception):
    """Anything Kontor raises on purpose; its text is one sentence for a person."""


class ConfigError(KontorError):
    """A file, block or parameter is wrong; `where` names the place."""

    def __init__(self, problem: str, *, where: str = "") -> None:
        self.where, self.problem = where, problem
        super().__init__(f"{where}: {problem}" if where else problem)


class StrategyFailed(KontorError):
    """A strategy's code failed, or what it wants makes no sense; the others go on."""


class NotNow(KontorError):
    """This run has nothing to do now; `state_name` is what it ends as."""

    state_name = "Skipped"


class GateClosed(NotNow):
    """The desk is not initialized yet."""

    state_name = "Waiting"


class StreamIsFresh(NotNow):
    """A stream delivers what this run would fetch; the run counts as a success without a request."""

    state_name = "Streamed"


class StillRunning(NotNow):
    """The predecessor of this run is still at work."""


class AccountBlocked(NotNow):
    """The venue refuses the account's key; trading is halted and a person has been told."""

    state_name = "Blocked"


class StoreError(KontorError):
    """The state store could not do it."""


class StoreUnavailable(StoreError):
    """The store cannot be written or reached now."""


class LeaseLost(StoreError):
    """The lease is held by somebody else or has lapsed."""


class StepFailed(KontorError):
    """A step of an updater failed; the results of the steps before it are stored."""

    def __init__(self, number: int, steps: int, call: str, reason: str) -> None:
        self.number, self.steps, self.call = number, steps, call
        super().__init__(f"step {number} of {steps}, {call}: {reason}")


class StreamBroken(KontorError):
    """A live stream lost its connection, or something that was said on it: what happened meanwhile is never told."""


class OrderError(KontorError):
    """Something about one order."""


class IllegalTransition(OrderError):
    """An order cannot go from one state to another."""

    def __init__(self, client_order_id: str, old: str, new: str) -> None:
        self.client_order_id, self.old, self.new = client_order_id, old, new
        super().__init__(f"order {client_order_id}: cannot go from {old} to {new}")


class OrderDenied(OrderError):
    """Our own gate refused the order."""

    def __init__(
        self, rule: str, sentence: str, *, limit: Decimal | None = None, figure: Decimal | None = None
    ) -> None:
        self.rule, self.limit, self.figure = rule, limit, figure
        super().__init__(sentence)


class OrderRefused(OrderError):
    """The order came to nothing: our gate, the venue or its time said no; its history has the reason."""


class ExchangeError(KontorError):
    """The exchange, or the way to it, failed; `resend` says whether the same request may go out again."""

    resend: Resend = Resend.LOOK_UP

    def __init__(self, sentence: str, *, code: str = "") -> None:
        self.code = code
        super().__init__(sentence)


class NotSent(ExchangeError):
    """The request never left this machine."""

    resend = Resend.YES


class CircuitOpen(NotSent):
    """A circuit breaker holds the request back because the last ones came to nothing; try again after `retry_after`."""

    def __init__(self, name: str, retry_after: timedelta, reason: str) -> None:
        self.name, self.retry_after, self.reason = name, retry_after, reason
        super().__init__(
            f"{name} is held back for another {retry_after.total_seconds():.1f} s, nothing was sent: {reason}"
        )


class NotPlaced(ExchangeError):
    """The venue refused to look at the request now."""

    resend = Resend.YES

    def __init__(self, sentence: str, *, code: str = "", retry_after: timedelta | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(sentence, code=code)


class RateLimited(NotPlaced):
    """Too many requests."""


class OnMaintenance(NotPlaced):
    """The venue is closed for maintenance."""


class ClockSkewed(NotPlaced):
    """Our timestamp is too far from the venue's."""


class Rejected(ExchangeError):
    """The venue looked at the request and said no."""

    resend = Resend.NO


class InsufficientFunds(Rejected):
    """Not enough free balance or margin."""


class InvalidOrder(Rejected):
    """The venue does not accept such an order."""


class AuthenticationFailed(Rejected):
    """The key, secret or passphrase is wrong, revoked or lacks a permission."""


class NotSupported(Rejected):
    """This exchange cannot do that at all."""


class Incomplete(ExchangeError):
    """A list is longer than can be fetched; what came of it is not passed on as if it were all."""


class OrderNotFound(ExchangeError):
    """The venue does not know the order that was asked for."""


class AlreadyPlaced(ExchangeError):
    """The venue knows this client order id already."""


class OutcomeUnknown(ExchangeError):
    """The request may or may not have been carried out."""
