"""The account in the Prefect UI, under Artifacts: the newest of each key, and a few older ones to look back at."""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.exceptions import ObjectNotFound

from kontor.capital import beginning_of
from kontor.desk import Desk
from kontor.domain.capital import Capital
from kontor.domain.order import OPEN
from kontor.errors import KontorError
from kontor.execution.view import load_markets
from kontor.pictures import drawn_apart
from kontor.trading.positions import holders

STATUS, POSITIONS, OPEN_ORDERS, FILLS, EQUITY, STRATEGIES = (
    "system-status",
    "positions",
    "open-orders",
    "last-fills",
    "equity",
    "strategies",
)
KEYS = (STATUS, POSITIONS, OPEN_ORDERS, FILLS, EQUITY, STRATEGIES)
#: So many of each key stay: an hour of a status check every five minutes.
KEPT = 12
#: At most so many are removed in one run; the rest the next time.
REMOVED_AT_ONCE = 50
ROWS = 50
EQUITY_SPAN, EQUITY_POINTS = timedelta(days=7), 600
# The first picture on a machine lists its fonts.
DRAW_SECONDS = 25.0


def artifact_key(name: str, account: str) -> str:
    """A key that Prefect takes: small letters, digits and dashes."""
    return f"{name}-{account}".replace("_", "-").lower()


@task(cache_policy=NO_CACHE)
async def show_account(desk: Desk) -> None:
    """Positions, open orders and last fills as tables, and the equity curve as a picture."""
    await _table(desk, POSITIONS, await _positions(desk), "positions")
    await _table(desk, OPEN_ORDERS, await _open_orders(desk), "orders that wait, are on their way, or are open")
    await _table(desk, FILLS, await _fills(desk), "last fills")
    await _show_equity(desk)


@task(cache_policy=NO_CACHE)
async def prune_artifacts(account: str) -> int:
    """Remove all but the newest few of each key; returns how many went."""
    gone = 0
    async with get_client() as client:
        for name in KEYS:
            old = await client.read_artifacts(
                artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[artifact_key(name, account)])),
                sort=ArtifactSort.CREATED_DESC,
                offset=KEPT,
                limit=REMOVED_AT_ONCE,
            )
            for each in old:
                try:
                    await client.delete_artifact(each.id)
                except ObjectNotFound:
                    continue
                gone += 1
    return gone


async def _table(desk: Desk, name: str, rows: Sequence[dict[str, str]], about: str) -> None:
    now = desk.clock.now()
    text = f"{desk.account}: {about}, as of {_clock(now)} UTC"
    shown = list(rows) or [{"": "none"}]
    await acreate_table_artifact(key=artifact_key(name, desk.account), table=shown, description=text)


async def _positions(desk: Desk) -> list[dict[str, str]]:
    found = await desk.store.account.positions(desk.account)
    virtual: dict[str, dict[str, Decimal]] = {}
    for (name, symbol), each in (await holders(desk, await load_markets(desk))).shared.positions.items():
        if each.is_open:
            virtual.setdefault(symbol, {})[name] = each.quantity
    rows = [
        {
            "market": each.symbol,
            "side": each.side.value,
            "quantity": _figure(each.quantity),
            "entry": _figure(each.entry_price),
            "mark": _figure(each.mark_price),
            "unrealized": _figure(each.unrealized_pnl),
            **_holders(virtual.pop(each.symbol, {}), each.signed_quantity),
        }
        for each in (found.value if found else ())
    ]
    # Coins that strategies bought are in the balance, not among the positions.
    blank = dict.fromkeys(("side", "quantity", "entry", "mark", "unrealized"), "")
    return rows + [{"market": symbol, **blank, **_holders(held, None)} for symbol, held in sorted(virtual.items())]


def _holders(held: Mapping[str, Decimal], whole: Decimal | None) -> dict[str, str]:
    """What each strategy holds of a position, and what is left for people's hands."""
    by_hand = "" if whole is None else _figure(whole - sum(held.values(), Decimal(0)))
    return {"strategies": ", ".join(f"{name} {held[name]:+f}" for name in sorted(held)), "by hand": by_hand}


async def _open_orders(desk: Desk) -> list[dict[str, str]]:
    orders = await desk.store.orders.find(desk.account, states=OPEN, limit=ROWS)
    return [
        {
            "wanted (UTC)": _clock(each.created_at),
            "market": each.symbol,
            "side": each.side.value,
            "quantity": _figure(each.quantity),
            "filled": _figure(each.filled_quantity),
            "price": _figure(each.price),
            "state": "outcome unknown" if each.unknown_since else each.state.value,
            "by": each.strategy or each.actor,
            "order": each.client_order_id,
        }
        for each in orders
    ]


async def _fills(desk: Desk) -> list[dict[str, str]]:
    fills = await desk.store.orders.fills(desk.account, limit=ROWS)
    return [
        {
            "time (UTC)": _clock(each.filled_at),
            "market": each.symbol,
            "side": each.side.value,
            "quantity": _figure(each.quantity),
            "price": _figure(each.price),
            "fee": "-" if each.fee is None else f"{_figure(each.fee)} {each.fee_currency or ''}".strip(),
            "order": each.client_order_id or "",
        }
        for each in reversed(fills)
    ]


async def _show_equity(desk: Desk) -> None:
    store, now = desk.store.account, desk.clock.now()
    history = await store.equity_history(desk.account, since=now - EQUITY_SPAN, points=EQUITY_POINTS)
    if not history:
        return
    beginning = await beginning_of(desk.store, desk.account)
    initial = None if beginning is None else beginning.equity
    currency = desk.config.capital_currency
    try:
        picture = await drawn_apart(history, currency, initial, seconds=DRAW_SECONDS)
    except KontorError as error:
        get_run_logger().warning("%s", error)
        return
    # The picture itself, not its address: the UI shows it wherever it is opened, and it is there as long as its words.
    address = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    last = history[-1]
    words = f"**{last.value:,.2f} {currency}** at {_clock(last.at)} UTC"
    gain = Capital(currency, last.value, last.at, beginning=beginning).gain
    words += f", {gain.words(currency)} since the start" if gain is not None else ""
    markdown = f"{words}\n\n![Equity of the last days]({address})"
    await acreate_markdown_artifact(
        key=artifact_key(EQUITY, desk.account), markdown=markdown, description=f"Equity of {desk.account}"
    )


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _figure(value: Decimal | None) -> str:
    return "-" if value is None else f"{value.normalize():,f}"
