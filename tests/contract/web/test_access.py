"""Who gets in: the desk's password, one guess at a time; nobody else's page, and nobody else's name for this server."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from kontor.errors import ConfigError
from kontor.store.memory import MemoryStore
from kontor.web import CannotStart, WebServer, WebSettings
from kontor.web.files import FOLDER, KINDS, plotly_script
from kontor.web.sessions import COOKIE, Sessions, TooManyGuesses
from tests.contract.web.conftest import PASSWORD, Browser, FakeDesk, served

CLOSED = ["/live", "/static/desk.js", "/static/plotly.min.js", "/nothing"]


async def test_without_the_password_there_is_nothing_but_the_place_to_enter_it(browser: Browser) -> None:
    """Whoever sees the page sees the account."""
    front = await browser.get("/")
    assert (front.status, front.headers["Location"]) == (303, "/login")
    assert "Password" in await (await browser.get("/login")).text()
    assert [(await browser.get(path)).status for path in CLOSED] == [401] * len(CLOSED)
    assert (await browser.get("/health")).status == 200


async def test_the_password_opens_the_page_and_signing_out_closes_it(browser: Browser) -> None:
    """The cookie is out of reach of scripts and of other sites."""
    entered = await browser.sign_in()
    assert (entered.status, entered.headers["Location"]) == (303, "/")
    cookie = entered.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert PASSWORD not in cookie
    assert (await browser.get("/")).status == 200
    await browser.session.post(f"{browser.page.url}/logout", headers={"Origin": browser.page.url})
    assert (await browser.get("/")).status == 303


async def test_a_wrong_password_costs_a_second_and_says_so(browser: Browser) -> None:
    """Guesses wait for one another; the right one is let in all the same."""
    began = time.monotonic()
    answers = await asyncio.gather(browser.sign_in("admin:guess"), browser.sign_in(""))
    assert [each.headers["Location"] for each in answers] == ["/login?wrong"] * 2
    assert time.monotonic() - began > 1.9
    assert "not the password" in await (await browser.get("/login?wrong")).text()
    assert (await browser.get("/")).status == 303
    assert (await browser.sign_in(f" {PASSWORD}\n")).headers["Location"] == "/"


async def test_many_guesses_at_once_are_turned_away() -> None:
    """A guesser is not to hold up the server either."""
    sessions = Sessions(PASSWORD, timedelta(hours=1))
    guesses = [asyncio.create_task(sessions.is_password("x")) for _ in range(6)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyGuesses):
        await sessions.is_password("y")
    for each in guesses:
        each.cancel()
    await asyncio.gather(*guesses, return_exceptions=True)


def test_a_cookie_cannot_be_made_changed_or_kept() -> None:
    """It is signed with the password, and says itself when it ends."""
    now = 1000.0
    sessions = Sessions(PASSWORD, timedelta(hours=1), now=lambda: now)
    cookie = sessions.issue()
    assert sessions.seconds_left(cookie) == 3600
    ends, _, signature = cookie.partition(".")
    for wrong in (None, "", "x", ends, f"{int(ends) + 1}.{signature}", f"{ends}.", f"{ends}.{'0' * 64}", "٩.x"):
        assert sessions.seconds_left(wrong) == 0
    assert Sessions("admin:other", timedelta(hours=1), now=lambda: now).seconds_left(cookie) == 0
    assert Sessions(PASSWORD, timedelta(hours=1), now=lambda: now + 3600).seconds_left(cookie) == 0


async def test_a_page_of_another_origin_can_neither_sign_in_nor_listen(browser: Browser) -> None:
    """No rule of a browser's keeps it from opening a WebSocket here, with the cookie of who is signed in."""
    elsewhere = "http://127.0.0.1:1"
    assert (await browser.sign_in(origin=elsewhere)).status == 403
    await browser.sign_in()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with browser.live(origin=elsewhere):
            pass
    assert refused.value.status == 403
    out = await browser.session.post(f"{browser.page.url}/logout", headers={"Origin": elsewhere})
    assert out.status == 403
    assert (await browser.get("/")).status == 200


async def test_a_name_that_somebody_points_here_is_not_answered(browser: Browser) -> None:
    """DNS rebinding makes any page one of this origin, as far as a browser can tell."""
    await browser.sign_in()
    assert (await browser.get("/", Host="attacker.example")).status == 421
    assert (await browser.get("/health", Host="attacker.example")).status == 421
    assert (await browser.get("/", Host=f"localhost:{browser.page.port}")).status == 200


async def test_behind_tls_the_public_name_works_and_its_cookie_travels_by_tls_alone(
    store: MemoryStore, desk: FakeDesk
) -> None:
    """As docs/security.md sets it up."""
    async with served(store, desk, public_url="https://desk.example.org") as browser:
        headers = {"Origin": "https://desk.example.org", "Host": "desk.example.org"}
        data = {"password": PASSWORD}
        answer = await browser.session.post(
            f"{browser.page.url}/login", data=data, headers=headers, allow_redirects=False
        )
        assert answer.status == 303
        assert "Secure" in answer.headers["Set-Cookie"]


async def test_every_answer_forbids_scripts_from_elsewhere_frames_and_inline_code(browser: Browser) -> None:
    """Also a refusal and a missing page: a policy with holes is none."""
    answers = [await browser.get(path) for path in ("/login", "/", "/nothing")]
    await browser.sign_in()
    answers += [await browser.get(path) for path in ("/", "/nothing", "/static/nothing.js", "/static/desk.js")]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_files_come_from_the_package_and_from_nowhere_else(browser: Browser) -> None:
    """The chart library as its package ships it; no path leads out."""
    await browser.sign_in()
    for name in KINDS:
        assert (await browser.get(f"/static/{name}")).status == 200, name
    script = await browser.get("/static/plotly.min.js")
    assert await script.read() == plotly_script().read_bytes()
    assert {each.name for each in FOLDER.iterdir()} == {*KINDS, "login.html"} - {"plotly.min.js"}
    for path in ("/static/login.html", "/static/..%2Fserver.py", "/static/%2Fetc%2Fpasswd"):
        assert (await browser.get(path)).status == 404
    for file in FOLDER.iterdir():
        text = file.read_text()
        assert "http://" not in text, file.name
        assert "https://" not in text, file.name
        assert "innerHTML" not in text, file.name


async def test_who_is_no_longer_signed_in_is_let_go(store: MemoryStore, desk: FakeDesk) -> None:
    """An open page in a forgotten browser is not open for ever."""
    async with served(store, desk, session=timedelta(seconds=2)) as browser:
        await browser.sign_in()
        async with browser.live() as socket:
            while not socket.closed:
                await socket.receive(timeout=30)
            assert socket.close_code == 4401


async def test_a_taken_port_and_a_missing_password_are_one_sentence(store: MemoryStore, desk: FakeDesk) -> None:
    """With what to do about it."""
    async with WebServer(WebSettings(PASSWORD), store, desk) as first:
        with pytest.raises(CannotStart, match=rf"port {first.port} on 127.0.0.1 is taken.*KONTOR_WEB_PORT"):
            await WebServer(WebSettings(PASSWORD, port=first.port), store, desk).start()
    with pytest.raises(ConfigError, match="there is none"):
        WebSettings("")
    assert PASSWORD not in repr(WebSettings(PASSWORD))


def test_the_cookie_is_named_for_this_page_alone() -> None:
    """Cookies do not know ports: Prefect's UI on the same address has its own."""
    assert COOKIE == "kontor-page"
    assert Path(FOLDER / "desk.html").exists()
