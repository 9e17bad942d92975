"""The equity curve of a replay as a picture."""

import io

from kontor.replay.desk import ReplayResult

_SIZE, _DOTS = (9.6, 4.2), 100


def equity_png(result: ReplayResult, title: str) -> bytes:
    """Equity over time with the drawdown below it, as PNG; the same result gives the same bytes."""
    # Takes half a second to import, and only a replay needs it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, dpi=_DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    moments = [float(date2num(at)) for at, _ in result.equity]
    values = [float(equity) for _, equity in result.equity]
    upper.plot(moments, values, color="#1668a8", linewidth=1.2)
    upper.axhline(float(result.capital), color="#999999", linewidth=0.8, linestyle=":")
    upper.set_title(title)
    upper.set_ylabel("equity")
    lower.fill_between(moments, _drawdowns(values, float(result.capital)), 0, color="#b3372d", alpha=0.6, linewidth=0)
    lower.set_ylabel("drawdown, %")
    locator = AutoDateLocator()
    lower.xaxis.set_major_locator(locator)
    lower.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    out = io.BytesIO()
    # Without the version that made it: a newer library must not make another file of the same result.
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _drawdowns(values: list[float], capital: float) -> list[float]:
    """Percent below the highest equity so far, negative."""
    peak, found = capital, []
    for value in values:
        peak = max(peak, value)
        found.append((value - peak) / peak * 100 if peak > 0 else 0.0)
    return found
