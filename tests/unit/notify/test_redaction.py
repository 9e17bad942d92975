"""Secrets leave no trace in a text that people or logs get to see (behaviour 27)."""

import pytest

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
