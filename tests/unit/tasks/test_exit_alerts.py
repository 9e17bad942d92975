"""What check-exits tells: once each, of what is closed, what nobody manages, and what others closed."""

from typing import Any

from kontor.execution.reconcile import reconcile
from tasks.trading import watch_exits
from tests.fakes.desk import BTC
from tests.fakes.trading import TradingDesk
from tests.fakes.virtual_time import in_virtual_time
from tests.unit.execution.test_outside import by_hand
from tests.unit.trading.test_exits import holder
from tests.unit.trading.test_outside_hands import open_all

SPOT = "BTC/USD"
ENDS = (
    "is not in kontor.yaml any more: it has no exit rules, so nothing ends it;"
    f" close it with close-position symbol={SPOT}"
)


async def watched(desk: TradingDesk) -> list[tuple[str, str]]:
    """What a run of check-exits tells: titles and texts."""
    told = len(desk.alerts.sent)
    await desk.refresh()
    given: Any = desk
    given.notifier = desk.alerts
    await watch_exits.fn(given)
    return [(f"{alert.event}: {alert.title}", alert.text) for alert in desk.alerts.sent[told:]]


@in_virtual_time
async def test_a_position_without_its_strategy_is_told_once_with_what_ends_it() -> None:
    share = {"capital_share_percent": 40}
    one, two = holder(2, {"stop_loss_percent": 5}), {**holder(1), "symbols": [SPOT]}
    desk = TradingDesk({"one": {**one, **share}, "two": {**two, **share}})
    desk.move(SPOT, "100", closes=[100.0] * 5)
    async with desk.executing():
        await open_all(desk)
        assert await watched(desk) == []
        desk.reconfigure(strategies={})
        assert await watched(desk) == [
            (
                f"position.orphaned: No strategy manages one {BTC}",
                f"strategy one holds +2 {BTC} and is not in kontor.yaml any more: its exits go on until it is flat",
            ),
            (
                f"position.orphaned: No strategy manages two {SPOT}",
                f"strategy two holds +1 {SPOT} and {ENDS}, or bring the strategy back",
            ),
        ]
        assert await watched(desk) == []


@in_virtual_time
async def test_what_others_closed_of_a_strategys_position_is_told_once() -> None:
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
    async with desk.executing():
        await open_all(desk)
        by_hand(desk, "h1", "-1.5")
        await reconcile(desk)
        assert await watched(desk) == [
            (
                f"position.reduced: Position of one on {BTC} reduced from outside",
                f"-1.5 by somebody at the exchange (fill:{BTC}:t2)",
            )
        ]
        assert await watched(desk) == []
