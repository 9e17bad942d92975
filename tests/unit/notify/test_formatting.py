"""Alerts as people see them: the colours, the facts, and both services' limits whatever the text is."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kontor.notify.formatting import (
    AMBER,
    CRITICAL,
    EMBEDS_TOTAL,
    GREEN,
    GREY,
    RED,
    embed,
    embed_length,
    escape,
    length,
    shorten,
    split,
    telegram_text,
)
from kontor.notify.queued import Queued
from kontor.ports import Alert
from tests.support.discord import embed_size, find_errors
from tests.support.telegram import plain

# A busy machine must not fail a test of text.
UNHURRIED = settings(deadline=None, max_examples=60)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEXT = st.text(max_size=9000)
SHORT = st.text(max_size=1500)
ALERTS = st.builds(
    Alert,
    title=SHORT,
    text=TEXT,
    severity=st.sampled_from(["info", "warning", "critical"]),
    at=st.just(AT),
    account=st.text(max_size=300),
    fields=st.lists(st.tuples(SHORT, SHORT), max_size=30).map(tuple),
    url=st.sampled_from([None, "http://127.0.0.1:4200/runs/flow-run/0f_1-2"]),
    side=st.sampled_from([None, "buy", "sell"]),
)


def an_alert(**changes: object) -> Alert:
    facts: dict[str, object] = {"title": "Title", "text": "Text.", "severity": "info", "at": AT}
    return Alert(**{**facts, **changes})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("side", "severity", "expected"),
    [
        ("buy", "info", GREEN),
        ("sell", "critical", RED),
        (None, "warning", AMBER),
        (None, "critical", CRITICAL),
        (None, "info", GREY),
    ],
)
def test_a_buy_is_green_a_sell_red_and_trouble_amber(side: str | None, severity: str, expected: int) -> None:
    """A glance at the colour must be enough (behaviour 28)."""
    assert embed(Queued(an_alert(side=side, severity=severity)))["color"] == expected


def test_an_embed_carries_time_account_and_every_fact() -> None:
    """Time, symbol, price and strategy are what a person acts on (behaviour 28)."""
    facts = (("Symbol", "BTC/USD:USD"), ("Price", "64000.5"), ("Strategy", "sma"), ("Mode", "paper"))
    shown = embed(Queued(an_alert(side="buy", account="paper", fields=facts)))
    assert shown["timestamp"] == "2026-01-02T03:04:05+00:00"
    assert shown["footer"]["text"].startswith("paper")
    assert [(field["name"], field["value"]) for field in shown["fields"]] == list(facts)


def test_a_link_stays_a_link() -> None:
    """A backslash in an address would break it, so links alone are not escaped."""
    url = "http://127.0.0.1:4200/runs/flow-run/a_b_c"
    shown = embed(Queued(an_alert(url=url)))
    assert {"name": "Link", "value": url, "inline": False} in shown["fields"]
    assert url in plain(telegram_text(Queued(an_alert(url=url))))


def test_markup_in_a_text_is_shown_and_not_applied() -> None:
    """The notebook's messages were cut at a '#'; symbols and error texts are full of such characters."""
    text = "#1 *order* for BTC_USD [x](y) `z` ~ | > 5.0!"
    assert text in plain(telegram_text(Queued(an_alert(text=text))))
    assert r"\#1 \*order\* for BTC\_USD" in embed(Queued(an_alert(text=text)))["description"]


def test_repeats_are_said_in_words() -> None:
    """A digest stands for many alerts and must say so."""
    queued = Queued(an_alert(), repeats=12)
    assert {"name": "Again", "value": "12 more of these", "inline": True} in embed(queued)["fields"]
    assert "12 more of these" in plain(telegram_text(queued))


@UNHURRIED
@given(ALERTS, st.integers(0, 100_000))
def test_no_alert_breaks_a_limit_of_discord(alert: Alert, repeats: int) -> None:
    """One field too long and Discord refuses the whole message: an alert nobody would ever see."""
    shown = embed(Queued(alert, repeats))
    assert find_errors({"embeds": [shown]}) == {}
    assert embed_length(shown) == embed_size(shown) <= EMBEDS_TOTAL


@UNHURRIED
@given(ALERTS, st.integers(0, 100_000))
def test_every_piece_of_a_long_telegram_message_is_valid_and_short_enough(alert: Alert, repeats: int) -> None:
    """Telegram answers 400 to half an escape or an open bold, and to more than 4096 characters."""
    pieces = split(telegram_text(Queued(alert, repeats)))
    assert pieces
    assert all(length(piece) <= 4096 for piece in pieces)
    assert all(plain(piece).strip() for piece in pieces)


@UNHURRIED
@given(TEXT, st.integers(10, 200))
def test_splitting_loses_nothing_but_line_ends(text: str, limit: int) -> None:
    """What was said in one message must be found again in its pieces."""
    pieces = split(escape(text), limit)
    without_blanks = "".join("".join(map(plain, pieces)).split())
    assert without_blanks == "".join(plain(escape(text)).split())


@UNHURRIED
@given(TEXT)
def test_escaped_text_reads_as_it_was(text: str) -> None:
    """Escaping is invisible to the reader."""
    assert plain(escape(text)) == text


@UNHURRIED
@given(TEXT, st.integers(1, 300))
def test_shortening_respects_the_limit(text: str, limit: int) -> None:
    """A limit counts UTF-16 units, in which an emoji is two."""
    short = shorten(text, limit)
    assert len(short.encode("utf-16-le")) // 2 <= limit
    assert short == text or short.endswith("…")


def test_a_lone_surrogate_does_not_make_a_message_unsendable() -> None:
    """Such text comes out of undecodable file names and payloads, and no JSON encoder takes it."""
    queued = Queued(an_alert(title="a\ud800", text="b\udfff", fields=(("c\ud800", "d\ud800"),), account="e\ud800"))
    assert str(embed(queued)).encode()
    assert telegram_text(queued).encode()
