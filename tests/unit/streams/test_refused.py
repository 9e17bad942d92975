"""Five minutes of refused connections, in simulated time; `make chaos` does it more often."""

import pytest

from tests.chaos.refused import suffer


@pytest.mark.parametrize("with_rest", [False, True])
def test_refused_connections_for_five_minutes_end_in_fresh_data_within_five_seconds(*, with_rest: bool) -> None:
    """Nothing dies, nobody storms the port, and a desk whose venue is back knows it."""
    figures = suffer(7, with_rest=with_rest)
    assert figures.problems == ()
    assert figures.connections == 4
    assert 100 < figures.knocks < 240
