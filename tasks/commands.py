"""Carrying out what a person types into Telegram, through the same functions as the flows of `flows.trade`."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from zoneinfo import ZoneInfo

from blocks.loading import load_block
from blocks.notifiers import TelegramBot
from kontor.capital import capital_of
from kontor.config.alerts import TelegramCommands
from kontor.desk import Desk
from kontor.domain.ledger import Pair
from kontor.domain.order import OPEN
from kontor.errors import ConfigError, KontorError
from kontor.execution.halt import halted
from kontor.notify.bot import Bot, Message
from kontor.notify.commands import HELP, Command, NotACommand, parse
from kontor.notify.confirmations import Asked, Confirmations
from kontor.notify.delivery import NotDelivered, Refused, Throttled
from kontor.notify.redaction import redact
from kontor.notify.trades import plain
from kontor.trading.ledger import read_ledger
from tasks import orders
from tasks.desk import open_desk
from tasks.resources import Resources
from tasks.watch import Watch

logger = logging.getLogger(__name__)

OFFSET = "telegram_offset"
# An older command was typed while nobody listened: the market has moved on since.
FRESH_SECONDS = 60
WAIT_SECONDS = 15.0
LONGEST_PAUSE_SECONDS = 30.0
_SHOWN = 30
_REMEMBERED = 1000


@dataclass
class Operator:
    """Listens to one bot for one account; strangers are logged once and never answered."""

    account: str
    bot: Bot
    own_chat: int | None
    resources: Resources
    _confirmations: Confirmations = field(default_factory=Confirmations, init=False)
    _strangers: set[tuple[int, int]] = field(default_factory=set, init=False)

    @classmethod
    async def of(cls, account: str) -> "Operator":
        """The operator behind the block TelegramBot `default`; raises ConfigError unless kontor.yaml switches it on."""
        resources = Resources.here()
        if not resources.config().alerts.telegram_commands.enabled:
            raise ConfigError("commands are off; set 'enabled: true' there", where="alerts.telegram_commands")
        block = await load_block(TelegramBot, "default")
        own = int(block.chat_id) if block.chat_id.lstrip("-").isdigit() else None
        return cls(account, Bot(block.token.get_secret_value(), block.api_url), own, resources)

    @property
    def settings(self) -> TelegramCommands:
        """Who may command, as kontor.yaml has it now."""
        return self.resources.config().alerts.telegram_commands

    async def listen(self) -> None:
        """Carry out what comes, until canceled; each command beside the others, so that a halt waits for nothing."""
        failures = 0
        async with self.bot.opened(), asyncio.TaskGroup() as tasks:
            while True:
                try:
                    await self._once(tasks)
                    failures = 0
                except Throttled as error:
                    await asyncio.sleep(error.retry_after)
                except Refused as error:
                    # A wrong token, or somebody else listens to this bot: a person has to mend it.
                    raise ConfigError(str(error), where="block kontor-telegram-bot/default") from None
                except KontorError as error:
                    failures += 1
                    pause = min(2.0**failures, LONGEST_PAUSE_SECONDS)
                    logger.warning("telegram not heard, again in %.0f s: %s", pause, redact(str(error)))
                    await asyncio.sleep(pause)

    async def _once(self, tasks: asyncio.TaskGroup) -> None:
        state, clock = (await self.resources.store()).desk, self.resources.clock
        known = await state.attribute(self.account, OFFSET)
        offset = int(known.value) if known else None
        messages, after = await self.bot.updates(offset)
        await state.beat(self.account, "answer-telegram", clock.now())
        if after != offset:
            # Noted before anything is done: after a crash a person asks again, and nothing is done twice.
            await state.set_attribute(self.account, OFFSET, after, clock.now())
        for message in messages:
            if self._may_command(message):
                tasks.create_task(self._answer(message))

    def _may_command(self, message: Message) -> bool:
        settings = self.settings
        chats = {*settings.chats, *(() if self.own_chat is None else (self.own_chat,))}
        if message.chat in chats and (not settings.users or message.user in settings.users):
            return True
        if (message.chat, message.user) not in self._strangers and len(self._strangers) < _REMEMBERED:
            self._strangers.add((message.chat, message.user))
            logger.warning("telegram message ignored chat=%d user=%d: not configured", message.chat, message.user)
        return False

    async def _answer(self, message: Message) -> None:
        try:
            text = await self.reply(message)
        except KontorError as error:
            text = str(error)
        except Exception as error:
            logger.exception("telegram command failed")
            text = f"that failed: {type(error).__name__}; the log of answer-telegram says more"
        if not text:
            return
        try:
            await self.bot.say(message.chat, redact(text))
        except NotDelivered as error:
            logger.warning("telegram answer not delivered: %s", error)

    async def reply(self, message: Message) -> str:
        """What to answer, after doing what was asked; empty for what is no command."""
        command = parse(message.text)
        if command is None:
            return ""
        logger.info("telegram command name=%s user=%s", command.name, message.name)
        age = self.resources.clock.now().timestamp() - message.at
        if age > FRESH_SECONDS and command.name != "help":
            return f"/{command.name} was sent {age:.0f} s ago, while nobody listened; send it again if need be"
        actor, key = f"telegram user {message.name}", f"telegram:{message.update}:{message.at}"
        if command.name == "confirm":
            return await self._confirmed(message, command.text, actor)
        if command.is_dangerous:
            return await self._ask(message, command, key)
        return await self._carry_out(Asked(command, key, 0.0), actor)

    async def _ask(self, message: Message, command: Command, key: str) -> str:
        seconds = self.settings.confirm_within_seconds
        until = self.resources.clock.monotonic() + seconds
        code = self._confirmations.ask(message.chat, message.user, command, key=key, until=until)
        mode = (await self.resources.settings(self.account)).mode
        where = "with REAL money" if mode == "live" else f"on {mode}"
        return f"{self.account}, {where}: {command.sentence}? /confirm {code} within {seconds} s"

    async def _confirmed(self, message: Message, code: str, actor: str) -> str:
        asked = self._confirmations.take(message.chat, message.user, code, self.resources.clock.monotonic())
        if asked is None:
            raise NotACommand("there is nothing to confirm with that code; ask for it again")
        return await self._carry_out(asked, actor)

    async def _carry_out(self, asked: Asked, actor: str) -> str:
        # A halt, and a look at what is known, must work while the venue is away.
        asks_venue = asked.command.name in {"place", "close"}
        async with open_desk(self.account, gated=asks_venue, with_exchange=asks_venue) as desk:
            return await _ACTIONS[asked.command.name](desk, asked, actor)


async def _status(desk: Desk, asked: Asked, actor: str) -> str:
    del asked, actor
    settings = await Resources.here().settings(desk.account)
    problem = await Watch(desk.account, desk.store, Resources.here(), settings.mode).problem()
    halt = await halted(desk.store.desk, desk.account)
    lines = [f"{desk.account} ({settings.mode}): {problem or 'all is well'}"]
    lines += [f"HALTED by {halt.actor}: {halt.reason}"] if halt else []
    counts = await desk.store.orders.counts(desk.account)
    lines.append(f"{sum(counts.get(state, 0) for state in OPEN)} orders open or wanted")
    return "\n".join(lines)


async def _balance(desk: Desk, asked: Asked, actor: str) -> str:
    del asked, actor
    balance = await desk.store.account.balance(desk.account)
    if balance is None:
        return "the balance is not known yet"
    capital = await capital_of(desk.store, desk.account, desk.clock.now())
    worth = f"worth {capital.equity:,.2f} {capital.currency}, coins at their price\n" if capital is not None else ""
    figures = f"total {balance.total:,.2f}, free {balance.free:,.2f}, used {balance.used:,.2f} {balance.currency}"
    return f"{worth}{figures}\nas of {balance.at:%H:%M:%S} UTC"


async def _positions(desk: Desk, asked: Asked, actor: str) -> str:
    del asked, actor
    found = await desk.store.account.positions(desk.account)
    if found is None or not found.value:
        return "no positions" if found else "the positions are not known yet"
    lines = [
        f"{each.symbol} {each.side} {plain(each.quantity)} at {plain(each.entry_price)}"
        + (f", {each.unrealized_pnl:+,.2f}" if each.unrealized_pnl is not None else "")
        for each in found.value[:_SHOWN]
    ]
    return "\n".join([*lines, f"as of {found.at:%H:%M:%S} UTC"])


async def _orders(desk: Desk, asked: Asked, actor: str) -> str:
    del asked, actor
    found = await desk.store.orders.find(desk.account, states=OPEN, limit=_SHOWN)
    lines = [
        f"{each.side} {plain(each.quantity)} {each.symbol} {plain(each.price) if each.price else 'market'}: "
        f"{str(each.state).lower()}{f', {plain(each.filled_quantity)} filled' if each.filled_quantity else ''}"
        for each in found
    ]
    return "\n".join(lines) or "no open orders"


async def _profit(desk: Desk, asked: Asked, actor: str) -> str:
    del asked, actor
    zone = ZoneInfo(desk.config.risk.trading_day_zone)
    capital = await capital_of(desk.store, desk.account, desk.clock.now(), zone)
    if capital is None or capital.gain is None:
        return "the balance is not known yet"
    lines = [f"since the start {capital.gain.words(capital.currency)}"]
    lines += await _profit_today(desk)
    if capital.day_gain is not None:
        lines.append(f"today with what is open {capital.day_gain.words(capital.currency)}")
    positions = await desk.store.account.positions(desk.account)
    if positions is not None:
        unrealized = sum((each.unrealized_pnl or Decimal(0) for each in positions.value), Decimal(0))
        lines.append(f"open positions {unrealized:+,.2f} unrealized")
    return "\n".join(lines)


async def _profit_today(desk: Desk) -> list[str]:
    """What the ledger has of this trading day, by quote currency: realized and funding, after fees."""
    name = desk.config.risk.trading_day_zone
    zone = ZoneInfo(name)
    today = desk.clock.now().astimezone(zone).date().isoformat()
    net: dict[str, Decimal] = {}
    found = await read_ledger(desk.store, desk.account)
    # Seconds of work for a ledger of years: the other commands do not wait for it.
    for line in await asyncio.to_thread(found.profit, zone):
        if line.day == today:
            quote = Pair.of(line.symbol).quote or line.symbol
            net[quote] = net.get(quote, Decimal(0)) + line.net
    return [f"today, {today} {name}: {figure:+,.2f} {quote} after fees" for quote, figure in sorted(net.items())]


async def _halt(desk: Desk, asked: Asked, actor: str) -> str:
    done = await orders.halt(desk, asked.command.text or "halted by Telegram", actor)
    count = len(done["cancels_asked"])
    return f"halted: {done['reason']}; {count} entries are being canceled, what only closes stays"


async def _resume(desk: Desk, asked: Asked, actor: str) -> str:
    del asked
    done = await orders.resume(desk, actor)
    return f"trading again; it had been halted: {done['reason_was']}" if done["reason_was"] else "it was not halted"


async def _cancel_all(desk: Desk, asked: Asked, actor: str) -> str:
    done = await orders.cancel(desk, asked.command.symbol, None, actor, WAIT_SECONDS)
    left = done["not_finished"]
    return f"{done['canceled']} canceled" + (f", not confirmed yet: {', '.join(left)}" if left else "")


async def _close(desk: Desk, asked: Asked, actor: str) -> str:
    said, _ = await orders.close(desk, asked.command.symbol or "", asked.key, actor, WAIT_SECONDS)
    state = f": {said['order']['state'].lower()}" if said["order"] else ""
    return f"{said['said']}{state}"


async def _place(desk: Desk, asked: Asked, actor: str) -> str:
    if asked.command.intent is None:
        raise NotACommand(HELP["place"])
    order = await orders.place(desk, asked.command.intent, asked.key, actor)
    order = await orders.wait_for_order(desk, order, WAIT_SECONDS)
    reason = f": {order.reason}" if order.reason else ""
    return f"order {order.client_order_id} is {str(order.state).lower()}{reason}"


async def _help(desk: Desk, asked: Asked, actor: str) -> str:
    del desk, asked, actor
    return "\n".join(HELP.values())


_ACTIONS: dict[str, Callable[[Desk, Asked, str], Awaitable[str]]] = {
    "status": _status,
    "balance": _balance,
    "positions": _positions,
    "orders": _orders,
    "profit": _profit,
    "halt": _halt,
    "resume": _resume,
    "cancel_all": _cancel_all,
    "close": _close,
    "place": _place,
    "help": _help,
}
