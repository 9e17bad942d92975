"""The endpoints anybody may call: instruments, prices, books, candles, time."""

from __future__ import annotations

from kontor.paper import rendering
from kontor.paper.funding import INTERVAL_MS, next_funding
from kontor.paper.house import ONGOING, SCHEDULED, Maintenance
from kontor.paper.model import Instrument, Ticker
from kontor.paper.paging import optional, row_limit, whole
from kontor.paper.replies import Call, Reply, missing, wrong

TYPES = {"SPOT", "SWAP", "FUTURES", "OPTION", "MARGIN"}
MAX_FUNDING_ROWS = 100
MAX_CANDLES = 300
MAX_TRADES = 500
MAX_LEVELS = 400


def instruments(call: Call) -> Reply:
    """Every instrument of a type, or one."""
    kind = _kind(call, needed=True)
    chosen = call.venue.instruments(kind, call.params.get("instId") or None, call.params.get("uly") or None)
    return Reply([rendering.instrument(item) for item in chosen])


def server_time(call: Call) -> Reply:
    """The exchange's clock."""
    return Reply([{"ts": rendering.moment(call.venue.now())}])


def mark_price(call: Call) -> Reply:
    """The price positions are valued at, of one instrument or all of a type."""
    now = rendering.moment(call.venue.now())
    inst_id = call.params.get("instId") or None
    kind = None if inst_id and not call.params.get("instType") else _kind(call, needed=True)
    return Reply(
        [
            {
                "instId": item.inst_id,
                "instType": item.inst_type,
                "markPx": rendering.number(call.venue.mark_price(item.inst_id)),
                "ts": now,
            }
            for item in call.venue.instruments(kind, inst_id)
        ]
    )


def funding_rate(call: Call) -> Reply:
    """The rate a perpetual pays every eight hours, as it stands now."""
    inst_id = call.required("instId")
    kind = "SWAP" if inst_id == "ANY" else None
    chosen = call.venue.instruments(kind, None if inst_id == "ANY" else inst_id)
    return Reply([_funding(item, call) for item in chosen if item.is_swap])


def funding_rate_history(call: Call) -> Reply:
    """The rates that were paid, newest first."""
    inst_id, venue = call.required("instId"), call.venue
    after, before = optional(call.params, "after"), optional(call.params, "before")
    listed, due = venue.instrument(inst_id), next_funding(venue.now())
    times = (due - back * INTERVAL_MS for back in range(1, 1 + 3 * 365))
    fitting = [
        at
        for at in times
        if (after is None or at < after) and (before is None or at > before) and at > listed.list_time
    ]
    return Reply(
        [
            {
                "formulaType": "noRate",
                "fundingRate": rendering.number(venue.funding_rate(inst_id, at)),
                "fundingTime": str(at),
                "instId": inst_id,
                "instType": listed.inst_type,
                "method": "current_period",
                "realizedRate": rendering.number(venue.funding_rate(inst_id, at)),
            }
            for at in fitting[: row_limit(call.params, MAX_FUNDING_ROWS)]
        ]
    )


def open_interest(call: Call) -> Reply:
    """How much is held open in swaps: half a day's turnover here, since nobody but our accounts holds anything."""
    kind, inst_id = _kind(call, needed=True), call.params.get("instId") or None
    chosen = {item.inst_id for item in call.venue.instruments(kind, inst_id, call.params.get("uly") or None)}
    return Reply([_open_interest(item) for item in call.venue.tickers(kind) if item.inst_id in chosen])


def _open_interest(item: Ticker) -> rendering.Json:
    return {
        "instType": item.inst_type,
        "instId": item.inst_id,
        "oi": rendering.number(item.vol_24h / 2),
        "oiCcy": rendering.number(item.vol_ccy_24h / 2),
        "oiUsd": rendering.number(item.volume_usd_24h / 2),
        "ts": rendering.moment(item.ts),
    }


def _funding(item: Instrument, call: Call) -> rendering.Json:
    now = call.venue.now()
    due, rate = next_funding(now), rendering.number(call.venue.funding_rate(item.inst_id))
    return {
        "formulaType": "noRate",
        "fundingRate": rate,
        "fundingTime": str(due),
        "impactValue": "",
        "instId": item.inst_id,
        "instType": item.inst_type,
        "interestRate": rate,
        "maxFundingRate": "0.00375",
        "method": "current_period",
        "minFundingRate": "-0.00375",
        "nextFundingRate": "",
        "nextFundingTime": str(due + INTERVAL_MS),
        "premium": "0",
        "prevFundingTime": str(due - INTERVAL_MS),
        "settFundingRate": rendering.number(call.venue.funding_rate(item.inst_id, due - INTERVAL_MS)),
        "settState": "settled",
        "ts": str(now),
    }


def tickers(call: Call) -> Reply:
    """Every ticker of a type."""
    kind = _kind(call, needed=True)
    return Reply([rendering.ticker(item) for item in call.venue.tickers(kind)])


def ticker(call: Call) -> Reply:
    """One ticker."""
    return Reply([rendering.ticker(call.venue.ticker(call.required("instId")))])


def books(call: Call) -> Reply:
    """The book of one instrument, `sz` levels deep."""
    depth = max(1, min(MAX_LEVELS, whole(call.params, "sz", 1)))
    return Reply([rendering.levels(call.venue.book(call.required("instId"), depth))])


def trades(call: Call) -> Reply:
    """The last trades of one instrument, newest first."""
    limit = row_limit(call.params, MAX_TRADES)
    return Reply([rendering.public_trade(item) for item in call.venue.trades(call.required("instId"), limit)])


def candles(call: Call) -> Reply:
    """Candles newest first, the first one possibly unfinished."""
    return _candles(call, confirmed_only=False)


def history_candles(call: Call) -> Reply:
    """Finished candles, newest first."""
    return _candles(call, confirmed_only=True)


def _candles(call: Call, *, confirmed_only: bool) -> Reply:
    item = call.venue.instrument(call.required("instId"))
    found = call.venue.candles(
        item.inst_id,
        call.params.get("bar") or "1m",
        after=optional(call.params, "after"),
        before=optional(call.params, "before"),
        limit=row_limit(call.params, MAX_CANDLES),
        confirmed_only=confirmed_only,
    )
    render = rendering.candle if item.is_swap else rendering.spot_candle
    return Reply([render(candle) for candle in found])


def status(call: Call) -> Reply:
    """Maintenance that is planned or under way; with `state` completed, what is over."""
    now, wanted = call.venue.now(), call.params.get("state")
    rows = [_maintenance(item, now) for item in call.venue.maintenance()]
    shown = {wanted} if wanted else {SCHEDULED, ONGOING}
    return Reply([row for row in reversed(rows) if row["state"] in shown])


def _maintenance(item: Maintenance, now: int) -> rendering.Json:
    return {
        "begin": str(item.begin),
        "end": str(item.end),
        "env": "1",
        "href": "",
        "maintType": "1",
        "preOpenBegin": "",
        "scheDesc": "",
        "serviceType": "5",
        "state": item.state(now),
        "system": "unified",
        "title": item.title,
    }


def _kind(call: Call, *, needed: bool = False) -> str | None:
    kind = call.params.get("instType", "").upper()
    if not kind:
        if needed:
            raise missing("instType")
        return None
    if kind not in TYPES:
        raise wrong("instType")
    return kind
