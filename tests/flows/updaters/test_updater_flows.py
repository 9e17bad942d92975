"""The updaters as Prefect flows, against a real server, the paper exchange and a store on SQLite."""

from datetime import timedelta
from typing import Any

import pytest
from prefect import Flow
from prefect.client.schemas.objects import State

from blocks.exchange_account import ExchangeAccount
from flows.account import update_balance, update_open_orders, update_positions
from flows.market_data import update_candles, update_ranges, update_tickers, update_watchlist
from flows.operate import check_system_status, initialize, restart_exchange
from flows.orders import reconcile_orders, track_orders
from flows.trading import check_exits, monitor_risk, run_strategies
from tasks.resources import Resources
from tests.flows.updaters.conftest import Account

UPDATERS: list[Flow[Any, Any]] = [
    update_watchlist,
    update_tickers,
    update_candles,
    update_ranges,
    update_balance,
    update_positions,
    update_open_orders,
    track_orders,
    reconcile_orders,
    restart_exchange,
    check_system_status,
    run_strategies,
    check_exits,
    monitor_risk,
]


async def run(flow: Any, account: Account, **parameters: Any) -> State[Any]:
    return await flow(account=account.name, return_state=True, **parameters)


async def test_a_closed_gate_ends_every_updater_as_waiting_without_a_heartbeat(account: Account) -> None:
    """They wait for the gate and say so; nobody spins, and waiting is no sign of life."""
    for flow in UPDATERS:
        state = await run(flow, account)
        assert (state.type.value, state.name) == ("COMPLETED", "Waiting"), flow.name
    assert await account.store.desk.heartbeats(account.name) == {}


async def test_initialization_opens_the_gate_and_every_updater_then_reports(account: Account) -> None:
    assert (await run(initialize, account)).is_completed()
    for flow in UPDATERS:
        state = await run(flow, account)
        assert state.name == "Completed", f"{flow.name}: {state.message}"
    beats = await account.store.desk.heartbeats(account.name)
    assert {flow.name for flow in UPDATERS} <= beats.keys()
    assert all(beat.last_success_at is not None for beat in beats.values())


async def test_the_updaters_leave_what_they_fetched_in_the_store(account: Account) -> None:
    await run(initialize, account)
    await run(update_candles, account)
    market, books = account.store.market, account.store.account
    watchlist = await market.watchlist(account.name)
    assert watchlist is not None
    assert 1 <= len(watchlist.value) <= 4
    assert not {"BNB/USD:USD", "USDT/USD:USD"} & set(watchlist.value)
    tickers = await market.tickers(account.name)
    assert all(tickers[symbol].last for symbol in watchlist.value)
    candles = await market.candles(account.name, "1m", watchlist.value)
    assert {symbol: len(rows) for symbol, rows in candles.items()} == dict.fromkeys(watchlist.value, 50)
    ranges = await market.ranges(account.name)
    assert all(ranges[symbol].is_complete for symbol in watchlist.value)
    balance = await books.balance(account.name)
    assert balance is not None
    assert await books.initial_capital(account.name) == balance.total
    assert await books.open_orders(account.name) is not None


async def test_a_run_whose_predecessor_works_ends_as_skipped(account: Account) -> None:
    """Runs of one updater never overlap; the skipped one reports nothing."""
    await run(initialize, account)
    now = Resources.here().clock.now()
    lease = await account.store.desk.acquire_lease(
        f"updater:{account.name}:update-tickers", "the predecessor", timedelta(minutes=1), now
    )
    assert lease is not None
    state = await run(update_tickers, account)
    assert (state.type.value, state.name) == ("COMPLETED", "Skipped")
    assert "update-tickers" not in await account.store.desk.heartbeats(account.name)
    await account.store.desk.release_lease(lease)
    assert (await run(update_tickers, account)).name == "Completed"


async def test_a_failed_run_reports_its_error_and_leaves_the_last_success_alone(account: Account) -> None:
    """Success only after success: the notebook set its status to True on failure."""
    await run(initialize, account)
    await run(update_balance, account)
    before = (await account.store.desk.heartbeats(account.name))["update-balance"]
    await account.fault(path="/api/v5/account/balance", kind="http_500", probability=1.0)
    state = await run(update_balance.with_options(retries=0), account)
    assert state.is_failed()
    after = (await account.store.desk.heartbeats(account.name))["update-balance"]
    assert after.last_success_at == before.last_success_at
    assert after.last_error
    assert after.last_failure_at is not None


async def test_a_restart_that_fails_leaves_the_old_session_working(account: Account) -> None:
    await run(initialize, account)
    await account.fault(path="/api/v5/public/instruments", kind="http_500", probability=1.0)
    state = await run(restart_exchange.with_options(retries=0), account)
    assert state.is_failed()
    assert await account.store.desk.attribute(account.name, "exchange_generation") is None
    assert (await run(update_tickers, account)).name == "Completed"
    await account.heal()
    assert (await run(restart_exchange, account)).name == "Completed"
    generation = await account.store.desk.attribute(account.name, "exchange_generation")
    assert generation is not None
    assert generation.value == 1


async def test_a_restricted_symbol_that_the_venue_does_not_have_fails_the_initialization(account: Account) -> None:
    account.config.write_text(account.config.read_text().replace("BNB/USD:USD", "BNBB/USD:USD"))
    state = await run(initialize.with_options(retries=0), account)
    assert state.is_failed()
    assert "kontor.yaml: watchlist.restricted: BNBB/USD:USD is not a market of this exchange" in str(state.message)
    assert (await run(update_tickers, account)).name == "Waiting"


async def test_an_edited_kontor_yaml_is_read_by_the_next_run(account: Account) -> None:
    await run(initialize, account)
    account.config.write_text(account.config.read_text().replace("max_symbols: 4", "max_symbols: 2"))
    found = await (await run(update_watchlist, account)).result()
    assert found["symbols"] + len(found["without_range"]) == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("candles:", "candels:"), "kontor.yaml: candels is not a known key; remove it or mend its spelling"),
        (("keep: 50", "keep: many"), "kontor.yaml: candles.keep input should be a valid integer"),
        (("info.volumeUsd24h", "info.volumeEur24h"), "watchlist.filter.info.volumeEur24h"),
        (("2000000", "9999999999999999"), "kontor.yaml: no market passes the filter; loosen watchlist.filter"),
    ],
)
async def test_wrong_settings_fail_a_run_with_one_sentence(
    account: Account, change: tuple[str, str], sentence: str
) -> None:
    account.config.write_text(account.config.read_text().replace(*change))
    state = await run(initialize.with_options(retries=0), account)
    assert state.is_failed()
    assert sentence in str(state.message)


async def test_a_missing_block_is_named_with_the_remedy(account: Account) -> None:
    state = await update_tickers.with_options(retries=0)(account="nobody", return_state=True)
    assert state.is_failed()
    assert "block kontor-exchange-account/nobody is missing; run 'kontor up'" in str(state.message)


async def test_an_unknown_exchange_is_named_with_the_one_that_was_perhaps_meant(account: Account) -> None:
    block = await ExchangeAccount.aload(account.name)
    await block.model_copy(update={"exchange_id": "okxx"}).asave(f"{account.name}-misspelled")
    state = await update_tickers.with_options(retries=0)(account=f"{account.name}-misspelled", return_state=True)
    assert state.is_failed()
    assert "okxx" in str(state.message)
    assert "okx" in str(state.message).replace("okxx", "")
    assert "\n" not in str(state.message)
