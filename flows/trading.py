"""Trading by rule: the strategies of kontor.yaml, phase by phase."""

from typing import Any

from prefect import flow

from flows.shell import run_named_flow
from tasks.desk import open_desk, updater
from tasks.hooks import alert
from tasks.trading import ask_strategies, describe, show_strategies, tell_trouble


@flow(name="run-strategies", timeout_seconds=30, on_failure=[alert], on_crashed=[alert])
@updater
async def run_strategies(account: str = "paper") -> dict[str, Any]:
    """Ask each enabled strategy what to do now, and queue it through the gate.

    A strategy that fails is told of and does nothing; the others go on. A run that is repeated finds the orders it made
    by their client order ids: strategy, symbol, candle and leg. So it is never retried with another outcome.
    """
    async with open_desk(account, updater="run-strategies") as desk:
        runs = await ask_strategies(desk)
        await tell_trouble(desk, runs)
    await show_strategies(account, runs)
    return describe(runs)


if __name__ == "__main__":
    run_named_flow(globals())
