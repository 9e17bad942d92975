"""Secrets leave no trace in a text that people or logs get to see (behaviour 27)."""

import pytest

from kontor.notify.apprise_channel import instantiate
from kontor.notify.heartbeat import check_url
from kontor.notify.redaction import redact, remember_secret


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("POST https://discord.com/api/webhooks/123456/tok-en_42 failed", "tok-en_42"),
        ("https://api.telegram.org/bot123456789:AAF-abcdefghijklmnopqrstuvwxyz01234/sendMessage", "AAF-abcdefg"),
        ("cannot connect to postgresql://kontor:hunter2@db:5432/kontor", "hunter2"),
        ('{"apiKey": "K-abc-123", "secret": "S-def-456"}', "K-abc-123"),
        ('{"apiKey": "K-abc-123", "secret": "S-def-456"}', "S-def-456"),
        ("api_key=K123456 rejected", "K123456"),
        ("OK-ACCESS-SIGN: c2lnbmF0dXJl", "c2lnbmF0dXJl"),
        ("Authorization: Bearer abc.def.ghi", "abc.def.ghi"),
        ("GET /x?signature=deadbeef&symbol=BTC", "deadbeef"),
        ("password = 'open sesame'", "open"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, secret: str) -> None:
    """Error texts of libraries quote addresses and headers."""
    assert secret in text
    assert secret not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "update-tickers failed: OKX answered 50011 Too Many Requests",
        "order kabc0001: cannot go from FILLED to ACCEPTED",
        "http://127.0.0.1:4200/runs/flow-run/0191b4c2-7f0e-7a7e-b9a1-0d9a2f1f7c55",
        "BTC/USD:USD took 12:30:45 at 2026-01-02T03:04:05",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    """An alert full of stars helps nobody."""
    assert redact(text) == text


def test_a_secret_that_a_block_held_is_hidden_wherever_it_stands() -> None:
    """No pattern finds a passphrase in the middle of a sentence."""
    remember_secret("correct horse battery")
    assert redact("login with correct horse battery failed") == "login with *** failed"


def test_a_very_short_value_does_not_riddle_the_text() -> None:
    """A password 'a' would turn every a into stars."""
    remember_secret("a")
    remember_secret("")
    assert redact("a sad tale") == "a sad tale"


@pytest.mark.parametrize(
    ("address", "token"),
    [
        ("https://hb.example.com/heartbeat/0f9a2b6c-1d3e", "0f9a2b6c-1d3e"),
        ("http://localhost:8000/api/push/AbCdEfGhIjKlMn?status=up", "AbCdEfGhIjKlMn"),
    ],
)
def test_of_a_heartbeats_address_the_token_is_hidden_and_the_words_stay(address: str, token: str) -> None:
    """`heartbeat` and `localhost` stand in half of our own sentences."""
    check_url(address)
    assert redact(f"GET {address} failed") == "GET *** failed"
    assert redact(f"no heartbeat from localhost, api push: {token}") == "no heartbeat from localhost, api push: ***"


def test_of_an_apprise_url_hosts_and_names_stay_and_what_may_be_a_token_is_hidden() -> None:
    """A mail server's name in an error says where to look."""
    instantiate("json://kontor:hunter22@localhost/alerts/tok3n-abc")
    instantiate("json://mail.example.org")
    said = redact("kontor at localhost posts alerts to mail.example.org with hunter22 and tok3n-abc")
    assert said == "kontor at localhost posts alerts to mail.example.org with *** and ***"
