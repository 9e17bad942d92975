"""What a replay tells: statistics, fills as CSV, and a page with the equity curve."""

import csv
import io
from dataclasses import dataclass
from decimal import Decimal
from html import escape

from kontor.domain.fill import Fill
from kontor.domain.strategy_position import StrategyPosition
from kontor.replay.desk import ReplayResult

_WIDTH, _HEIGHT, _POINTS = 960, 320, 900
COLUMNS = (
    "filled_at",
    "strategy",
    "symbol",
    "side",
    "quantity",
    "price",
    "fee",
    "fee_currency",
    "maker",
    "client_order_id",
)


@dataclass(frozen=True, slots=True)
class Statistics:
    """A replay in figures; money in the capital currency. A trade is a position from open to flat, before fees."""

    capital: Decimal
    final_equity: Decimal
    return_percent: Decimal
    max_drawdown_percent: Decimal
    trades: int
    winning_trades: int
    profit_factor: Decimal | None
    fills: int
    fees: dict[str, Decimal]


def statistics(result: ReplayResult) -> Statistics:
    """The figures of a result."""
    final = result.equity[-1][1] if result.equity else result.capital
    outcomes = _outcomes(result)
    gains = sum((each for each in outcomes if each > 0), Decimal(0))
    losses = -sum((each for each in outcomes if each < 0), Decimal(0))
    fees: dict[str, Decimal] = {}
    for _, fill in result.fills:
        if fill.fee and fill.fee_currency:
            fees[fill.fee_currency] = fees.get(fill.fee_currency, Decimal(0)) + fill.fee
    return Statistics(
        capital=result.capital,
        final_equity=final,
        return_percent=(final / result.capital - 1) * 100,
        max_drawdown_percent=_drawdown(result),
        trades=len(outcomes),
        winning_trades=sum(each > 0 for each in outcomes),
        profit_factor=gains / losses if losses else None,
        fills=len(result.fills),
        fees=fees,
    )


def fills_csv(result: ReplayResult) -> str:
    """One line a fill, oldest first."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for strategy, fill in result.fills:
        writer.writerow(_row(strategy, fill))
    return out.getvalue()


def page(result: ReplayResult, title: str) -> str:
    """A page of its own: figures, the equity curve, errors."""
    figures = statistics(result)
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in told(result, figures))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        "<style>body{font:15px system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
        "th{text-align:left;font-weight:normal;color:#666;padding-right:2rem}svg{width:100%;height:auto}</style>"
        f"<h1>{escape(title)}</h1><p>{result.begin:%Y-%m-%d %H:%M} to {result.end:%Y-%m-%d %H:%M} UTC</p>"
        f"{_curve(result)}<table>{rows}</table></html>\n"
    )


def told(result: ReplayResult, figures: Statistics) -> list[tuple[str, str]]:
    """The figures as words, for the page and the terminal."""
    lines = [
        ("capital", f"{figures.capital:,.2f}"),
        ("final equity", f"{figures.final_equity:,.2f}"),
        ("return", f"{figures.return_percent:+.2f} %"),
        ("max drawdown", f"{figures.max_drawdown_percent:.2f} %"),
        ("trades", f"{figures.trades}, {figures.winning_trades} of them with a gain"),
        ("profit factor", "-" if figures.profit_factor is None else f"{figures.profit_factor:.2f}"),
        ("fills", str(figures.fills)),
        ("fees", ", ".join(f"{fee:,.4f} {name}" for name, fee in sorted(figures.fees.items())) or "none"),
        ("orders", ", ".join(f"{count} {state}" for state, count in result.orders.items()) or "none"),
    ]
    lines += [(f"earned by {name}", f"{net:+,.2f}") for name, net in sorted(result.earned.items())]
    if result.apart is not None:
        differs = ", ".join(f"{difference:+f} {name}" for name, difference in result.apart.items())
        lines.append(
            ("ledger", f"differs from the exchange's bills: {differs}" if differs else "equals the exchange's bills")
        )
    if result.booked:
        lines.append(("ledger's rows", ", ".join(f"{count} {kind}" for kind, count in result.booked.items())))
    apart = ", ".join(f"{difference:+f} {name}" for name, difference in sorted(result.positions_apart.items()))
    if apart or result.fills:
        lines.append(("positions", f"the exchange holds more than ours: {apart}" if apart else "equal the exchange's"))
    lines += [(f"refused, {count} times", rule) for rule, count in sorted(result.refused.items())]
    lines += [("halted", result.halted)] if result.halted else []
    return lines + [(f"error, {count} times", error) for error, count in sorted(result.errors.items())]


def _row(strategy: str, fill: Fill) -> tuple[str, ...]:
    fee = "" if fill.fee is None else f"{fill.fee:f}"
    maker = "" if fill.is_maker is None else "yes" if fill.is_maker else "no"
    return (
        fill.filled_at.isoformat(),
        strategy,
        fill.symbol,
        fill.side.value,
        f"{fill.quantity:f}",
        f"{fill.price:f}",
        fee,
        fill.fee_currency or "",
        maker,
        fill.client_order_id or "",
    )


def _outcomes(result: ReplayResult) -> list[Decimal]:
    """What each position earned that was closed again."""
    positions: dict[tuple[str, str], StrategyPosition] = {}
    opened_with: dict[tuple[str, str], Decimal] = {}
    outcomes: list[Decimal] = []
    for strategy, fill in result.fills:
        key = strategy, fill.symbol
        before = positions.get(key) or StrategyPosition(strategy, fill.symbol)
        after = positions[key] = before.after(fill)
        if before.is_open and after.opened_by != before.opened_by:
            outcomes.append(after.realized_pnl - opened_with.get(key, Decimal(0)))
            opened_with[key] = after.realized_pnl
    return outcomes


def _drawdown(result: ReplayResult) -> Decimal:
    peak, worst = result.capital, Decimal(0)
    for _, equity in result.equity:
        peak = max(peak, equity)
        worst = max(worst, (peak - equity) / peak * 100)
    return worst


def _curve(result: ReplayResult) -> str:
    values = [float(equity) for _, equity in result.equity]
    if not values:
        return "<p>No equity was seen.</p>"
    # At most one point a pixel: the last of each stretch.
    size = -(-len(values) // _POINTS)
    shown = [values[min(start + size, len(values)) - 1] for start in range(0, len(values), size)]
    low, high = min(shown), max(shown)
    span, across = (high - low) or 1.0, max(len(shown) - 1, 1)
    points = " ".join(
        f"{number / across * _WIDTH:.1f},{_HEIGHT - (value - low) / span * _HEIGHT:.1f}"
        for number, value in enumerate(shown)
    )
    return (
        f'<svg viewBox="0 -8 {_WIDTH} {_HEIGHT + 16}" role="img" aria-label="equity from {low:,.2f} to {high:,.2f}">'
        f'<polyline fill="none" stroke="#1668a8" stroke-width="1.5" points="{points}"/></svg>'
        f"<p>equity between {low:,.2f} and {high:,.2f}</p>"
    )
