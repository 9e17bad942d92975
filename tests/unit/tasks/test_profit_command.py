"""What /profit answers: today's figures are the ledger's, by the trading day of kontor.yaml."""

from __future__ import annotations

from datetime import UTC, timedelta
from decimal import Decimal
from typing import Any, cast

from kontor.capital import RISK_MARKS, note_moves
from kontor.config import KontorConfig
from kontor.desk import Desk
from kontor.domain.account import Balance
from kontor.domain.fill import Fill
from kontor.domain.ledger import entry_of_fill
from kontor.domain.order import Side
from kontor.domain.portfolio import marked
from kontor.execution.drift import OPENING
from kontor.notify.commands import Command
from kontor.notify.confirmations import Asked
from kontor.resilience.clock import VirtualClock
from kontor.store.memory import MemoryStore
from tasks.commands import _profit

BTC = "BTC/USD:USD"


async def test_the_profit_of_today_is_that_of_the_trading_day_and_of_nothing_else() -> None:
    """Not what has been closed since some summary, which may be switched off."""
    config = KontorConfig.model_validate({"risk": {"trading_day_zone": "Europe/Berlin"}})
    desk = Desk("paper", config, cast("Any", None), MemoryStore(), VirtualClock(), cast("Any", None))
    now = desk.clock.now().replace(hour=12)
    await cast("VirtualClock", desk.clock).advance((now - desk.clock.now()).total_seconds())
    for total in (Decimal(1000), Decimal(1100)):
        await desk.store.account.save_balance("paper", Balance("USD", total, total, Decimal(0), now))

    def fill(number: int, side: Side, quantity: int, price: int, hours_ago: float) -> Fill:
        at = now - timedelta(hours=hours_ago)
        fee = Decimal(1)
        return Fill(f"t{number}", BTC, side, Decimal(quantity), Decimal(price), at, "v", f"c{number}", fee, "USD")

    # Berlin's day began thirteen hours ago, at 23:00 UTC.
    fills = (
        fill(1, Side.BUY, 2, 100, 30),
        fill(2, Side.SELL, 1, 50, 14),  # yesterday's loss
        fill(3, Side.SELL, 1, 120, 12.5),  # after midnight in Berlin, before it in London
    )
    await desk.store.account.book("paper", [entry_of_fill(each, "one", None) for each in fills])
    said = (await _profit(desk, Asked(Command("profit"), "k", 0.0), "me")).splitlines()
    assert said[0] == "since the start +100.00 USD (+10.00 %)"
    assert said[1] == f"today, {now:%Y-%m-%d} Europe/Berlin: +19.00 USD after fees"
    assert "closed today" not in "\n".join(said)


async def test_what_a_person_closes_of_a_strategys_position_is_profit_as_in_the_ledger() -> None:
    """Without what was held before, the close by hand began a short position of people's, and nothing was earned."""
    desk = Desk("paper", KontorConfig(), cast("Any", None), MemoryStore(), VirtualClock(), cast("Any", None))
    now, account = desk.clock.now(), desk.store.account
    await account.save_balance("paper", Balance("USD", Decimal(1000), Decimal(1000), Decimal(0), now))
    await desk.store.desk.set_attribute("paper", OPENING, {}, now)
    bought = Fill("t1", BTC, Side.BUY, Decimal(1), Decimal(100), now - timedelta(days=1), "v", "c1")
    closed = Fill("t2", BTC, Side.SELL, Decimal(1), Decimal(130), now, "w")
    await account.book("paper", [entry_of_fill(bought, "one", None), entry_of_fill(closed, None, None)])
    said = (await _profit(desk, Asked(Command("profit"), "k", 0.0), "me")).splitlines()
    assert said[1] == f"today, {now:%Y-%m-%d} UTC: +30.00 USD after fees"


async def test_coins_and_deposits_are_neither_gain_nor_loss_and_the_day_is_what_its_limit_counts() -> None:
    """The total of one currency fell by what was bought and rose by what was paid in."""
    desk = Desk("paper", KontorConfig(), cast("Any", None), MemoryStore(), VirtualClock(), cast("Any", None))
    now, store = desk.clock.now(), desk.store
    await store.account.save_balance("paper", Balance("USD", Decimal(1000), Decimal(1000), Decimal(0), now))
    await note_moves(store, "paper", Decimal(1000), {}, now)
    await note_moves(store, "paper", Decimal(1500), {"transfer 1": Decimal(500)}, now)
    await store.account.save_balance("paper", Balance("USD", Decimal(300), Decimal(300), Decimal(0), now))
    await store.account.save_equity("paper", Decimal(1485), now)
    marks = marked(None, Decimal(1600), now, UTC, {})
    await store.desk.set_attribute("paper", RISK_MARKS, marks.to_json(), now)
    said = (await _profit(desk, Asked(Command("profit"), "k", 0.0), "me")).splitlines()
    assert said == ["since the start -15.00 USD (-1.00 %)", "today with what is open -115.00 USD (-7.19 %)"]
