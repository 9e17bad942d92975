"""What has to be right before an account trades real money, beside what the doctor looks at."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from deployments.doctor.verdict import Verdict, failed, skipped, warning, well
from kontor.config import KontorConfig
from kontor.domain.market import Market
from kontor.domain.order import OrderState
from kontor.errors import ConfigError, ExchangeError
from kontor.ports import Exchange, ExchangeSettings, Store
from kontor.trading.setup import compare_setup

# The limits that catch a misplaced digit, and those that end a bad day.
ORDER_LIMITS = ("max_order_value", "max_position_value", "max_exposure", "price_collar_percent")
LOSS_LIMITS = ("max_drawdown_percent", "max_daily_loss")


def mode(settings: ExchangeSettings) -> Verdict:
    """Whether this account trades real money at all."""
    if settings.mode != "live":
        return failed("mode", f"account {settings.account} is {settings.mode}", "set its block to live, or leave it")
    return well("mode", f"account {settings.account} trades real money at {settings.exchange_id}")


def limits(config: KontorConfig) -> Sequence[Verdict]:
    """Whether the limits are set that keep a mistake small."""
    missing = [name for name in ORDER_LIMITS if getattr(config.risk, name) is None]
    first = well("order limits", ", ".join(f"{name} {getattr(config.risk, name)}" for name in ORDER_LIMITS))
    if missing:
        first = failed("order limits", f"not set: {', '.join(missing)}", "set them in kontor.yaml to what you can lose")
    if any(getattr(config.risk, name) is not None for name in LOSS_LIMITS):
        return [first, well("loss limits", "a bad day ends by itself")]
    remedy = f"set risk.{' or risk.'.join(LOSS_LIMITS)} in kontor.yaml"
    return [first, warning("loss limits", "nothing ends a bad day but you", remedy)]


async def practice(store: Store, account: str, paper: ExchangeSettings | None) -> Verdict:
    """Whether this desk has traded before on an account without real money; `paper` is what its block says of it."""
    if paper is None:
        remedy = "name another with --paper: its block must be readable, so that it is known for a paper account"
        return failed("paper first", f"there is no readable block {account}", remedy)
    if paper.mode == "live":
        remedy = "name one with --paper that trades on paper or in a sandbox"
        return failed("paper first", f"account {account} trades real money itself", remedy)
    counts = await store.orders.counts(account)
    filled = counts.get(OrderState.FILLED, 0)
    if not filled:
        remedy = f"run the desk on account {account} first: days, not minutes"
        return failed("paper first", f"no order has been filled on {account} by this desk", remedy)
    return well("paper first", f"{filled} orders filled on {account}")


async def smallest_orders(exchange: Exchange, config: KontorConfig) -> Verdict:
    """Whether the venue's smallest orders fit into the limits, on the markets that strategies trade."""
    traded = sorted({symbol for each in config.strategies.values() if each.enabled for symbol in each.symbols})
    if not traded:
        return skipped("smallest orders", "no strategy is enabled")
    markets = await exchange.load_markets()
    if strange := [symbol for symbol in traded if symbol not in markets]:
        return failed("smallest orders", f"not at this venue: {', '.join(strange)}", "mend strategies in kontor.yaml")
    tickers = await exchange.fetch_tickers(traded)
    values = {
        symbol: _smallest(markets[symbol], ticker.last) for symbol, ticker in tickers.items() if ticker.last is not None
    }
    limit = config.risk.max_order_value
    over = [f"{symbol} {value:.2f}" for symbol, value in values.items() if limit is not None and value > limit]
    if over:
        return failed(
            "smallest orders", f"above max_order_value {limit}: {', '.join(over)}", "raise it, or trade others"
        )
    return well("smallest orders", ", ".join(f"{symbol} {value:.2f}" for symbol, value in sorted(values.items())))


def _smallest(market: Market, price: Decimal) -> Decimal:
    return max(max(market.min_quantity, market.quantity_step) * price, market.min_cost or Decimal(0))


async def set_up(exchange: Exchange, config: KontorConfig) -> Verdict:
    """Whether account level, position mode, margin mode and leverage are as the desk needs them."""
    try:
        report = await compare_setup(exchange, config, await exchange.load_markets())
    except (ConfigError, ExchangeError) as error:
        return failed("account set-up", str(error), "mend it, or try again; see the exchange's status page")
    if report.problems:
        return failed("account set-up", "; ".join(report.problems), "mend it there, then run this again")
    if report.unknown:
        finding = f"the venue does not tell {'; '.join(report.unknown)}"
        return warning("account set-up", finding, "look yourself: net positions, one margin mode, your leverage")
    found = report.found
    said = [str(found.level or "level unknown"), f"positions {found.position_mode or 'unknown'}"]
    said += [f"leverage {leverage:f} on {symbol}" for symbol, leverage in sorted(found.leverage.items())]
    return well("account set-up", ", ".join(said))
