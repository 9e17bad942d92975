"""A flow that always fails, run as a program of its own: the process ends right after it."""

import asyncio

from prefect import flow

from tasks.hooks import alert


@flow(name="update-nothing", retries=1, on_failure=[alert], on_crashed=[alert])
async def update_nothing(account: str = "paper") -> None:
    """Fails with a text that holds a secret."""
    raise RuntimeError(f"{account}: login failed, api_key=K-abcdef-123\nTraceback of something")


if __name__ == "__main__":
    asyncio.run(update_nothing())
