"""Pictures as PNG files in memory, for where nothing can be drawn live: the equity curve in Prefect's UI."""

from __future__ import annotations

import io
from collections.abc import Sequence
from decimal import Decimal

from kontor.domain.snapshot import Snapshot

SIZE_INCHES, DPI = (8.0, 2.8), 100
# Readable on a light ground and on a dark one: the picture has none of its own.
INK, CURVE = "#7d8894", "#2f8fd0"


def equity_png(history: Sequence[Snapshot[Decimal]], currency: str, initial: Decimal | None = None) -> bytes:
    """The equity curve, oldest first, with the initial capital as a line where that does not flatten it.

    Takes some 100 ms of one core, the first time in a process a second: not for a loop that has something else to do.
    """
    # Half a second to import, which only a process that draws should pay. Without pyplot: it keeps figures for ever.
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


def _is_near(value: float, values: Sequence[float]) -> bool:
    low, high = min(values), max(values)
    span = max(high - low, abs(high) * 0.001)
    return low - 2 * span < value < high + 2 * span
