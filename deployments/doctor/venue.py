"""The exchange as this machine and this key see it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from deployments.doctor.verdict import Verdict, failed, skipped, warning, well
from kontor.errors import AuthenticationFailed, ExchangeError
from kontor.exchange.capabilities import NEEDED
from kontor.exchange.key_permissions import TRADE, WITHDRAW, key_permissions
from kontor.ports import Exchange, ExchangeSettings
from kontor.resilience.budget_state import ReportedBudget

SLOW = timedelta(seconds=2)
# Exchanges refuse requests that are five to thirty seconds off.
NOTICEABLE, TOO_MUCH = timedelta(seconds=1), timedelta(seconds=4)
# Market data may use three quarters of the bucket: a little less than what it leaves to orders is scarce.
SCARCE = 0.15
CHECKS = ("exchange", "clock", "exchange key", "key permissions", "capabilities", "rate budget")


async def examine(
    exchange: Exchange, settings: ExchangeSettings, budgets: Sequence[ReportedBudget] = ()
) -> Sequence[Verdict]:
    """Every check of one account; nothing is traded."""
    began, began_at = time.monotonic(), datetime.now(UTC)
    try:
        theirs = await exchange.fetch_time()
    except ExchangeError as error:
        remedy = "check the network, the address in the account's block, and the exchange's status page"
        return [failed("exchange", str(error), remedy), *(skipped(name, "no answer") for name in CHECKS[1:])]
    took = timedelta(seconds=time.monotonic() - began)
    said = f"{settings.exchange_id} answers in {took.total_seconds() * 1000:.0f} ms"
    reachable = well("exchange", said)
    if took > SLOW:
        reachable = warning("exchange", said, "check the network: orders take as long")
    drift = theirs - (began_at + took / 2)
    return [
        reachable,
        clock(drift, took / 2),
        await key(exchange, settings),
        await permissions(exchange, settings),
        capabilities(exchange),
        rate_budget(budgets),
    ]


def clock(drift: timedelta, uncertainty: timedelta) -> Verdict:
    """How far this machine's clock is from the exchange's."""
    seconds = drift.total_seconds()
    said = f"the exchange's clock is {abs(seconds):.2f} s {'ahead of' if seconds > 0 else 'behind'} this machine's"
    remedy = "switch time synchronization on: timedatectl set-ntp true, or chrony"
    if abs(drift) - uncertainty > TOO_MUCH:
        return failed("clock", said, remedy)
    if abs(drift) - uncertainty > NOTICEABLE:
        return warning("clock", said, remedy)
    return well("clock", said)


async def key(exchange: Exchange, settings: ExchangeSettings) -> Verdict:
    """Whether the exchange takes the key."""
    if not settings.api_key:
        return failed("exchange key", f"block {settings.account} has none", "enter one in the UI under Blocks")
    try:
        await exchange.fetch_balance()
    except AuthenticationFailed as error:
        remedy = "enter the right key in the account's block; is it bound to another address, or has it lapsed?"
        return failed("exchange key", str(error), remedy)
    except ExchangeError as error:
        return failed(
            "exchange key", f"the account cannot be read: {error}", "try again; see the exchange's status page"
        )
    return well("exchange key", f"opens account {settings.account} ({settings.mode})")


async def permissions(exchange: Exchange, settings: ExchangeSettings) -> Verdict:
    """Whether the key may do what is needed, and no more."""
    try:
        found = await key_permissions(exchange)
    except ExchangeError as error:
        return skipped("key permissions", str(error))
    if found is None:
        remedy = "look at the exchange's own page: trade and read, never withdraw"
        return warning("key permissions", f"{settings.exchange_id} does not tell what a key may do", remedy)
    said = ", ".join(sorted(found))
    if TRADE not in found:
        return failed("key permissions", f"it may {said}, not trade", "allow trading for it, or make another key")
    if WITHDRAW in found and settings.mode == "live":
        remedy = "make one without that permission"
        return (warning if settings.may_withdraw else failed)("key permissions", f"it may {said}", remedy)
    return well("key permissions", f"it may {said}")


def capabilities(exchange: Exchange) -> Verdict:
    """What the desk would like to do and this exchange cannot."""
    lacking = exchange.profile.lacks(NEEDED)
    if lacking:
        return warning(
            "capabilities", "; ".join(lacking), "nothing: know what will not happen, or take another exchange"
        )
    return well("capabilities", f"{exchange.profile.exchange_id} can do all that the desk uses")


def rate_budget(reported: Sequence[ReportedBudget]) -> Verdict:
    """Whether requests of the running desk have to wait, by what its processes have said lately."""
    if not reported:
        return skipped("rate budget", "no process has said lately what it has left")
    tightest = min(reported, key=lambda each: each.left)
    said = ", ".join(f"{each.process} {max(each.left, 0):.0%} of {each.per_second:g} requests/s" for each in reported)
    if tightest.left < SCARCE:
        remedy = "fewer symbols or longer intervals; or raise requests_per_second in the block if the exchange allows"
        return warning("rate budget", f"used up: {said}; {tightest.waiting} calls wait", remedy)
    return well("rate budget", f"left: {said}")
