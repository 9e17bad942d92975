"""The flow that tells people what happens, for as long as the desk runs."""

from prefect import flow

from flows.shell import run_named_flow
from tasks.hooks import alert
from tasks.watch import open_watch


@flow(name="watch-desk", on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
async def watch_desk(account: str = "paper") -> None:
    """Tell of orders, positions, halts and the desk itself, once each; send the heartbeat while all is well.

    It has no timeout and no schedule: its deployment's trigger starts the next run when this one fails or crashes. What
    happens while none runs is told by the next one. Nothing in trading waits for it.
    """
    async with open_watch(account) as watch:
        await watch.keep()


if __name__ == "__main__":
    run_named_flow(globals())
