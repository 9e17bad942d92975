"""Lists of names as statements take them."""

from hypothesis import given
from hypothesis import strategies as st

from kontor.store.rows import MAX_NAMES, chunks


@given(st.lists(st.integers(), max_size=5000))
def test_lists_of_any_length_make_a_handful_of_statements(values: list[int]) -> None:
    """A driver keeps what it has prepared: one statement for each length is megabytes of them."""
    pieces = list(chunks(values))
    assert {value for piece in pieces for value in piece} == set(values)
    lengths = {len(piece) for piece in pieces}
    assert lengths <= {1 << power for power in range(11)}
    assert all(length <= MAX_NAMES for length in lengths)
    assert sum(map(len, pieces)) <= 2 * max(len(values), 1)
