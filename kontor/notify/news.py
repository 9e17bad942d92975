"""What happens to a desk, as alerts: one function for each kind of news; words and event names are in one place.

Every name of an event is here; filters in kontor.yaml and Prefect's automations go by them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from kontor.domain.order import Order
from kontor.notify.trades import order_alert, plain
from kontor.ports import Alert

_SHOWN = 20
_MINUTES_FROM = 120


def desk_started(account: str, at: datetime, facts: Mapping[str, str]) -> Alert:
    """The account is initialized and its flows work."""
    return Alert("Desk started", "", "info", at, account, tuple(facts.items()), event="desk.started")


def desk_stopped(account: str, at: datetime, facts: Mapping[str, str]) -> Alert:
    """Somebody stops the desk; what rests at the venue stays there unless kontor.yaml says otherwise."""
    return Alert("Desk stopped", "", "info", at, account, tuple(facts.items()), event="desk.stopped")


def trading_halted(
    account: str, at: datetime, *, reason: str, actor: str, title: str = "Trading halted", group: str = ""
) -> Alert:
    """No new risk is taken until trading is resumed; `group` where the halt ends by itself, and may come again."""
    by = (("By", actor),)
    return Alert(title, reason, "critical", at, account, by, event="trading.halted", group=group)


def trading_resumed(account: str, at: datetime, *, reason: str, group: str = "") -> Alert:
    """The halt is over; `reason` is what had called it."""
    text = f"It had been halted: {reason}" if reason else ""
    return Alert("Trading resumed", text, "info", at, account, event="trading.resumed", group=group)


def order_unknown(order: Order, at: datetime, *, mode: str) -> Alert:
    """Nobody knows what became of an order, and that for too long."""
    since = order.unknown_since or at
    alert = order_alert(order, at, mode=mode)
    text = f"The venue has not told for {_span(at - since)} what became of it; nothing is sent again until it does."
    return Alert(
        f"Outcome unknown: {order.side} {plain(order.quantity)} {order.symbol}",
        text,
        "critical",
        at,
        order.account,
        alert.fields,
        event="order.unknown",
    )


def limit_hit(account: str, at: datetime, *, limit: str, text: str, fields: Sequence[tuple[str, str]] = ()) -> Alert:
    """A risk limit of kontor.yaml stopped something."""
    return Alert(f"Risk limit hit: {limit}", text, "warning", at, account, tuple(fields), event="risk.limit_hit")


def stream_degraded(account: str, at: datetime, *, stream: str, reason: str) -> Alert:
    """A stream of the venue does not deliver; REST goes on."""
    title = f"Stream degraded: {stream}"
    return Alert(title, reason, "warning", at, account, event="stream.degraded", group=f"stream {stream}")


def stream_recovered(account: str, at: datetime, *, stream: str, outage: timedelta | None = None) -> Alert:
    """A stream delivers again, and what happened in the gap has been asked for."""
    text = f"It was away for {_span(outage)}." if outage is not None else ""
    title = f"Stream recovered: {stream}"
    return Alert(title, text, "info", at, account, event="stream.recovered", group=f"stream {stream}")


def breaker_opened(
    account: str, at: datetime, *, breaker: str, reason: str, retry_in: timedelta | None = None
) -> Alert:
    """Calls to the venue are stopped for a while, after too many failures."""
    text = f"{reason}; tried again in {_span(retry_in)}" if retry_in is not None else reason
    title = f"Circuit breaker open: {breaker}"
    return Alert(title, text, "warning", at, account, event="breaker.opened", group=f"breaker {breaker}")


def breaker_closed(account: str, at: datetime, *, breaker: str) -> Alert:
    """Calls go through again."""
    title = f"Circuit breaker closed: {breaker}"
    return Alert(title, "", "info", at, account, event="breaker.closed", group=f"breaker {breaker}")


def updaters_down(account: str, at: datetime, *, reasons: Mapping[str, str], back: Sequence[str] = ()) -> Alert:
    """Updaters that are down now, each with its reason, and those that came back."""
    names = sorted(reasons)
    title = f"{names[0]} is down" if len(names) == 1 else f"{len(names)} updaters are down"
    lines = [reasons[names[0]]] if len(names) == 1 else [f"{name}: {reasons[name]}" for name in names[:_SHOWN]]
    lines += [f"up again: {', '.join(sorted(back))}"] if back else []
    return Alert(
        title,
        "\n".join(lines),
        "critical",
        at,
        account,
        event="updater.down",
        group="updaters",
        about=tuple(names),
    )


def updaters_up(account: str, at: datetime, *, names: Sequence[str]) -> Alert:
    """These were down and report success again."""
    title = f"{names[0]} is up again" if len(names) == 1 else f"{len(names)} updaters are up again"
    text = "" if len(names) == 1 else ", ".join(sorted(names))
    return Alert(title, text or "It reported a success.", "info", at, account, event="updater.up", group="updaters")


def position_opened(account: str, at: datetime, *, symbol: str, quantity: Decimal, price: Decimal, mode: str) -> Alert:
    """A position was opened; `quantity` is base currency, negative for a short one."""
    direction = "long" if quantity > 0 else "short"
    fields = (("Symbol", symbol), ("Quantity", plain(abs(quantity))), ("Entry", plain(price)), ("Mode", mode))
    side = "buy" if quantity > 0 else "sell"
    title = f"Position opened: {direction} {plain(abs(quantity))} {symbol}"
    return Alert(title, "", "info", at, account, fields, side=side, event="position.opened")


def position_closed(
    account: str,
    at: datetime,
    *,
    symbol: str,
    was_long: bool,
    entry: Decimal,
    price: Decimal,
    pnl: Decimal,
    currency: str,
    mode: str,
) -> Alert:
    """A position was closed; `pnl` is realized in the quote currency, after the fees that are known in it."""
    signed = f"{'+' if pnl >= 0 else ''}{plain(pnl.quantize(Decimal('0.0001')))} {currency}"
    fields = (("Symbol", symbol), ("P&L", signed), ("Entry", plain(entry)), ("Exit", plain(price)), ("Mode", mode))
    title = f"Position closed: {symbol}, {signed}"
    return Alert(title, "", "info", at, account, fields, side="sell" if was_long else "buy", event="position.closed")


def report(
    kind: str, title: str, account: str, at: datetime, fields: Sequence[tuple[str, str]], text: str = ""
) -> Alert:
    """A periodic message: `kind` is capital or daily_summary."""
    return Alert(title, text, "info", at, account, tuple(fields), event=f"report.{kind}")


def _span(duration: timedelta) -> str:
    seconds = max(duration.total_seconds(), 0)
    return f"{seconds:.0f} s" if seconds < _MINUTES_FROM else f"{seconds / 60:.0f} min"
