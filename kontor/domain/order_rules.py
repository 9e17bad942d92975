"""The gate's rules about the order itself: its shape, its market, the venue's steps and minimums, its price."""

from dataclasses import replace
from decimal import Decimal

from kontor.domain.intent import OrderIntent, RiskView
from kontor.domain.market import Market
from kontor.domain.order import OrderType, Side, TimeInForce
from kontor.errors import OrderDenied

# How many spans after its end the newest candle may still be traded on.
MAX_CANDLES_LATE = 2


def known_market(intent: OrderIntent, view: RiskView) -> Market:
    """The market of the intent's symbol."""
    market = view.markets.get(intent.symbol)
    if market is None:
        raise OrderDenied("unknown_symbol", f"{intent.symbol} is not a market of this venue; mend the symbol")
    return market


def check_allowed(intent: OrderIntent, view: RiskView, market: Market) -> None:
    """New risk may be taken on this symbol now."""
    if intent.reduce_only:
        return
    if view.halted:
        raise OrderDenied("halted", f"trading is halted ({view.halted}); only reduce-only orders pass until it resumes")
    for rule, reason in view.forbidden.items():
        raise OrderDenied(rule, f"{reason}; only reduce-only orders pass")
    if not market.active:
        raise OrderDenied("inactive_symbol", f"{intent.symbol} is not trading now; only reduce-only orders pass")
    if market.delists_at is not None:
        raise OrderDenied(
            "delisting",
            f"{intent.symbol} is delisted at {market.delists_at:%Y-%m-%d %H:%M} UTC; only reduce-only orders pass",
        )
    if intent.symbol in view.limits.restricted:
        raise OrderDenied("restricted_symbol", f"{intent.symbol} is restricted; only reduce-only orders pass")


def check_shape(intent: OrderIntent, view: RiskView) -> None:
    """The order makes sense by itself."""
    if not intent.quantity.is_finite() or intent.quantity <= 0:
        raise OrderDenied("quantity", f"quantity must be above 0, not {intent.quantity}", figure=intent.quantity)
    if intent.order_type is OrderType.LIMIT:
        if intent.price is None or not intent.price.is_finite() or intent.price <= 0:
            raise OrderDenied("price", f"a limit order needs a price above 0, not {intent.price}", figure=intent.price)
        if intent.post_only and intent.time_in_force is not TimeInForce.GTC:
            raise OrderDenied("post_only", f"a post-only order rests at the venue: it cannot be {intent.time_in_force}")
    elif intent.price is not None:
        raise OrderDenied("price", f"a {intent.order_type} order takes no price; leave it out", figure=intent.price)
    elif intent.post_only:
        raise OrderDenied("post_only", f"a {intent.order_type} order cannot be post-only")
    _check_trigger(intent)
    if intent.good_until is not None and intent.good_until <= view.now:
        raise OrderDenied("expired", f"good_until {intent.good_until:%Y-%m-%d %H:%M:%S} UTC is already past")


def _check_trigger(intent: OrderIntent) -> None:
    trigger = intent.trigger_price
    if intent.order_type is not OrderType.STOP:
        if trigger is not None:
            raise OrderDenied("trigger_price", f"a {intent.order_type} order takes no trigger price", figure=trigger)
        return
    if trigger is None or not trigger.is_finite() or trigger <= 0:
        raise OrderDenied("trigger_price", f"a stop needs a trigger price above 0, not {trigger}", figure=trigger)
    if not intent.reduce_only:
        raise OrderDenied("trigger_price", "a stop only protects: it must be reduce-only", figure=trigger)


def check_stop_price(intent: OrderIntent, price: Decimal) -> None:
    """The stop that an entry brings along is on the side where it protects."""
    stop = intent.stop_price
    if stop is None:
        return
    if intent.reduce_only or intent.order_type is OrderType.STOP:
        raise OrderDenied("stop_price", "only an entry brings a stop along", figure=stop)
    entry = intent.price or price
    if not stop.is_finite() or stop <= 0 or (stop >= entry if intent.side is Side.BUY else stop <= entry):
        where = "below" if intent.side is Side.BUY else "above"
        raise OrderDenied(
            "stop_price",
            f"the stop of a {intent.side} at {entry} must be {where} that, not at {stop}",
            limit=entry,
            figure=stop,
        )


def check_candles(intent: OrderIntent, view: RiskView) -> None:
    """What was decided on candles was decided on fresh ones."""
    until, span = intent.candles_until, intent.candle_span
    if until is None or span is None:
        return
    age, limit = view.now - until, MAX_CANDLES_LATE * span
    if age >= limit:
        raise OrderDenied(
            "stale_candles",
            f"the newest candle of {intent.symbol} ended {age.total_seconds():.0f} s ago; with candles of"
            f" {span.total_seconds():.0f} s none older than {limit.total_seconds():.0f} s is traded on",
            limit=Decimal(int(limit.total_seconds())),
            figure=Decimal(int(age.total_seconds())),
        )


def check_watched(view: RiskView) -> None:
    """A limit on losses that nobody looks at is none."""
    if not view.limits.losses_are_limited:
        return
    limit = Decimal(int(view.limits.max_watch_age.total_seconds()))
    if view.losses_watched_at is None:
        raise OrderDenied(
            "unwatched_losses",
            "drawdown and the day's loss are limited but were never looked at; run monitor-risk",
            limit=limit,
        )
    age = view.now - view.losses_watched_at
    if age > view.limits.max_watch_age:
        figure = Decimal(int(age.total_seconds()))
        raise OrderDenied(
            "unwatched_losses",
            f"drawdown and the day's loss were looked at {figure} s ago, above {limit} s; see why monitor-risk does"
            " not run",
            limit=limit,
            figure=figure,
        )


def rounded(intent: OrderIntent, market: Market) -> OrderIntent:
    """The intent in the venue's steps: quantity rounded down, price to the nearest."""
    price = market.round_price(intent.price) if intent.price is not None else None
    if price is not None and price <= 0:
        raise OrderDenied(
            "precision",
            f"price {intent.price} is below the price step {market.price_step} of {intent.symbol}",
            limit=market.price_step,
            figure=intent.price,
        )
    trigger = market.round_price(intent.trigger_price) if intent.trigger_price is not None else None
    stop = market.round_price(intent.stop_price) if intent.stop_price is not None else None
    quantity = market.round_quantity(intent.quantity)
    return replace(intent, quantity=quantity, price=price, trigger_price=trigger, stop_price=stop)


def trade_price(intent: OrderIntent, view: RiskView, market: Market) -> Decimal | None:
    """The price to value the intent at: the last one, if it is fresh; only reducing may go on without."""
    ticker = view.tickers.get(market.symbol)
    if ticker is None or ticker.last is None:
        problem = f"{market.symbol} has no last price"
        figure = None
    else:
        age = view.now - ticker.last_at
        if age <= view.limits.max_ticker_age:
            return ticker.last
        figure = Decimal(int(age.total_seconds()))
        problem = f"the last price of {market.symbol} is {figure} s old"
    if intent.reduce_only:
        return intent.price
    limit = Decimal(int(view.limits.max_ticker_age.total_seconds()))
    raise OrderDenied(
        "stale_ticker", f"{problem}; prices older than {limit} s are not traded on", limit=limit, figure=figure
    )


def check_venue_sizes(intent: OrderIntent, market: Market, price: Decimal | None) -> None:
    """The venue's smallest and largest order; it does not enforce them itself everywhere."""
    smallest = max(market.min_quantity, market.quantity_step)
    if intent.quantity < smallest or intent.quantity <= 0:
        raise OrderDenied(
            "min_quantity",
            f"quantity {intent.quantity} (in steps of {market.quantity_step}) is below the minimum {smallest}"
            f" of {market.symbol}",
            limit=smallest,
            figure=intent.quantity,
        )
    if market.max_quantity is not None and intent.quantity > market.max_quantity:
        raise OrderDenied(
            "max_quantity",
            f"quantity {intent.quantity} is above the maximum {market.max_quantity} of {market.symbol}",
            limit=market.max_quantity,
            figure=intent.quantity,
        )
    value = intent.quantity * (intent.price or price or Decimal(0))
    if market.min_cost is not None and value and value < market.min_cost:
        raise OrderDenied(
            "min_cost",
            f"an order worth {value:f} is below the minimum {market.min_cost} of {market.symbol}",
            limit=market.min_cost,
            figure=value,
        )


def check_collar(intent: OrderIntent, view: RiskView, price: Decimal | None) -> None:
    """A limit price is not a slip of the hand."""
    collar = view.limits.price_collar_percent
    if collar is None or intent.price is None or price is None:
        return
    worst = price * (100 + collar if intent.side is Side.BUY else 100 - collar) / 100
    worse = intent.price > worst if intent.side is Side.BUY else intent.price < worst
    if worse:
        raise OrderDenied(
            "price_collar",
            f"price {intent.price} is more than {collar} % worse than the last price {price} of {intent.symbol}",
            limit=worst,
            figure=intent.price,
        )
