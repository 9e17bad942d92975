"""The exchange as a whole: limits, accounts apart, restarts, round trips, the command line."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import ccxt
import pytest

from kontor.paper.__main__ import main
from kontor.paper.server import CannotStart, PaperServer
from kontor.paper.settings import PaperSettings
from tests.contract.paper.resting import SPOT, SWAP, limit_far_below


async def test_too_many_requests_are_refused_as_okx_refuses_them(open_paper: Any, connect: Any) -> None:
    """Five calls in two seconds of account/config, then RateLimitExceeded with 50011."""
    client = connect(to=await open_paper(rate_limit_factor=1))
    for _ in range(5):
        await client.private_get_account_config()
    with pytest.raises(ccxt.RateLimitExceeded, match="50011"):
        await client.private_get_account_config()
    assert (await client.fetch_balance())["USD"]["total"] == 100_000.0


async def test_a_tighter_factor_tightens_every_limit(open_paper: Any, connect: Any) -> None:
    """A tenth of forty candle calls is four."""
    client = connect(to=await open_paper(rate_limit_factor=0.1))
    for _ in range(4):
        await client.public_get_market_candles({"instId": "BTC-USD"})
    with pytest.raises(ccxt.RateLimitExceeded):
        await client.public_get_market_candles({"instId": "BTC-USD"})


async def test_a_fourth_socket_within_a_second_is_refused(open_paper: Any) -> None:
    """OKX allows three connections a second and address: a reconnect storm runs into it."""
    paper = await open_paper(rate_limit_factor=1)
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            await (await session.ws_connect(f"{paper.ws_url}/public")).close()
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(f"{paper.ws_url}/public")
        assert caught.value.status == 429


async def test_sub_accounts_have_their_own_orders_and_money(connect: Any) -> None:
    """What one does the other does not see."""
    main, sub = connect("paper"), connect("paper-sub")
    client_id = uuid.uuid4().hex
    order = await limit_far_below(main, clientOrderId=client_id)
    await main.create_order(SWAP, "market", "buy", 10)
    assert await sub.fetch_open_orders() == []
    assert await sub.fetch_positions() == []
    assert (await sub.fetch_balance())["USD"]["total"] == 100_000.0
    await sub.load_markets()
    with pytest.raises(ccxt.OrderNotFound):
        await sub.fetch_order(order["id"], SWAP)
    assert (await limit_far_below(sub, clientOrderId=client_id))["id"] != order["id"]
    (mine,), (theirs,) = await main.fetch_accounts(), await sub.fetch_accounts()
    assert mine["id"] != theirs["id"]
    assert theirs["info"]["mainUid"] == mine["id"]


async def test_an_account_is_opened_while_the_exchange_runs(connect: Any, admin: Any) -> None:
    """One key per account, funds as asked for."""
    body = {"name": "third", "api_key": "third-key", "secret": "third-secret", "passphrase": "third-passphrase"}
    async with admin.session.post(f"{admin.url}/admin/accounts", json={**body, "funds": {"USD": "5"}}) as response:
        assert response.status == 200, await response.text()
    assert (await connect("third").fetch_balance())["USD"]["total"] == 5.0
    body = {"account": "third", "ccy": "USD", "quantity": "2.5"}
    async with admin.session.post(f"{admin.url}/admin/deposit", json=body) as response:
        assert response.status == 200, await response.text()
    assert (await connect("third").fetch_balance())["USD"]["total"] == 7.5


async def test_a_restart_keeps_orders_positions_and_money(
    open_paper: Any, connect: Any, tmp_path: Path, clock: Any
) -> None:
    """Everything acknowledged is there again, and ids go on where they stopped."""
    path = tmp_path / "paper.sqlite3"
    first = await open_paper(path=path)
    client = connect(to=first)
    client_id = uuid.uuid4().hex
    order = await limit_far_below(client, clientOrderId=client_id)
    await client.create_order(SWAP, "market", "buy", 10)
    before = await client.fetch_balance()
    trades = await client.fetch_my_trades(SWAP)
    await first.stop()

    clock.advance(1)
    again = connect(to=await open_paper(path=path))
    await again.load_markets()
    assert [each["id"] for each in await again.fetch_open_orders()] == [order["id"]]
    (position,) = await again.fetch_positions()
    assert position["contracts"] == 10.0
    after = await again.fetch_balance()
    cash = [next(d["cashBal"] for d in each["info"]["data"][0]["details"]) for each in (before, after)]
    assert cash[0] == cash[1]
    assert [trade["id"] for trade in await again.fetch_my_trades(SWAP)] == [trade["id"] for trade in trades]
    with pytest.raises(ccxt.InvalidOrder, match="51016"):
        await limit_far_below(again, clientOrderId=client_id)
    newer = await limit_far_below(again, clientOrderId=uuid.uuid4().hex)
    assert int(newer["id"]) > int(order["id"])


async def test_a_round_trip_takes_its_time_without_blocking_others(open_paper: Any, connect: Any) -> None:
    """Ten calls at once take one round trip, not ten."""
    client = connect(to=await open_paper(rtt_ms=150))
    begun = time.monotonic()
    await asyncio.gather(*(client.fetch_time() for _ in range(10)))
    assert 0.15 <= time.monotonic() - begun < 1.5


async def test_a_round_trip_also_delays_orders_over_the_socket(open_paper: Any, connect: Any) -> None:
    """Both doors have the same network in front of them."""
    client = connect(to=await open_paper(rtt_ms=200))
    await client.load_markets()
    await client.authenticate()
    begun = time.monotonic()
    await asyncio.wait_for(client.create_order_ws(SWAP, "market", "buy", 1), 5)
    assert time.monotonic() - begun >= 0.2


async def test_on_a_fast_clock_orders_are_still_signed_and_expire_by_the_wall(connect: Any) -> None:
    """`--speed` is for demonstrations: a client that knows nothing of it must get in."""
    settings = PaperSettings(port=0, persist=False, markets=20, speed=3600, rate_limit_factor=0)
    async with PaperServer(settings) as fast:
        client = connect(to=fast)
        await client.load_markets()
        first = await client.fetch_time()
        client.headers = {"expTime": str(client.milliseconds() + 60_000)}
        order = await client.create_order(SWAP, "market", "buy", 1)
        assert (await client.fetch_order(order["id"], SWAP))["status"] == "closed"
        assert await client.fetch_time() - first > 10_000
        assert await client.fetch_time() - client.milliseconds() > 10_000


async def test_many_orders_at_once_are_all_on_the_books(client: Any, admin: Any) -> None:
    """Concurrency loses and doubles nothing."""
    await client.load_markets()
    ids = [uuid.uuid4().hex for _ in range(60)]
    await asyncio.gather(*(limit_far_below(client, clientOrderId=client_id) for client_id in ids))
    assert {order["clientOrderId"] for order in await client.fetch_open_orders()} == set(ids)
    accepted = (await admin.stats())["accepted_by_client_id"]
    assert accepted == dict.fromkeys(ids, 1)


async def test_requests_are_counted_by_path(client: Any, admin: Any) -> None:
    """Benchmarks and flows are judged by these."""
    await client.load_markets()
    await client.fetch_ticker(SWAP)
    await client.fetch_ticker(SPOT)
    stats = await admin.stats()
    assert stats["requests"]["GET /api/v5/market/ticker"] == 2
    assert stats["statuses"]["200"] >= 2


async def test_hundreds_of_markets_load(open_paper: Any, connect: Any) -> None:
    """`--markets N` up to 2000."""
    client = connect(to=await open_paper(markets=300))
    assert len(await client.load_markets()) == 300
    tickers = await client.fetch_tickers(params={"type": "swap"})
    assert len(tickers) == sum(market["swap"] for market in client.markets.values())


async def start_process(*arguments: str, home: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "kontor.paper",
        *arguments,
        env={**os.environ, "KONTOR_HOME": str(home)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_program_serves_until_told_to_stop_and_keeps_its_state(tmp_path: Path, connect: Any) -> None:
    """A clean exit on either signal, and the same orders in the next life."""
    client_id = uuid.uuid4().hex
    found = []
    for signum in (signal.SIGTERM, signal.SIGINT):
        process = await start_process("--port", "0", "--markets", "20", home=tmp_path)
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        client = connect(urls={"api": {"rest": line.split()[-1]}})
        if signum is signal.SIGTERM:
            await client.load_markets()
            await limit_far_below(client, clientOrderId=client_id)
        order = await client.private_get_trade_order({"instId": "BTC-USD-SWAP", "clOrdId": client_id})
        found.append(order["data"][0]["ordId"])
        process.send_signal(signum)
        _, complaints = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 0, complaints.decode()
        assert b"Traceback" not in complaints
    assert found[0] == found[1]


def only_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line the program said before it gave up."""
    (sentence,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("kontor paper: ")]
    return sentence


def test_a_taken_port_is_one_clear_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """Which port, and what to do about it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["--port", port, "--no-persist", "--markets", "20"]) == 1
    sentence = only_sentence(capsys)
    assert port in sentence
    assert "KONTOR_PAPER_PORT" in sentence


@pytest.mark.parametrize(
    ("arguments", "place"),
    [(("--source", "replay:no/such/folder"), "no/such/folder"), (("--home", "/dev/null/x"), "/dev/null")],
)
def test_what_keeps_it_from_starting_is_one_clear_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...], place: str
) -> None:
    """The place that is wrong is named; no traceback."""
    assert main(["--port", "0", "--home", str(tmp_path), *arguments]) == 1
    assert place in only_sentence(capsys)


def test_a_state_file_belongs_to_one_exchange_at_a_time(tmp_path: Path) -> None:
    """Two exchanges on one file would each tell half the truth."""
    settings = PaperSettings(port=0, home=tmp_path, markets=20)
    first = PaperServer(settings)
    with pytest.raises(CannotStart, match=r"paper\.sqlite3"):
        PaperServer(settings)
    first.venue.close()
    PaperServer(settings).venue.close()
