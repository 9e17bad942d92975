"""Client order ids: the same intent, the same id; another desk's ids are recognized."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kontor.domain.identity import (
    belongs_to,
    client_order_id,
    external_order_id,
    is_foreign,
    looks_like_kontor,
    strategy_order_id,
)

PARTS = st.lists(st.text(max_size=20), min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(PARTS)
def test_an_id_is_what_every_venue_takes(parts: list[str]) -> None:
    """Alphanumeric, lower-case, at most 32 characters: what OKX, Binance and Bybit have in common."""
    made = client_order_id("abcd", *parts)
    assert len(made) == 32
    assert made.isalnum()
    assert made == made.lower()
    assert belongs_to("abcd", made)
    assert is_foreign("efgh", made)
    assert not is_foreign("abcd", made)


@settings(deadline=None, max_examples=60)
@given(PARTS, PARTS)
def test_different_intents_get_different_ids(one: list[str], other: list[str]) -> None:
    """("ab", "c") is not ("a", "bc")."""
    assert (client_order_id("abcd", *one) == client_order_id("abcd", *other)) == (one == other)


def test_a_rerun_gets_the_same_id() -> None:
    """A strategy that runs again over the same candle names the same order."""
    candle = datetime(2026, 1, 1, 12, tzinfo=UTC)
    elsewhere = candle.astimezone(timezone(timedelta(hours=2)))
    ids = {strategy_order_id("abcd", "sma", "BTC/USD", moment, "entry") for moment in (candle, candle, elsewhere)}
    assert len(ids) == 1, "a moment is the same moment in every time zone"
    others = [
        strategy_order_id("abcd", "sma", "BTC/USD", candle, "exit"),
        strategy_order_id("abcd", "sma", "BTC/USD", candle + timedelta(minutes=1), "entry"),
        strategy_order_id("abcd", "sma", "ETH/USD", candle, "entry"),
        strategy_order_id("abcd", "ema", "BTC/USD", candle, "entry"),
        strategy_order_id("wxyz", "sma", "BTC/USD", candle, "entry"),
    ]
    assert len({*others, *ids}) == 6


def test_a_moment_without_a_time_zone_names_no_candle() -> None:
    """Two machines would read two moments from it, and order twice."""
    naive = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - the mistake itself
    with pytest.raises(ValueError, match="no time zone"):
        strategy_order_id("abcd", "sma", "BTC/USD", naive, "entry")


def test_ids_of_others_are_nobodys_kontor() -> None:
    """A person's order, a ccxt id or a missing one must not halt trading."""
    strangers = [uuid4().hex for _ in range(1000)] + ["", None, "e847386590ce4dBC0123456789abcdef", "my-order-1"]
    assert not any(looks_like_kontor(name) for name in strangers)
    assert not looks_like_kontor(external_order_id("paper", "BTC/USD", "123"))


@pytest.mark.parametrize("prefix", ["", "abc", "abcde", "ABCD", "ab-d"])
def test_a_prefix_that_is_none_is_refused(prefix: str) -> None:
    """Without a proper prefix two desks could not be told apart."""
    with pytest.raises(ValueError, match="prefix"):
        client_order_id(prefix, "x")


def test_an_id_of_nothing_is_refused() -> None:
    """Every intent would get the same one."""
    with pytest.raises(ValueError, match="part"):
        client_order_id("abcd")


def test_external_orders_are_named_by_account_and_venue_id() -> None:
    """Two accounts may have the same number for different orders."""
    assert external_order_id("paper", "BTC/USD", "1") == external_order_id("paper", "BTC/USD", "1")
    assert external_order_id("paper", "BTC/USD", "1") != external_order_id("live", "BTC/USD", "1")
    assert len(external_order_id("paper", "BTC/USD", "1")) == 32
