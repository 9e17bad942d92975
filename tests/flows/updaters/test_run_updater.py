"""Updaters that configuration alone defines, as Prefect flows on the paper exchange."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from prefect.client.schemas.objects import State

from flows.operate import initialize
from flows.updater import run_updater
from kontor.config import load_config
from kontor.updaters.shared import read_shared
from tasks.resources import Resources
from tests.flows.updaters.conftest import Account

QUICK = run_updater.with_options(retries=0)


async def run(account: Account, name: str, *steps: Mapping[str, Any], flow: Any = QUICK, **more: Any) -> State[Any]:
    return await flow(steps=list(steps), name=name, account=account.name, return_state=True, **more)


async def known(account: Account, name: str) -> Any:
    found = await read_shared(account.store, load_config(account.config), account.name, name)
    return None if found is None else found.value


async def test_it_waits_for_the_gate(account: Account) -> None:
    state = await run(account, "funding", {"call": "fetch_funding_rates", "target": "funding_rates"})
    assert (state.type.value, state.name) == ("COMPLETED", "Waiting")
    assert await account.store.desk.heartbeats(account.name) == {}


async def test_any_unified_read_lands_under_its_name_with_its_time(account: Account) -> None:
    """Three lines of YAML, and a strategy can read funding rates."""
    assert (await initialize(account=account.name, return_state=True)).is_completed()
    reads = [
        {"call": "fetch_funding_rate", "args": ["BTC/USD:USD"], "target": "funding_rates"},
        {"call": "fetch_order_book", "args": {"symbol": "BTC/USD", "limit": 5}, "target": "book"},
        {"call": "fetch_trades", "args": ["BTC/USD"], "target": "last_trades"},
        {"call": "fetch_open_interest", "args": ["BTC/USD:USD"], "target": "open_interest"},
    ]
    before = Resources.here().clock.now()
    state = await run(account, "reads", *reads)
    assert state.name == "Completed", state.message
    attributes = await account.store.desk.attributes(account.name)
    assert attributes["funding_rates"].value["symbol"] == "BTC/USD:USD"
    assert len(attributes["book"].value["bids"]) == 5
    assert attributes["last_trades"].value
    assert attributes["open_interest"].value["symbol"] == "BTC/USD:USD"
    assert before <= attributes["book"].at <= Resources.here().clock.now()
    assert (await account.store.desk.heartbeats(account.name))["reads"].last_success_at is not None


async def test_the_notebooks_initialization_is_a_list_of_steps(account: Account) -> None:
    """References carry one step's result to the next, and the gate opens at the end."""
    steps = [
        {
            "call": "get_filtered_watch_list",
            "args": ["$watchlist_filter", "$restricted"],
            "target": "watchlist",
        },
        {"call": "get_current_ranges", "args": ["$watchlist"], "target": "ranges"},
        {"call": "get_watch_list_from_ranges", "args": ["$ranges", "$restricted"], "target": "watchlist"},
        {"call": "get_last_prices", "args": ["$watchlist"], "target": "last_price"},
        {"call": "get_total_balance", "target": "total_capital"},
        {"call": "get_free_balance", "target": "free_capital"},
    ]
    state = await initialize(account=account.name, steps=steps, return_state=True)
    assert state.is_completed(), state.message
    symbols = await known(account, "watchlist")
    assert 1 <= len(symbols) <= 4
    assert set(symbols) <= set(await known(account, "last_price"))
    assert set(symbols) <= set(await known(account, "ranges"))
    assert await known(account, "total_capital") > 0
    assert await known(account, "free_capital") > 0
    ohlcs = {"call": "get_ohlcv_data", "args": ["$watchlist", "1m", 30], "target": "ohlcs"}
    assert (await run(account, "update-ohlcv", ohlcs)).name == "Completed"
    candles = await known(account, "ohlcs")
    assert {symbol: rows.shape for symbol, rows in candles.items()} == dict.fromkeys(symbols, (30, 6))


async def test_two_of_one_kind_run_side_by_side_with_their_own_lease_and_heartbeat(account: Account) -> None:
    """Candles lie where candles lie: the attribute only says which, however many there are."""
    await initialize(account=account.name)
    one = {"call": "get_ohlcv_data", "args": ["$watchlist", "1m", 40], "target": "minutes"}
    other = {"call": "get_ohlcv_data", "args": ["$watchlist", "5m", 20], "target": "fives"}
    states = await asyncio.gather(run(account, "update-minutes", one), run(account, "update-fives", other))
    assert [state.name for state in states] == ["Completed", "Completed"]
    assert {len(rows) for rows in (await known(account, "minutes")).values()} == {40}
    fives = await known(account, "fives")
    assert {len(rows) for rows in fives.values()} == {20}
    assert {float(rows[1, 0] - rows[0, 0]) for rows in fives.values()} == {300_000.0}
    beats = await account.store.desk.heartbeats(account.name)
    assert {"update-minutes", "update-fives"} <= beats.keys()
    attributes = await account.store.desk.attributes(account.name)
    assert len(str(attributes["minutes"].value)) < 500
    now = Resources.here().clock.now()
    name = f"updater:{account.name}:update-minutes"
    assert await account.store.desk.acquire_lease(name, "the predecessor", timedelta(minutes=1), now)
    states = await asyncio.gather(run(account, "update-minutes", one), run(account, "update-fives", other))
    assert [state.name for state in states] == ["Skipped", "Completed"]


async def test_a_failed_step_keeps_the_earlier_results_and_the_run_is_retried_whole(account: Account) -> None:
    """The report names the step; a retry begins with the first one again."""
    await initialize(account=account.name)
    steps = [
        {"call": "fetch_order_book", "args": ["BTC/USD", 5], "target": "book"},
        {"call": "fetch_funding_rate", "args": ["BTC/USD:USD"], "target": "funding"},
    ]
    await account.fault(path="/api/v5/public/funding-rate", kind="http_500", probability=1.0)
    asked = (await account.requests())["requests"]
    twice = run_updater.with_options(retries=1, retry_delay_seconds=0)
    state = await run(account, "reads", *steps, flow=twice)
    assert state.is_failed()
    assert "step 2 of 2, fetch_funding_rate: " in str(state.message)
    beat = (await account.store.desk.heartbeats(account.name))["reads"]
    assert beat.last_success_at is None
    assert "step 2 of 2, fetch_funding_rate" in str(beat.last_error)
    attributes = await account.store.desk.attributes(account.name)
    assert attributes["book"].value["symbol"] == "BTC/USD"
    assert "funding" not in attributes
    books = (await account.requests())["requests"]
    assert count(books, "/market/books") - count(asked, "/market/books") == 2
    await account.heal()
    assert (await run(account, "reads", *steps)).name == "Completed"


def count(requests: Mapping[str, Any], path: str) -> int:
    return sum(number for name, number in requests.items() if path in name)


WRONG = [
    ({"call": "os.system", "args": ["ls"]}, "os.system is nothing an updater may call"),
    ({"call": "create_order", "args": []}, "create_order is nothing an updater may call"),
    ({"call": "fetch_funding_rate"}, "missing a required argument: 'symbol'"),
    ({"call": "get_ohlcv_data", "args": ["$nothing"]}, "$nothing: nothing is stored under nothing yet"),
    ({"call": "get_ohlcv_data", "args": ["$watchlist", "7m"]}, "timeframe must be one of 1m"),
    ({"call": "get_ohlcv_data", "args": ["$watchlist", "1m", "many"]}, "limit: input should be a valid integer"),
    ({"call": "get_ohlcv_data", "args": ["$watchlist", "1m", 9999]}, "more than candles.keep of kontor.yaml (50)"),
    ({"call": "fetch_time", "target": "gate"}, "gate belongs to the desk itself; choose another name"),
    ({"call": "fetch_time", "target": "restricted"}, "restricted is watchlist.restricted of kontor.yaml"),
    ({"call": "fetch_time", "target": "watchlist"}, "which this call does not give; choose another name"),
    ({"call": "fetch_time", "target": "now", "merge": True}, "cannot be merged by key; remove merge"),
    ({"call": "fetch_order_book", "args": ["NOPE/USD"], "target": "book"}, "NOPE/USD"),
]


async def test_a_step_that_cannot_be_is_one_sentence_and_touches_nothing(account: Account) -> None:
    """A typing mistake must never open the gate or run somebody else's code."""
    await initialize(account=account.name)
    before = await account.store.desk.attributes(account.name)
    for step, sentence in WRONG:
        state = await run(account, "wrong", step)
        assert state.is_failed(), step
        assert sentence in str(state.message)
        assert "step 1 of 1" in str(state.message)
    after = await account.store.desk.attributes(account.name)
    assert after.keys() == before.keys()
    assert after["gate"] == before["gate"]


async def test_merging_updates_key_by_key(account: Account) -> None:
    await initialize(account=account.name)
    for symbol in ("BTC/USD", "ETH/USD"):
        step = {"call": "get_last_prices", "args": [[symbol]], "target": "seen", "merge": True}
        assert (await run(account, "seen", step)).name == "Completed"
    assert set(await known(account, "seen")) == {"BTC/USD", "ETH/USD"}


async def test_an_updater_that_takes_too_long_names_the_step_it_was_at(account: Account) -> None:
    await initialize(account=account.name)
    await account.fault(path="/api/v5/market/books", kind="hang", probability=1.0)
    state = await run(account, "slow", {"call": "fetch_order_book", "args": ["BTC/USD"]}, timeout_seconds=0.5)
    assert "step 1 of 1, fetch_order_book: not done within 0.5 s (timeout_seconds)" in str(state.message)
