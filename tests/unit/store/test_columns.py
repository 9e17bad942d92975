"""How values lie in a database: exactly."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from kontor.domain.order import Side
from kontor.errors import StoreError
from kontor.store.columns import Duration, Json, Moment, Money, Word, plain

DIALECT = sqlite.dialect()

numbers = st.decimals(allow_nan=False, allow_infinity=False)


@given(numbers)
def test_money_keeps_every_digit(number: Decimal) -> None:
    """Whatever a venue thinks of; a rounding would be a difference to its books."""
    stored = Money().process_bind_param(number, DIALECT)
    assert Money().process_result_value(stored, DIALECT) == number


@given(numbers, st.integers(0, 30))
def test_equal_numbers_are_one_text(number: Decimal, zeros: int) -> None:
    """0.1 and 0.100 and 1E-1: what is compared in SQL is compared as text."""
    digits = f"{number:f}"
    longer = Decimal(f"{digits}{'' if '.' in digits else '.'}{'0' * zeros}")
    assert longer == number
    assert plain(longer) == plain(number)


@pytest.mark.parametrize(
    ("number", "text"), [("-0", "0"), ("1E+3", "1000"), ("-0.500", "-0.5"), ("1E-9", "0.000000001"), ("10", "10")]
)
def test_numbers_are_written_plainly(number: str, text: str) -> None:
    """Readable in a database browser."""
    assert plain(Decimal(number)) == text


@pytest.mark.parametrize("value", [0.1, 1, "1", Decimal("NaN"), Decimal("Infinity")])
def test_what_is_no_finite_decimal_is_refused(value: object) -> None:
    """A float that slipped through the edge is found here, not in the books."""
    with pytest.raises(StoreError, match="no finite Decimal"):
        Money().process_bind_param(value, DIALECT)  # pyright: ignore[reportArgumentType]


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5.5)), timezone(-timedelta(hours=8))])))
def test_moments_keep_their_microseconds(moment: datetime) -> None:
    """In any zone; they come back in UTC."""
    stored = Moment().process_bind_param(moment, DIALECT)
    found = Moment().process_result_value(stored, DIALECT)
    assert found is not None
    assert (found, found.tzinfo) == (moment, UTC)


def test_a_moment_without_a_zone_is_refused() -> None:
    """It would be somebody's local time."""
    with pytest.raises(StoreError, match="no time zone"):
        Moment().process_bind_param(datetime(2026, 1, 1), DIALECT)  # noqa: DTZ001, the mistake itself


@given(st.timedeltas())
def test_durations_keep_their_microseconds(duration: timedelta) -> None:
    """Negative ones too."""
    stored = Duration().process_bind_param(duration, DIALECT)
    assert Duration().process_result_value(stored, DIALECT) == duration


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values)
def test_json_comes_back_as_it_was(value: object) -> None:
    """Keys in their order, text in any script."""
    stored = Json().process_bind_param(value, DIALECT)
    assert Json().process_result_value(stored, DIALECT) == value


def test_words_are_members_again() -> None:
    """A state read from a row is the state, not a string like it."""
    stored = Word(Side).process_bind_param(Side.BUY, DIALECT)
    assert stored == "buy"
    assert Word(Side).process_result_value(stored, DIALECT) is Side.BUY


def test_nothing_stays_nothing() -> None:
    """NULL in every type that may be missing."""
    for kind in (Money(), Moment(), Duration(), Word(Side)):
        assert kind.process_bind_param(None, DIALECT) is None
        assert kind.process_result_value(None, DIALECT) is None
