"""What a person types into Telegram, as commands: parsed here, carried out elsewhere."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from kontor.domain.intent import OrderIntent
from kontor.domain.order import OrderType, Side
from kontor.errors import KontorError

HELP: Mapping[str, str] = {
    "status": "/status: is everything well?",
    "balance": "/balance: total, free and used",
    "positions": "/positions: what is held",
    "orders": "/orders: what is open",
    "profit": "/profit: today and since the start",
    "halt": "/halt REASON: take no new risk, at once",
    "resume": "/resume: end a halt (asks back)",
    "cancel_all": "/cancel_all [SYMBOL]: cancel our open orders (asks back)",
    "close": "/close SYMBOL: close a position at the market (asks back)",
    "place": "/place buy|sell QUANTITY SYMBOL [PRICE]: limit at PRICE, else market (asks back)",
    "confirm": "/confirm CODE: carry out what was asked back",
    "help": "/help: this list",
}
DANGEROUS = frozenset({"resume", "cancel_all", "close", "place"})
_COMMAND = re.compile(r"/(?P<name>[a-z_]+)(@\w+)?(\s+(?P<rest>.*))?", re.DOTALL | re.IGNORECASE)
_SYMBOL = re.compile(r"[A-Z0-9]+/[A-Z0-9]+(:[A-Z0-9-]+)?")
_LONGEST_REASON = 200


class NotACommand(KontorError):
    """The text cannot be carried out; the sentence is for the person who typed it."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `symbol`, `text` (a reason, a code) and `intent` where its kind has them."""

    name: str
    symbol: str | None = None
    text: str = ""
    intent: OrderIntent | None = None

    @property
    def is_dangerous(self) -> bool:
        """Whether it is carried out only after it was confirmed."""
        return self.name in DANGEROUS

    @property
    def sentence(self) -> str:
        """What it will do, said back before it is done."""
        if self.intent is not None:
            price = "at the market price" if self.intent.price is None else f"at {self.intent.price:f}"
            return f"{self.intent.side} {self.intent.quantity:f} {self.intent.symbol} {price}"
        return {
            "resume": "end the halt and trade again",
            "cancel_all": f"cancel every open order of ours{f' on {self.symbol}' if self.symbol else ''}",
            "close": f"close the position in {self.symbol} at the market price",
        }.get(self.name, self.name)


def parse(text: str) -> Command | None:
    """The command in a message; None when it is not one. Raises NotACommand with the remedy when it is a wrong one."""
    match = _COMMAND.fullmatch(text.strip())
    if match is None:
        return None
    name, rest = match["name"].lower(), (match["rest"] or "").strip()
    if name == "start":
        name = "help"
    if name not in HELP:
        raise NotACommand(f"/{name} is not a command; /help lists them")
    words = rest.split()
    if name in {"halt", "confirm"}:
        return Command(name, text=rest[:_LONGEST_REASON])
    if name == "place":
        return Command(name, intent=_intent(words))
    if name == "close" and len(words) != 1:
        raise NotACommand("write the symbol too, such as /close BTC/USD:USD")
    if name in {"close", "cancel_all"} and len(words) <= 1:
        return Command(name, symbol=_symbol(words[0]) if words else None)
    if words:
        raise NotACommand(f"/{name} takes nothing after it; {HELP[name]}")
    return Command(name)


def _intent(words: list[str]) -> OrderIntent:
    try:
        side, quantity, symbol, *price = words
        if len(price) > 1:
            raise ValueError
        return OrderIntent(
            symbol=_symbol(symbol),
            side=Side(side.lower()),
            order_type=OrderType.LIMIT if price else OrderType.MARKET,
            quantity=_figure(quantity),
            price=_figure(price[0]) if price else None,
        )
    except ValueError:
        raise NotACommand("write it as /place buy 0.1 BTC/USD:USD 64000, or no price for a market order") from None


def _figure(word: str) -> Decimal:
    try:
        figure = Decimal(word)
    except InvalidOperation:
        raise ValueError(word) from None
    if not figure.is_finite() or figure <= 0:
        raise ValueError(word)
    return figure


def _symbol(word: str) -> str:
    symbol = word.upper()
    if not _SYMBOL.fullmatch(symbol):
        raise NotACommand(f"{word} is not a symbol; write it like BTC/USD or BTC/USD:USD")
    return symbol
