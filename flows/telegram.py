"""The flow that takes commands by Telegram; optional, and off until kontor.yaml switches it on."""

from prefect import flow

from flows.shell import run_named_flow
from tasks.commands import Operator
from tasks.hooks import alert


@flow(name="answer-telegram", on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
async def answer_telegram(account: str = "paper") -> None:
    """Answer /status, /balance, /positions, /orders, /profit; carry out /halt, /resume, /cancel_all, /close, /place.

    Only from the chats that are configured; what is dangerous is asked back first. It goes on until it is canceled.
    """
    await (await Operator.of(account)).listen()


if __name__ == "__main__":
    run_named_flow(globals())
