"""What a check found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from kontor.errors import KontorError


class Health(StrEnum):
    """How serious a finding is; only `failed` makes the doctor's exit code 1."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check: its name, how it went, the facts in a sentence, what to do, and the account where it is about one."""

    check: str
    health: Health
    finding: str
    remedy: str = ""
    account: str = ""


def well(check: str, finding: str) -> Verdict:
    """Nothing to do."""
    return Verdict(check, Health.OK, finding)


def warning(check: str, finding: str, remedy: str) -> Verdict:
    """The desk works, but somebody should know."""
    return Verdict(check, Health.WARNING, finding, remedy)


def failed(check: str, finding: str, remedy: str) -> Verdict:
    """The desk does not work, or not safely."""
    return Verdict(check, Health.FAILED, finding, remedy)


def skipped(check: str, finding: str) -> Verdict:
    """It could not be looked at now."""
    return Verdict(check, Health.SKIPPED, finding)


async def examined(check: str, look: Callable[[], Awaitable[Verdict]], remedy: str) -> Verdict:
    """The verdict, or what kept the check from having one: a doctor does not faint at what it finds."""
    try:
        return await look()
    except KontorError as error:
        return failed(check, str(error), remedy)
    except OSError as error:
        return failed(check, f"{type(error).__name__}: {error.strerror or error}", remedy)
