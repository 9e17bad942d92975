"""The equity curve as a picture: a PNG with a line in it, small, whatever the account did."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from PIL import Image

from kontor.domain.snapshot import Snapshot
from kontor.errors import KontorError
from kontor.pictures import DPI, SIZE_INCHES, drawn_apart, equity_png

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CURVE = np.array([0x2F, 0x8F, 0xD0])


def curve(values: list[int], step: timedelta = timedelta(minutes=5)) -> list[Snapshot[Decimal]]:
    return [Snapshot(Decimal(value), NOW + number * step) for number, value in enumerate(values)]


def line_of(picture: bytes) -> dict[int, float]:
    """The mean row of the curve's own colour in each column that has any."""
    with Image.open(io.BytesIO(picture)) as image:
        assert image.format == "PNG"
        assert image.size == (SIZE_INCHES[0] * DPI, SIZE_INCHES[1] * DPI)
        pixels = np.asarray(image.convert("RGBA")).astype(int)
    near = (np.abs(pixels[:, :, :3] - CURVE).max(axis=2) < 12) & (pixels[:, :, 3] > 200)
    rows, columns = np.nonzero(near)
    return {int(column): float(rows[columns == column].mean()) for column in np.unique(columns)}


def test_the_line_goes_up_where_equity_does_on_a_transparent_ground() -> None:
    """Time from left to right, money from the bottom to the top."""
    picture = equity_png(curve([1000, 1010, 1020, 1040]), "USD", Decimal(1000))
    line = line_of(picture)
    columns = sorted(line)
    assert len(columns) > 400
    assert line[columns[0]] > line[columns[-1]] + 100
    with Image.open(io.BytesIO(picture)) as image:
        assert image.convert("RGBA").getpixel((2, 2)) == (255, 255, 255, 0)


@pytest.mark.parametrize("values", [[1000], [1000, 1000], [0, 0, 5], list(range(600))])
def test_any_history_makes_a_small_picture(values: list[int]) -> None:
    """One point is a dot; it goes into a database every few minutes."""
    picture = equity_png(curve(values), "USD", Decimal(1))
    assert line_of(picture)
    assert len(picture) < 60_000


async def test_drawn_apart_it_is_the_same_picture_and_costs_this_process_nothing() -> None:
    """A worker that polls every few seconds neither waits for it nor keeps what drawing takes."""
    history = curve([1000, 1010, 1005])
    assert await drawn_apart(history, "USD", Decimal(1000), seconds=60) == equity_png(history, "USD", Decimal(1000))


async def test_a_picture_that_cannot_be_drawn_is_one_sentence() -> None:
    """In time, and with the reason."""
    with pytest.raises(KontorError, match=r"could not be drawn: .*empty"):
        await drawn_apart([], "USD", Decimal(1), seconds=60)
    with pytest.raises(KontorError, match="not drawn within 0 s"):
        await drawn_apart(curve([1]), "USD", None, seconds=0.001)
