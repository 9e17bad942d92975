"""The picture in docs/order-states.md is held against the table in the code."""

import re
from pathlib import Path

from kontor.domain.order import TRANSITIONS

PICTURE = Path(__file__).parents[3] / "docs" / "order-states.md"


def test_the_picture_shows_exactly_the_transitions_of_the_table() -> None:
    """A picture that drifts from the code misleads in the worst moment."""
    drawn = set(re.findall(r"^ +([A-Z_]+) --> ([A-Z_]+)", PICTURE.read_text(), flags=re.MULTILINE))
    assert drawn == {(str(old), str(new)) for old, news in TRANSITIONS.items() for new in news}
