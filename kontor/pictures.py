"""Pictures as PNG files in memory, for where nothing can be drawn live: the equity curve in Prefect's UI.

`python -m kontor.pictures` draws one from JSON on standard input: [[moment, equity] ...], currency, initial capital.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from kontor.domain.snapshot import Snapshot
from kontor.errors import KontorError

SIZE_INCHES, DPI = (8.0, 2.8), 100
# Readable on a light ground and on a dark one: the picture has none of its own.
INK, CURVE = "#7d8894", "#2f8fd0"


def equity_png(history: Sequence[Snapshot[Decimal]], currency: str, initial: Decimal | None = None) -> bytes:
    """The equity curve, oldest first, with the initial capital as a line where that does not flatten it.

    Takes some 100 ms of one core, the first time in a process a second, and 60 MB that stay: see `drawn_apart`.
    """
    # Without pyplot, which keeps figures for ever.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    moments, values = [each.at for each in history], [float(each.value) for each in history]
    # matplotlib takes datetimes, which its types do not say.
    axes.plot(moments, values, color=CURVE, linewidth=1.4, marker="o" if len(values) == 1 else "")  # pyright: ignore[reportArgumentType]
    if initial is not None and _is_near(float(initial), values):
        axes.axhline(float(initial), color=INK, linewidth=0.8, linestyle="--")
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.2f}"))
    axes.set_ylabel(currency, color=INK)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(color=INK, alpha=0.25, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(INK)
    out = io.BytesIO()
    figure.savefig(out, format="png", transparent=True)
    return out.getvalue()


async def drawn_apart(
    history: Sequence[Snapshot[Decimal]], currency: str, initial: Decimal | None, *, seconds: float
) -> bytes:
    """The same, drawn in a process of its own, so that nobody else in this one waits or pays for it.

    Raises KontorError when it is not done within so many seconds, or failed.
    """
    points = [(each.at.isoformat(), str(each.value)) for each in history]
    given = json.dumps([points, currency, None if initial is None else str(initial)])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", __name__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            picture, said = await process.communicate(given.encode())
    except TimeoutError:
        raise KontorError(f"the picture was not drawn within {seconds:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = said.decode(errors="replace").strip().splitlines() or ["without a word"]
        raise KontorError(f"the picture could not be drawn: {words[-1][:200]}")
    return picture


def _is_near(value: float, values: Sequence[float]) -> bool:
    low, high = min(values), max(values)
    span = max(high - low, abs(high) * 0.001)
    return low - 2 * span < value < high + 2 * span


if __name__ == "__main__":
    rows, money, capital = json.loads(sys.stdin.read())
    curve = [Snapshot(Decimal(value), datetime.fromisoformat(at)) for at, value in rows]
    sys.stdout.buffer.write(equity_png(curve, money, None if capital is None else Decimal(capital)))
