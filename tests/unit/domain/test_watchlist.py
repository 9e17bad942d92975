"""The watchlist: filter conditions, restricted symbols and symbols that are held."""

import pytest

from kontor.config import Condition
from kontor.domain.watchlist import passes, select
from kontor.errors import ConfigError

VOLUME = {"info.volumeUsd24h": Condition(value=2_000_000, type="greater_or_equal")}
MARKET = {"symbol": "BTC/USD:USD", "type": "swap", "info": {"lever": "50"}}


def ticker(volume: object) -> dict:
    return {"last": 50_000.0, "info": {"volumeUsd24h": volume}}


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("smaller", 11, True),
        ("smaller", 10, False),
        ("smaller_or_equal", 10, True),
        ("smaller_or_equal", 9, False),
        ("greater", 9, True),
        ("greater", 10, False),
        ("greater_or_equal", 10, True),
        ("greater_or_equal", 11, False),
        ("equal", 10, True),
        ("equal", 9, False),
    ],
)
def test_each_operator_compares_the_found_value_with_the_configured_one(
    operator: str, value: int, expected: bool
) -> None:
    condition = Condition(value=value, type=operator)  # pyright: ignore[reportArgumentType]
    assert passes("info.x", condition, "A/USD", {"info": {"x": "10"}}, {}) is expected


@pytest.mark.parametrize(
    ("value_type", "found", "value", "expected"),
    [("float", "1.5", 1.5, True), ("int", "3.0", 3, True), ("str", "swap", "swap", True), ("str", 5, "5", True)],
)
def test_values_are_cast_before_they_are_compared(
    value_type: str, found: object, value: object, expected: bool
) -> None:
    """Venues send figures as text."""
    condition = Condition(value=value, type="equal", value_type=value_type)  # pyright: ignore[reportArgumentType]
    assert passes("x", condition, "A/USD", {"x": found}, {}) is expected


def test_a_key_is_looked_up_in_the_market_and_then_in_the_ticker() -> None:
    """`info` exists in both: a part of the key found in the market must not hide the ticker's value."""
    assert passes("info.volumeUsd24h", VOLUME["info.volumeUsd24h"], "A/USD", MARKET, ticker("2000000"))
    assert passes("type", Condition(value="swap", type="equal", value_type="str"), "A/USD", MARKET, ticker("1"))


def test_a_null_value_never_passes() -> None:
    assert not passes("info.volumeUsd24h", VOLUME["info.volumeUsd24h"], "A/USD", MARKET, ticker(None))


def test_a_missing_key_is_an_error_that_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r"watchlist\.filter\.info\.volume: A/USD has no such key"):
        passes("info.volume", Condition(value=1, type="equal"), "A/USD", MARKET, ticker("1"))


def test_a_value_that_cannot_be_cast_is_an_error_that_names_key_and_symbol() -> None:
    with pytest.raises(
        ConfigError, match=r"watchlist\.filter\.symbol: A/USD has 'BTC/USD:USD' there, which is no float"
    ):
        passes("symbol", Condition(value=1, type="equal"), "A/USD", MARKET, {})


def test_held_symbols_stay_on_the_watchlist_even_when_restricted_or_thin() -> None:
    """A position must be watched until it is closed."""
    candidates = {
        "A/USD": (MARKET, ticker("3000000")),
        "B/USD": (MARKET, ticker("10")),
        "C/USD": (MARKET, ticker("9000000")),
    }
    assert select(VOLUME, candidates, restricted=["C/USD"], held=[]) == ("A/USD",)
    assert select(VOLUME, candidates, restricted=["C/USD"], held=["C/USD", "B/USD"]) == ("A/USD", "B/USD", "C/USD")


def test_without_conditions_every_unrestricted_market_is_watched() -> None:
    candidates = {"B/USD": (MARKET, {}), "A/USD": (MARKET, {})}
    assert select({}, candidates, restricted=[], held=[]) == ("A/USD", "B/USD")
