"""Clients: any exchange by id, and one clear sentence for what cannot work."""

import asyncio
import logging
from typing import Any

import ccxt
import pytest

from kontor.domain.market import MarketKind
from kontor.errors import ConfigError
from kontor.exchange.capabilities import NEEDED, batch_limits, cost_only_buys, mentions_client_id, venue_profile
from kontor.exchange.client import create_client, exchange_class
from kontor.exchange.opening import capability_report, open_exchange
from kontor.exchange.replies import Reply, read_error, read_items
from kontor.exchange.venues import venue_of
from kontor.ports import ExchangeSettings
from kontor.resilience.clock import VirtualClock


def client(exchange_id: str, **settings: Any) -> Any:
    """A client that never connects."""
    return create_client(ExchangeSettings(exchange_id, "main", **settings), venue_of(exchange_id), VirtualClock())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"exchange_id": "okxx"},
            "exchange_id: there is no exchange 'okxx'; did you mean 'okx'?",
        ),
        (
            {"exchange_id": "q"},
            "exchange_id: there is no exchange 'q'; use an exchange id of ccxt, such as 'okx' or 'kraken'",
        ),
        (
            {"exchange_id": "kraken", "sandbox": True},
            "sandbox: kraken has no sandbox; set it to false, or use the paper exchange to try things out",
        ),
        (
            {"exchange_id": "okx", "sandbox": True, "urls": {"rest": "http://127.0.0.1:1"}},
            "sandbox: a sandbox has its own addresses; set either sandbox or urls",
        ),
        (
            {"exchange_id": "okx", "api_key": "a", "secret": "b"},
            "account main: okx also needs password",
        ),
        (
            {"exchange_id": "kraken", "api_key": "a"},
            "account main: kraken also needs secret",
        ),
        (
            {"exchange_id": "hyperliquid", "api_key": "0xabc"},
            "account main: hyperliquid also needs secret",
        ),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    """It names the place and the remedy, before anything is sent."""
    with pytest.raises(ConfigError) as caught:
        open_exchange(ExchangeSettings(**{"account": "main", **settings}), clock=VirtualClock())
    assert str(caught.value) == sentence


def test_paper_is_okx_with_other_addresses() -> None:
    """Every request of every kind goes there."""
    paper = client("okx", urls={"rest": "http://127.0.0.1:8400", "ws": "ws://127.0.0.1:8400/ws/v5"})
    assert paper.urls["api"] == {"rest": "http://127.0.0.1:8400", "ws": "ws://127.0.0.1:8400/ws/v5"}
    assert client("okx").urls["api"]["rest"] == "https://{hostname}"


def test_a_sandbox_has_its_own_addresses() -> None:
    """For those that have one."""
    assert "testnet" in str(client("binance", sandbox=True).urls["api"])
    assert client("okx", sandbox=True).headers["x-simulated-trading"] == "1"


def test_ccxts_own_throttle_and_retries_are_off() -> None:
    """Orders are never sent twice by a library, and the rate budget is ours."""
    okx = client("okx")
    assert okx.enableRateLimit is False
    assert okx.handle_option_integer_and_params({}, "trade/order", "maxRetriesOnFailure", 0)[0] == 0
    assert okx.timeout == 9000


async def test_what_has_a_limit_of_its_own_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """One status a half minute cost all prices ten seconds; asked more often, it waits for its own turn."""
    clock = VirtualClock()
    okx = create_client(ExchangeSettings("okx", "main"), venue_of("okx"), clock)
    sent: list[tuple[str, float]] = []

    async def fetch(_: Any, url: str, *__: Any) -> dict[str, Any]:
        sent.append((url.partition("/v5/")[2], clock.monotonic()))
        return {"code": "0", "data": []}

    monkeypatch.setattr(exchange_class("okx"), "fetch", fetch)
    asked = [asyncio.ensure_future(okx.public_get_system_status()) for _ in range(2)]
    await clock.advance(0)
    asked.append(asyncio.ensure_future(okx.public_get_market_tickers({"instType": "SPOT"})))
    await clock.advance(0)
    assert [path for path, _ in sent] == ["system/status", "market/tickers?instType=SPOT"]
    await clock.advance(10)
    assert sent[-1] == ("system/status", pytest.approx(50 / okx.kontor_budget.limit))
    await asyncio.gather(*asked)
    await okx.close()


def test_wallets_take_the_place_of_keys_where_an_exchange_lives_on_a_chain() -> None:
    """An account block has a key and a secret; the exchange calls them otherwise."""
    dex = client("hyperliquid", api_key="0xabc", secret="0xdef")
    assert (dex.walletAddress, dex.privateKey) == ("0xabc", "0xdef")
    dex.check_required_credentials()


def test_ccxt_never_logs_keys_at_debug_level() -> None:
    """Its debug lines hold request headers, key and passphrase among them."""
    okx = client("okx", api_key="a", secret="b", password="c")
    assert not okx.logger.isEnabledFor(logging.DEBUG)


def test_settings_keep_their_secrets_to_themselves() -> None:
    """They end in logs and tracebacks sooner or later."""
    text = repr(ExchangeSettings("okx", "main", api_key="key-1", secret="secret-1", password="pass-1"))
    assert not any(secret in text for secret in ("key-1", "secret-1", "pass-1"))


def test_okx_can_do_all_the_desk_needs() -> None:
    """The paper exchange is one."""
    profile = venue_profile(client("okx"), venue_of("okx"))
    assert profile.lacks(NEEDED) == ()
    assert (profile.batch_limit, profile.max_candles_per_call) == (20, 300)
    assert profile.lookup_by_client_order_id
    assert profile.client_order_id_on_create
    assert profile.cancel_all_after
    assert profile.request_expiry


def test_every_exchange_of_ccxt_can_be_opened() -> None:
    """Whichever id the user writes; nothing is sent, so nothing but our own code can fail."""
    for exchange_id in ccxt.exchanges:
        exchange = open_exchange(ExchangeSettings(exchange_id, "main"), clock=VirtualClock())
        assert exchange.profile.exchange_id == exchange_id
        assert exchange.profile.batch_limit >= 1


def test_batches_are_limited_by_kind_of_market() -> None:
    """Binance has them on futures only, bybit has ten at a time on both."""
    spot, swap = MarketKind
    assert batch_limits(client("binance")) == {spot: 1, swap: 5}
    assert batch_limits(client("bybit")) == {spot: 10, swap: 10}
    assert batch_limits(client("bitstamp")) == {spot: 1, swap: 1}


def test_a_regional_sister_keeps_its_own_kinds_of_market() -> None:
    """Binance US has no futures; asking for them would fail at every start."""
    assert client("binanceus").options["fetchMarkets"]["types"] == ["spot"]
    assert client("binance").options["fetchMarkets"]["types"] == ["spot", "linear"]


def test_what_an_exchange_cannot_do_is_said_in_sentences() -> None:
    """At start, not at three in the morning."""
    report = capability_report(open_exchange(ExchangeSettings("bitstamp", "main"), clock=VirtualClock()))
    assert "bitstamp has no fetchPositions: positions are not known, only balances" in report
    assert all(sentence.startswith("bitstamp has no ") for sentence in report)


def test_unknown_limits_are_taken_low() -> None:
    """A batch of one and a short page always work."""
    profile = venue_profile(client("bitstamp"), venue_of("bitstamp"))
    assert profile.batch_limit == 1
    assert 2 <= profile.max_candles_per_call <= 1000


@pytest.mark.parametrize(
    ("exchange_id", "looks_up", "cancels"),
    [("okx", True, True), ("binance", True, True), ("bybit", True, True), ("coinbase", False, False)],
)
def test_who_can_be_asked_by_our_own_id(exchange_id: str, looks_up: bool, cancels: bool) -> None:
    """The whole promise of "exactly once" hangs on it."""
    made = client(exchange_id)
    assert mentions_client_id(made, "create_order")
    assert mentions_client_id(made, "fetch_order") is looks_up
    assert mentions_client_id(made, "cancel_order") is cancels


def test_who_takes_market_buys_by_cost_only() -> None:
    """Their options say so, or their features do."""
    assert not cost_only_buys(client("okx"))
    assert cost_only_buys(client("gate"))
    assert not cost_only_buys(client("gate", options={"createMarketBuyOrderRequiresPrice": False}))


@pytest.mark.parametrize(
    ("message", "reply"),
    [
        (
            'okx {"code":"1","data":[{"sCode":"51008","sMsg":"No funds"}],"msg":"All failed"}',
            Reply("51008", "No funds"),
        ),
        ('okx {"code":"50011","data":[],"msg":"Too Many Requests"}', Reply("50011", "Too Many Requests")),
        ('okx {"code":"2","data":[{"sCode":"0"},{"sCode":"51016","sMsg":"dup"}]}', Reply("51016", "dup")),
        (
            'bybit {"retCode":110072,"retMsg":"OrderLinkedID is duplicate"}',
            Reply("110072", "OrderLinkedID is duplicate"),
        ),
        ('binance {"code":-2010,"msg":"Duplicate order sent."}', Reply("-2010", "Duplicate order sent.")),
        ('kraken {"error":["EOrder:Insufficient funds"]}', Reply()),
        ('okx POST {"code":"1","data":[{"sCo', Reply()),
        ("okx POST https://x", Reply()),
        ('okx {"code":"0","data":{}}', Reply()),
        ("okx [1, 2]", Reply()),
        ("okx {}", Reply()),
    ],
)
def test_a_venues_code_and_words_are_read_out_of_ccxts_text(message: str, reply: Reply) -> None:
    """The exception carries nothing else; what can't be read is empty, not guessed."""
    assert read_error(message) == reply


def test_a_failed_batch_has_a_reply_for_each_order() -> None:
    """Okx tells each order's own reason inside one refusal."""
    body = (
        '{"code":"1","data":[{"sCode":"51008","sMsg":"a"},{"sCode":"51016","sMsg":"b"}],"msg":"All operations failed"}'
    )
    assert read_items(f"okx {body}") == [Reply("51008", "a"), Reply("51016", "b")]
    assert read_items("okx down") == []


def test_the_classes_mixed_in_leave_ccxts_own_alone() -> None:
    """Other code in the process may use plain ccxt."""
    client("okx")
    assert "kontor_budget" not in vars(ccxt.pro.okx)  # pyright: ignore[reportAttributeAccessIssue]
    assert ccxt.pro.okx.fetch2.__module__.startswith("ccxt.")  # pyright: ignore[reportAttributeAccessIssue]
