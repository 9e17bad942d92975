"""What every channel does with each kind of trouble: retry, obey, give up, and never show its address."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from kontor.config.alerts import ChannelRules, Grouping
from kontor.errors import ConfigError
from kontor.notify import BackgroundSender, Discord, NotDelivered, Outlet, Telegram
from kontor.notify.delivery import Courier, Patience, Refused, Throttled, Unreachable, retry_after
from kontor.notify.queued import Queued
from tests.contract.notify.conftest import QUICK, Rig, an_alert
from tests.support.chat_server import Answer, FakeTime
from tests.support.discord import WEBHOOK_ID, DiscordServer

LOUD = ChannelRules(grouping=Grouping(burst=1000))


async def test_an_alert_arrives_with_all_its_facts(rig: Rig) -> None:
    """Time, symbol, price, strategy, account: what a person acts on."""
    fields = (("Symbol", "BTC/USD:USD"), ("Price", "64000.5"), ("Strategy", "sma_cross"))
    await rig.send(an_alert("Bought", "Filled at once.", side="buy", account="paper", fields=fields))
    for word in ("Bought", "Filled at once", "BTC/USD:USD", "64000.5", "cross"):
        assert word in rig.seen


async def test_several_alerts_share_one_message(rig: Rig) -> None:
    """Five requests in two seconds is all Discord allows: alerts that wait together travel together."""
    alerts = [an_alert(f"Alert {number}") for number in range(12)]
    count = rig.channel.fit([Queued(alert) for alert in alerts])
    assert count >= 10
    await rig.send(*alerts[:count])
    assert rig.messages == 1
    assert all(f"Alert {number}" in rig.seen for number in range(count))


async def test_the_longest_alerts_are_delivered_whole_or_shortened_but_never_refused(rig: Rig) -> None:
    """The service's 400 for one character too many would be an alert that nobody sees."""
    fields = tuple((f"name {number} " + "n_" * 300, "v*" * 600) for number in range(40))
    long = an_alert("T_" * 500, "x.y! " * 4000, fields=fields, account="a" * 5000)
    waiting = [Queued(long), Queued(long)]
    await rig.send(*(queued.alert for queued in waiting[: rig.channel.fit(waiting)]))
    assert rig.messages >= 1


async def test_text_with_every_special_character_arrives(rig: Rig) -> None:
    """Error texts hold anything: the notebook's messages were cut at a '#'."""
    text = r"#1 *a* _b_ [c](d) ~e~ `f` >g +h -i =j |k {l} .m! \n \\ @everyone <@1> 😀"
    await rig.send(an_alert("Special", text))
    assert rig.messages == 1
    assert "everyone" in rig.seen


async def test_a_429_is_obeyed(rig: Rig) -> None:
    """Asking sooner than told ends in a ban."""
    rig.server.script.append(_too_many(rig, 7.5))
    await rig.send(an_alert())
    assert rig.messages == 1
    assert rig.server.requests == 2
    assert sum(rig.time.slept) >= 7.5


async def test_the_pause_of_a_429_holds_for_the_next_message_too(rig: Rig) -> None:
    """The limit belongs to the webhook, not to the message that ran into it."""
    rig.channel.courier.patience = replace(rig.channel.courier.patience, most_pauses=0)
    rig.server.script.append(_too_many(rig, 30))
    with pytest.raises(Throttled):
        await rig.send(an_alert())
    await rig.send(an_alert())
    assert sum(rig.time.slept) >= 30


async def test_a_long_pause_leaves_the_budget_for_what_fails_after_it(rig: Rig) -> None:
    """The pause was asked for: it must not use up the message's own attempts."""
    rig.server.script.extend([_too_many(rig, 300), rig.server.fails(500, "oops")])
    await rig.send(an_alert())
    assert rig.messages == 1
    assert rig.server.requests == 3


async def test_a_minute_of_500_is_survived(rig: Rig) -> None:
    """Discord's bad minutes are short; an alert is worth waiting for."""
    ends_at = rig.time.seconds + 60

    async def answer(request: web.Request) -> web.StreamResponse:
        bad = rig.time.seconds < ends_at
        return await (rig.server.fails(500, "oops") if bad else rig.server.accept)(request)

    rig.server.always = answer
    await rig.send(an_alert())
    assert rig.messages == 1
    assert rig.server.requests < 15


async def test_a_lasting_500_is_given_up_within_the_budget(rig: Rig) -> None:
    """Retrying forever would keep all later alerts waiting."""
    rig.server.always = rig.server.fails(503, "down")
    started = rig.time.seconds
    with pytest.raises(Unreachable, match="503"):
        await rig.send(an_alert())
    assert rig.time.seconds - started <= 90


async def test_a_stalled_server_costs_one_timeout_an_attempt(rig: Rig) -> None:
    """Without a timeout of our own, aiohttp waits five minutes."""
    rig.channel.courier.patience = Patience(request_seconds=0.05, budget_seconds=0)
    rig.server.always = rig.server.stall
    started = time.perf_counter()
    with pytest.raises(Unreachable, match=r"no answer within 0\.05 s"):
        await rig.send(an_alert())
    assert time.perf_counter() - started < 2


async def test_a_refused_connection_is_retried_and_given_up(rig: Rig) -> None:
    """A host that is gone looks like this."""
    await rig.server.stop()
    with pytest.raises(Unreachable) as caught:
        await rig.send(an_alert())
    assert len(rig.time.slept) > 3
    assert rig.secret not in str(caught.value)


async def test_another_4xx_is_not_retried_and_its_body_is_told(rig: Rig) -> None:
    """The body says what is wrong with the message; sending it again changes nothing."""
    rig.server.script.append(
        rig.server.fails(400, {"message": "Invalid Form Body", "description": "Invalid Form Body"})
    )
    with pytest.raises(Refused, match="Invalid Form Body") as caught:
        await rig.send(an_alert())
    assert rig.server.requests == 1
    assert not caught.value.is_lasting


async def test_a_redirect_is_not_followed(rig: Rig) -> None:
    """The body would go to an address that nobody entered."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": request.path_qs})

    rig.server.script.append(answer)
    with pytest.raises(Refused):
        await rig.send(an_alert())
    assert rig.server.requests == 1


TROUBLES = ["500", "400", "404", "429", "html", "stall", "gone"]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_the_address_is_never_shown(rig: Rig, trouble: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has the webhook's address can write into the channel: it is a secret (behaviour 27)."""
    rig.channel.courier.patience = Patience(request_seconds=0.05, budget_seconds=1, most_pauses=1)
    path = rig.server.address + "/api/webhooks/1/" + rig.secret
    answers = {
        "500": rig.server.fails(500, f"error at {path} and bot{rig.secret}"),
        "400": rig.server.fails(400, {"message": f"no {rig.secret} here"}),
        "404": rig.server.fails(404, {"message": path}),
        "429": rig.server.fails(429, {"message": path}, {"Retry-After": "1"}),
        "html": rig.server.fails(502, f"<html>{path}</html>"),
        "stall": rig.server.stall,
    }
    rig.server.always = answers.get(trouble)
    if trouble == "gone":
        await rig.server.stop()

    async def source() -> Sequence[Outlet]:
        return [Outlet(rig.channel, LOUD)]

    with caplog.at_level(logging.DEBUG):
        with pytest.raises(NotDelivered) as caught:
            await rig.send(an_alert())
        sender = BackgroundSender(source)
        sender.notify(an_alert("again"))
        await sender.close(seconds=2)
    chain = [
        caught.value,
        caught.value.__cause__,
        caught.value.__context__ if not caught.value.__suppress_context__ else None,
    ]
    shown = caplog.text + repr(rig.channel) + "".join(f"{error!r} {error}" for error in chain)
    assert "alerts lost" in caplog.text
    assert rig.secret not in shown


@pytest.mark.parametrize("limit", [(5, 2.0), (20, 60.0)])
async def test_a_burst_meets_the_limit_at_most_once(rig: Rig, limit: tuple[int, float]) -> None:
    """After the first 429 the limit is never exceeded again: repeated ones end in a ban."""
    rig.server.limit = limit
    sender = BackgroundSender(lambda: _only(rig.channel), capacity=900)
    for number in range(10_000):
        sender.notify(an_alert(f"Alert {number}", "x" * 200))
    assert await sender.close(seconds=20) == 0
    assert rig.messages > 2 * limit[0]
    assert rig.server.refused_for_speed <= 1
    assert "Alert 9999" in rig.seen
    assert "9100 alerts could not be delivered here" in rig.seen


async def test_a_stalled_service_never_delays_who_notifies(rig: Rig) -> None:
    """Nothing in trading may wait (behaviour 29); the loss is told when the service is back."""
    rig.channel.courier.patience = Patience(request_seconds=0.05, budget_seconds=0)
    rig.server.always = rig.server.stall
    sender = BackgroundSender(lambda: _only(rig.channel))
    started = time.perf_counter()
    sender.notify(an_alert("lost"))
    assert time.perf_counter() - started < 1
    await rig.server.stalled.wait()
    await sender.drain(seconds=5)
    rig.server.always = None
    rig.channel.courier.patience = QUICK
    sender.notify(an_alert("next"))
    assert await sender.close(seconds=5) == 0
    assert "1 alert could not be delivered here" in rig.seen
    assert "next" in rig.seen


FAULTS = ["stalled", "refused", "429", "500", "dns", "tls"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_delays_nobody_raises_nothing_and_its_loss_is_told_when_the_channel_returns(
    rig: Rig, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What the issue promises, in one: bounded while it lasts, and afterwards a number instead of silence."""
    asked, capacity = 0, 20
    broken = _broken(rig, fault)

    async def source() -> Sequence[Outlet]:
        nonlocal asked
        asked += 1
        return [Outlet(broken if asked == 1 else rig.channel, LOUD)]

    sender = BackgroundSender(source, capacity=capacity, refresh_seconds=1e9)
    loop_errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: loop_errors.append(context))
    began = time.perf_counter()
    for number in range(100):
        sender.notify(an_alert(f"lost {number}"))
    assert time.perf_counter() - began < 1
    assert sender.waiting <= capacity
    assert await sender.drain(seconds=20) == 0
    assert sender.lost == 100
    assert rig.messages == 0
    rig.server.always = None
    sender._refresh_at = 0.0
    sender.notify(an_alert("next"))
    assert await sender.close(seconds=20) == 0
    assert rig.seen.index("100 alerts could not be delivered here") < rig.seen.index("next")
    assert sender.lost == 0
    assert loop_errors == []
    assert rig.secret not in caplog.text


def _broken(rig: Rig, fault: str) -> Discord | Telegram:
    """The rig's channel as the fault has it; where the address is the fault, another one of the same name."""
    hurry = Patience(request_seconds=0.05 if fault == "stalled" else 5, budget_seconds=0, most_pauses=0)
    rig.server.always = {"stalled": rig.server.stall, "500": rig.server.fails(500), "429": _too_many(rig, 3)}.get(fault)
    courier = replace(rig.channel.courier, patience=hurry)
    address = {
        "refused": "http://127.0.0.1:1",
        "dns": "https://no-such-host.invalid",
        "tls": rig.server.address.replace("http:", "https:"),
    }.get(fault, rig.server.address)
    if isinstance(rig.channel, Discord):
        return Discord(f"{address}/api/webhooks/{WEBHOOK_ID}/{rig.secret}", courier=courier)
    return replace(rig.channel, api_url=address, courier=courier)


async def test_cancellation_gets_through(rig: Rig) -> None:
    """A retry loop that swallows it would keep a process from ending."""
    rig.server.always = rig.server.stall
    task = asyncio.create_task(rig.send(an_alert()))
    await rig.server.stalled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_name_that_does_not_resolve_and_a_broken_tls_are_unreachable() -> None:
    """DNS and TLS fail in their own exceptions, which must not leave either."""
    patience, fake = Patience(request_seconds=10, budget_seconds=0), FakeTime()
    async with DiscordServer() as server, aiohttp.ClientSession() as session:
        addresses = [
            server.url.replace("http://", "https://"),
            "https://no-such-host.invalid/api/webhooks/1/abcdef-token",
        ]
        for url in addresses:
            channel = Discord(url, courier=Courier("discord", patience, fake.sleep, fake.monotonic))
            with pytest.raises(Unreachable) as caught:
                await channel.send(session, [Queued(an_alert())])
            assert "abcdef-token" not in str(caught.value)


async def test_discord_may_not_call_everyone() -> None:
    """An alert's text comes from outside and may hold @everyone."""
    async with DiscordServer() as server, aiohttp.ClientSession() as session:
        await Discord(server.url).send(session, [Queued(an_alert(text="@everyone"))])
        assert server.messages[0]["allowed_mentions"] == {"parse": []}


@pytest.mark.parametrize(
    ("header", "body", "expected"),
    [
        ("3", b'{"retry_after": 2.5, "global": false}', 3.0),
        ("1", b'{"retry_after": 1.337}', 1.337),
        (None, b'{"retry_after": 0.25}', 0.25),
        (None, b'{"ok": false, "parameters": {"retry_after": 31}}', 31.0),
        ("12", b"<html>error 1015</html>", 12.0),
        (None, b"", 5.0),
        ("soon", b'{"retry_after": null}', 5.0),
        ("-1", b'{"retry_after": "nan"}', 5.0),
        ("86400", b"[]", 3600.0),
    ],
)
def test_the_pause_is_read_from_header_and_body(header: str | None, body: bytes, expected: float) -> None:
    """Discord rounds the header, Telegram nests the figure, and Cloudflare answers in HTML."""
    assert retry_after(header, body) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "geheim",
        "https://discord.com/api/webhooks/123",
        "http://discord.com/api/webhooks/123/geheim-token",
        "ftp://discord.com/api/webhooks/123/geheim-token",
        "https:///api/webhooks/123/geheim-token",
    ],
)
def test_a_wrong_webhook_is_one_sentence_without_the_address(url: str) -> None:
    """It is typed by hand, and errors end in logs."""
    with pytest.raises(ConfigError, match="webhook URL must") as caught:
        Discord(url)
    assert "geheim" not in str(caught.value)


def test_a_webhook_is_called_in_the_version_whose_figures_are_seconds() -> None:
    """Unversioned addresses, as Discord shows them, answer retry_after in milliseconds; a thread is kept."""
    assert Discord("https://discord.com/api/webhooks/1/abcdef").url == (
        "https://discord.com/api/v10/webhooks/1/abcdef?wait=true"
    )
    assert Discord("https://discord.com/api/v8/webhooks/1/abcdef/?thread_id=5").url == (
        "https://discord.com/api/v10/webhooks/1/abcdef?thread_id=5&wait=true"
    )


@pytest.mark.parametrize(("token", "chat"), [("geheim", "1"), ("1:geheim", "my chat"), ("", "1"), ("1:geheim", "")])
def test_a_wrong_bot_is_one_sentence_without_the_token(token: str, chat: str) -> None:
    """As for the webhook."""
    with pytest.raises(ConfigError, match="must") as caught:
        Telegram(token, chat)
    assert "geheim" not in str(caught.value)


def _too_many(rig: Rig, seconds: float) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return rig.server.too_many(seconds)

    return answer


async def _only(channel: Discord | Telegram) -> Sequence[Outlet]:
    return [Outlet(channel, LOUD)]
