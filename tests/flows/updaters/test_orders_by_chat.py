"""Trading by Telegram on the real command flow: asked back, confirmed, done at the venue, and only for who may."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from decimal import Decimal

import pytest

from blocks.notifiers import TelegramBot
from flows.telegram import answer_telegram
from kontor.domain.order import OrderState
from kontor.execution.halt import halted
from tests.flows.blocks.conftest import delete_block
from tests.flows.updaters.conftest import Account
from tests.support import telegram
from tests.support.telegram import TelegramServer

SWAP = "BTC/USD:USD"
STRANGER = 4711


@pytest.fixture
async def chat(trading: Account) -> AsyncIterator[TelegramServer]:
    """A chat whose bot is listened to; user 7 of the block's chat may command, user 8 may not."""
    with trading.config.open("a") as config:
        config.write("alerts: {telegram_commands: {enabled: true, users: [7, 9]}}\n")
    async with TelegramServer() as server:
        block = {"token": telegram.TOKEN, "chat_id": telegram.CHAT, "api_url": server.address}
        await TelegramBot.model_validate(block).asave("default", overwrite=True)
        listening = asyncio.create_task(answer_telegram(account=trading.name))
        yield server
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await delete_block(TelegramBot, "default")


async def says(chat: TelegramServer, text: str, user: int = 7) -> str:
    """Type something, and the answer."""
    chat.type(text, user=user)
    async with asyncio.timeout(30):
        return await chat.said.get()


async def asked_back(chat: TelegramServer, trading: Account, text: str, sentence: str) -> str:
    """A dangerous command is said back with account and mode; the code that confirms it."""
    answer = await says(chat, text)
    found = re.fullmatch(rf"{trading.name}, on paper: {re.escape(sentence)}\? /confirm (\d{{4}}) within 60 s", answer)
    assert found is not None, answer
    return f"/confirm {found[1]}"


async def held(trading: Account) -> Decimal:
    """The position by our own fills, which are the venue's."""
    fills = await trading.store.orders.fills(trading.name)
    return sum((fill.signed_quantity for fill in fills if fill.symbol == SWAP), Decimal(0))


async def accepted(trading: Account) -> int:
    """How many orders the venue has taken."""
    return len((await trading.requests())["accepted_by_client_id"])


async def test_orders_by_chat_are_done_once_confirmed_once_and_only_for_who_may(
    trading: Account, chat: TelegramServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The phone in the pocket moves money: exactly what was confirmed, by who asked, and nothing before."""
    await nobody_else_is_heard(trading, chat)
    assert caplog.text.count("telegram message ignored") == 2
    assert await held(trading) == Decimal("0.1")
    await a_resting_order_is_canceled(trading, chat)
    confirm = await asked_back(chat, trading, f"/close {SWAP}", f"close the position in {SWAP} at the market price")
    assert (await says(chat, confirm)).endswith(": filled")
    assert await held(trading) == 0
    await a_halt_denies_until_a_confirmed_resume(trading, chat)
    counts = {OrderState.FILLED: 2, OrderState.CANCELED: 1, OrderState.DENIED: 1}
    assert await trading.store.orders.counts(trading.name) == counts
    assert await accepted(trading) == 3
    assert chat.said.empty()


async def nobody_else_is_heard(trading: Account, chat: TelegramServer) -> None:
    """Not from another chat, not from another member of the group, and not with somebody else's code, nor twice."""
    confirm = await asked_back(chat, trading, f"/place buy 0.1 {SWAP}", f"buy 0.1 {SWAP} at the market price")
    for command in (f"/place buy 0.1 {SWAP}", confirm, "/status"):
        chat.type(command, chat=STRANGER)
        chat.type(command, user=8)
    # One who may, but did not ask.
    assert "nothing to confirm" in await says(chat, confirm, user=9)
    assert await accepted(trading) == 0
    assert re.fullmatch(r"order \w+ is filled", await says(chat, confirm))
    assert "nothing to confirm" in await says(chat, confirm)
    assert await accepted(trading) == 1


async def a_resting_order_is_canceled(trading: Account, chat: TelegramServer) -> None:
    last = (await trading.store.market.tickers(trading.name))[SWAP].last
    assert last is not None
    price = (last * Decimal("0.95")).quantize(Decimal(1))
    confirm = await asked_back(chat, trading, f"/place buy 0.2 {SWAP} {price}", f"buy 0.2 {SWAP} at {price}")
    assert re.fullmatch(r"order \w+ is accepted", await says(chat, confirm))
    assert await says(chat, "/orders") == f"buy 0.2 {SWAP} {price}: accepted"
    confirm = await asked_back(chat, trading, "/cancel_all", "cancel every open order of ours")
    assert await says(chat, confirm) == "1 canceled"
    assert await says(chat, "/orders") == "no open orders"


async def a_halt_denies_until_a_confirmed_resume(trading: Account, chat: TelegramServer) -> None:
    """The safe direction at once, the other only when asked twice; the gate holds for the chat as for anybody."""
    assert (await says(chat, "/halt the market is mad")).startswith("halted: the market is mad")
    confirm = await asked_back(chat, trading, f"/place buy 0.1 {SWAP}", f"buy 0.1 {SWAP} at the market price")
    assert "is denied: halted" in await says(chat, confirm)
    confirm = await asked_back(chat, trading, "/resume", "end the halt and trade again")
    assert await halted(trading.store.desk, trading.name) is not None
    assert await says(chat, confirm) == "trading again; it had been halted: the market is mad"
    assert await halted(trading.store.desk, trading.name) is None
