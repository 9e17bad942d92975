"""What a person may type, and what is asked back."""

from decimal import Decimal

import pytest

from kontor.domain.order import OrderType, Side
from kontor.notify.commands import HELP, Command, NotACommand, parse
from kontor.notify.confirmations import Confirmations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/status", Command("status")),
        ("/Status@kontor_bot", Command("status")),
        ("  /balance ", Command("balance")),
        ("/start", Command("help")),
        ("/halt", Command("halt")),
        ("/halt the market is mad", Command("halt", text="the market is mad")),
        ("/resume", Command("resume")),
        ("/cancel_all", Command("cancel_all")),
        ("/cancel_all btc/usd:usd", Command("cancel_all", symbol="BTC/USD:USD")),
        ("/close BTC/USD", Command("close", symbol="BTC/USD")),
        ("/confirm 0042", Command("confirm", text="0042")),
        ("good morning", None),
        ("see https://example.com/halt", None),
    ],
)
def test_a_message_is_a_command_or_none(text: str, expected: Command | None) -> None:
    """As Telegram sends them, with the bot's name in groups."""
    assert parse(text) == expected


def test_an_order_is_read_exactly() -> None:
    """A figure that was typed must not become another."""
    command = parse("/place SELL 0.10 eth/usd:usd 3000.5")
    assert command is not None
    assert command.intent is not None
    assert (command.intent.side, command.intent.quantity, command.intent.price) == (
        Side.SELL,
        Decimal("0.10"),
        Decimal("3000.5"),
    )
    assert command.intent.order_type is OrderType.LIMIT
    assert command.sentence == "sell 0.10 ETH/USD:USD at 3000.5"
    market = parse("/place buy 1 BTC/USD")
    assert market is not None
    assert market.sentence == "buy 1 BTC/USD at the market price"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("/sell", "/sell is not a command; /help lists them"),
        ("/close", "write the symbol too"),
        ("/close BTC", "BTC is not a symbol"),
        ("/close BTC/USD now", "write the symbol too"),
        ("/status please", "/status takes nothing after it"),
        ("/cancel_all a b", "/cancel_all takes nothing after it"),
        ("/place", "write it as /place buy 0.1"),
        ("/place buy much BTC/USD", "write it as /place buy 0.1"),
        ("/place hold 1 BTC/USD", "write it as /place buy 0.1"),
        ("/place buy -1 BTC/USD", "write it as /place buy 0.1"),
        ("/place buy nan BTC/USD", "write it as /place buy 0.1"),
        ("/place buy 1 BTC/USD 0", "write it as /place buy 0.1"),
        ("/place buy 1 BTC/USD 1 1", "write it as /place buy 0.1"),
        ("/place buy 1 BITCOIN", "BITCOIN is not a symbol"),
    ],
)
def test_a_wrong_command_is_one_sentence_with_the_remedy(text: str, sentence: str) -> None:
    """One reads it on a phone, in a hurry."""
    with pytest.raises(NotACommand) as caught:
        parse(text)
    assert sentence in str(caught.value)


def test_what_moves_money_or_takes_risk_again_is_dangerous_and_a_halt_is_not() -> None:
    """The safe direction must not wait for a second message."""
    assert {name for name in HELP if Command(name).is_dangerous} == {"resume", "cancel_all", "close", "place"}


def test_a_code_works_once_for_who_asked_and_for_a_short_time() -> None:
    """A group chat has other members, and a message may be delivered twice."""
    asked = Confirmations()
    command = Command("resume")
    code = asked.ask(1, 7, command, key="k", until=60)
    assert asked.take(1, 8, code, 1) is None  # somebody else
    assert asked.take(2, 7, code, 1) is None  # in another chat
    found = asked.take(1, 7, code, 60)
    assert found is not None
    assert (found.command, found.key) == (command, "k")
    assert asked.take(1, 7, code, 60) is None
    late = asked.ask(1, 7, command, key="k", until=60)
    assert asked.take(1, 7, late, 60.1) is None


def test_a_wrong_code_uses_up_the_right_one() -> None:
    """Ten thousand codes are soon tried."""
    asked = Confirmations()
    code = asked.ask(1, 7, Command("resume"), key="k", until=60)
    wrong = f"{(int(code) + 1) % 10_000:04d}"
    assert asked.take(1, 7, wrong, 1) is None
    assert asked.take(1, 7, code, 1) is None


def test_what_waits_to_be_confirmed_is_bounded() -> None:
    """Asked back and forgotten, a thousand times."""
    asked = Confirmations()
    for number in range(1000):
        asked.ask(1, number, Command("resume"), key="k", until=60)
    assert len(asked._asked) == 20
