"""Telling the store what this process has left of its rate budget."""

import os
import socket

from kontor.desk import Desk
from kontor.exchange.session import Session
from kontor.resilience.budget_state import save_budget
from tasks.resources import Resources

EVERY_SECONDS = 15.0
PROCESS = f"{socket.gethostname()}:{os.getpid()}"


async def tell_budget(desk: Desk) -> None:
    """Note it, at most every quarter of a minute; nothing for an exchange that is not shared in this process."""
    if not isinstance(desk.exchange, Session):
        return
    told, now = Resources.here().budgets_told, desk.clock.monotonic()
    if now - told.get(desk.account, -EVERY_SECONDS) < EVERY_SECONDS:
        return
    # Late: it brings ccxt along, which the session has loaded by now.
    from kontor.exchange.opening import budget_of

    budget = budget_of(desk.exchange)
    if budget is not None:
        told[desk.account] = now
        await save_budget(desk.store.desk, desk.account, PROCESS, budget, desk.clock.now())
