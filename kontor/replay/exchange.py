"""The Exchange port on the paper exchange's engine itself: no sockets, no ccxt, the same matching, fees and margin."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np

from kontor.domain.account import Balance, CurrencyBalance, Position
from kontor.domain.fill import Fill
from kontor.domain.identity import attached_stop_id
from kontor.domain.ledger import Bill, EntryKind
from kontor.domain.market import NO_CANDLES, TIMEFRAMES, Candles, Market, Ticker
from kontor.domain.order import Order, OrderReport, OrderType, TimeInForce
from kontor.domain.outside import Transfer
from kontor.domain.venue_profile import VenueProfile
from kontor.errors import AlreadyPlaced, ExchangeError, InsufficientFunds, InvalidOrder, NotSupported, OrderNotFound
from kontor.paper import model
from kontor.paper.algos.model import AlgoOrder
from kontor.paper.venue import Venue
from kontor.ports import Clock
from kontor.replay.translation import (
    to_fill,
    to_market,
    to_moment,
    to_position,
    to_report,
    to_stop_report,
    to_symbol,
)

_BARS = {"1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1H", "4h": "4H", "1d": "1Dutc"}
_DUPLICATE_STOP = "51068"
_DUPLICATE, _FUNDS = "51016", frozenset({"51008", "51131"})


class ReplayExchange:
    """One account of a paper venue that lives in this process."""

    def __init__(self, venue: Venue, account: str, clock: Clock, currency: str) -> None:
        self._venue, self._account, self._clock, self._currency = venue, account, clock, currency
        self._instruments = {to_symbol(each): each for each in venue.instruments()}
        self._markets = {symbol: to_market(each) for symbol, each in self._instruments.items()}
        self._symbols = {each.inst_id: symbol for symbol, each in self._instruments.items()}

    @property
    def profile(self) -> VenueProfile:
        """What the paper exchange can do."""
        return VenueProfile(
            "replay",
            lookup_by_client_order_id=True,
            client_order_id_on_create=True,
            batch_limit=20,
            capabilities={},
            stop_orders=True,
            attached_stops=True,
            cancel_all_after_spares_stops=True,
        )

    async def load_markets(self, *, reload: bool = False) -> Mapping[str, Market]:
        """The markets there are recordings of."""
        del reload
        return self._markets

    async def fetch_tickers(self, symbols: Collection[str] | None = None) -> Mapping[str, Ticker]:
        """Prices now."""
        found = {}
        for symbol in self._markets if symbols is None else symbols:
            if symbol in self._instruments:
                raw = self._venue.ticker(self._instruments[symbol].inst_id)
                found[symbol] = Ticker(symbol, raw.last, self._clock.now(), raw.bid_px, raw.ask_px)
        return found

    async def fetch_candles(
        self, symbol: str, timeframe: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Candles:
        """Finished candles, oldest first."""
        span_ms = int(TIMEFRAMES[timeframe].total_seconds() * 1000)
        now_ms = self._venue.now()
        last = now_ms // span_ms * span_ms
        first = last - limit * span_ms if since is None else int(since.timestamp() * 1000)
        rows = self._venue.candles(
            self._instrument(symbol).inst_id,
            _BARS[timeframe],
            after=last,
            before=first - 1,
            limit=limit,
            confirmed_only=True,
        )
        if not rows:
            return NO_CANDLES
        figures = [
            (row.ts, float(row.open), float(row.high), float(row.low), float(row.close), float(row.vol_ccy))
            for row in rows
        ]
        return np.array(figures[::-1], dtype=np.float64)

    async def fetch_balance(self) -> Balance:
        """The account in its capital currency, equity included."""
        details = {each.ccy: each for each in self._venue.balance(self._account).details}
        currencies = {name: CurrencyBalance(d.avail_bal, d.eq - d.avail_bal, d.eq) for name, d in details.items()}
        capital = currencies.get(self._currency, CurrencyBalance(Decimal(0), Decimal(0), Decimal(0)))
        return Balance(self._currency, capital.total, capital.free, capital.used, self._clock.now(), currencies)

    async def fetch_positions(self) -> Sequence[Position]:
        """Open swap positions."""
        return [
            to_position(each, self._venue.instrument(each.inst_id), self._clock.now())
            for each in self._venue.positions(self._account)
            if each.pos
        ]

    async def fetch_open_orders(self, symbol: str | None = None) -> Sequence[OrderReport]:
        """What rests in the book."""
        reports = [self._report(each) for each in self._venue.orders_pending(self._account)]
        reports += [self._stop(each) for each in self._venue.algos_pending(self._account)]
        return [each for each in reports if symbol in {None, each.symbol}]

    async def fetch_order(
        self, symbol: str, *, client_order_id: str | None = None, venue_order_id: str | None = None, stop: bool = False
    ) -> OrderReport:
        """One order by either id."""
        try:
            inst_id = self._instrument(symbol).inst_id
            if stop:
                return self._stop(self._venue.algo(self._account, venue_order_id or "", client_order_id or ""))
            return self._report(self._venue.order(self._account, inst_id, venue_order_id, client_order_id))
        except model.VenueError as error:
            raise OrderNotFound(error.message, code=error.code) from None

    async def fetch_fills(
        self, symbol: str | None = None, *, venue_order_id: str | None = None, since: datetime | None = None
    ) -> Sequence[Fill]:
        """Fills, oldest first."""
        inst_id = None if symbol is None else self._instrument(symbol).inst_id
        raw = self._venue.fills(self._account, None, inst_id, venue_order_id)
        found = [to_fill(each, self._venue.instrument(each.inst_id)) for each in reversed(raw)]
        return [each for each in found if since is None or each.filled_at >= since]

    async def fetch_transfers(self, since: datetime) -> Sequence[Transfer]:
        """Nobody moves money in a replay."""
        del since
        return ()

    async def fetch_bills(self, since: datetime, until: datetime | None = None) -> Sequence[Bill]:
        """The paper exchange's own account statement."""
        kinds = {"transfer": EntryKind.TRANSFER, "funding": EntryKind.FUNDING}
        found = [
            Bill(
                each.bill_id,
                kinds.get(each.kind, EntryKind.TRADE),
                each.ccy,
                each.change,
                to_moment(each.ts),
                self._symbols.get(each.inst_id),
            )
            for each in reversed(self._venue.bills(self._account))
        ]
        return [each for each in found if each.at >= since and (until is None or each.at <= until)]

    async def create_order(self, order: Order) -> OrderReport:
        """Send one order."""
        instrument = self._instrument(order.symbol)
        if order.is_stop:
            return self._create_stop(order, instrument)
        kind = order.order_type.value
        if order.order_type is OrderType.LIMIT:
            immediate = {TimeInForce.IOC: "ioc", TimeInForce.FOK: "fok"}
            kind = "post_only" if order.post_only else immediate.get(order.time_in_force, "limit")
        body: dict[str, Any] = {
            "instId": instrument.inst_id,
            "tdMode": "cross" if instrument.is_swap else "cash",
            "side": order.side.value,
            "ordType": kind,
            "sz": f"{order.quantity / instrument.ct_val:f}",
            "clOrdId": order.client_order_id,
        }
        if order.price is not None:
            body["px"] = f"{order.price:f}"
        if order.reduce_only:
            body["reduceOnly"] = "true"
        if order.trigger_price is not None:
            stop = {"slTriggerPx": f"{order.trigger_price:f}", "slOrdPx": "-1"}
            body["attachAlgoOrds"] = [{**stop, "attachAlgoClOrdId": attached_stop_id(order.client_order_id)}]
        if order.order_type is OrderType.MARKET and not instrument.is_swap:
            body["tgtCcy"] = "base_ccy"
        ack = self._venue.place_order(self._account, body)
        if ack.s_code == _DUPLICATE:
            raise AlreadyPlaced(ack.s_msg, code=ack.s_code)
        if ack.s_code != "0":
            raise (InsufficientFunds if ack.s_code in _FUNDS else InvalidOrder)(ack.s_msg, code=ack.s_code)
        return self._report(self._venue.order(self._account, instrument.inst_id, ack.ord_id))

    async def create_orders(self, orders: Sequence[Order]) -> Sequence[OrderReport | ExchangeError]:
        """Send several; errors as values."""
        results: list[OrderReport | ExchangeError] = []
        for order in orders:
            try:
                results.append(await self.create_order(order))
            except ExchangeError as error:
                results.append(error)
        return results

    async def cancel_order(
        self, symbol: str, *, client_order_id: str | None = None, venue_order_id: str | None = None, stop: bool = False
    ) -> None:
        """Cancel what is left of an order."""
        if stop:
            self._cancel_stop(symbol, client_order_id, venue_order_id)
            return
        body = {"instId": self._instrument(symbol).inst_id, "ordId": venue_order_id, "clOrdId": client_order_id}
        ack = self._venue.cancel_order(self._account, {name: value for name, value in body.items() if value})
        if ack.s_code != "0":
            raise OrderNotFound(ack.s_msg, code=ack.s_code)

    async def cancel_all_after(self, seconds: float) -> None:
        """The venue's dead man's switch, on the replay's clock."""
        try:
            self._venue.cancel_all_after(self._account, round(seconds))
        except model.VenueError as error:
            raise InvalidOrder(error.message, code=error.code) from None

    async def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        """Set it."""
        try:
            self._venue.set_leverage(self._account, self._instrument(symbol).inst_id, f"{leverage:f}")
        except model.VenueError as error:
            raise InvalidOrder(error.message, code=error.code) from None

    async def fetch_time(self) -> datetime:
        """The venue's time, which is ours."""
        return self._clock.now()

    async def call(self, method: str, *args: Any) -> Any:
        """Nothing beyond the port."""
        del args
        raise NotSupported(f"a replay has no {method}")

    def flush(self) -> None:
        """Let the venue forget what it would have told listeners."""
        self._venue.flush()

    async def close(self) -> None:
        """Nothing is open."""

    def _instrument(self, symbol: str) -> model.Instrument:
        found = self._instruments.get(symbol)
        if found is None:
            raise InvalidOrder(f"there is no recording of {symbol}")
        return found

    def _create_stop(self, order: Order, instrument: model.Instrument) -> OrderReport:
        body = {
            "instId": instrument.inst_id,
            "tdMode": "cross",
            "side": order.side.value,
            "ordType": "conditional",
            "sz": f"{order.quantity / instrument.ct_val:f}",
            "algoClOrdId": order.client_order_id,
            "slTriggerPx": f"{order.trigger_price:f}",
            "slOrdPx": "-1",
            "reduceOnly": "true",
        }
        ack = self._venue.place_algo(self._account, body)
        if ack.s_code == _DUPLICATE_STOP:
            raise AlreadyPlaced(ack.s_msg, code=ack.s_code)
        if ack.s_code != "0":
            raise InvalidOrder(ack.s_msg, code=ack.s_code)
        return self._stop(self._venue.algo(self._account, ack.algo_id))

    def _cancel_stop(self, symbol: str, client_order_id: str | None, venue_order_id: str | None) -> None:
        body = {
            "instId": self._instrument(symbol).inst_id,
            "algoId": venue_order_id or "",
            "algoClOrdId": client_order_id or "",
        }
        [ack] = self._venue.cancel_algos(self._account, [body])
        if ack.s_code != "0":
            raise OrderNotFound(ack.s_msg, code=ack.s_code)

    def _stop(self, raw: AlgoOrder) -> OrderReport:
        """A stop; one that has triggered is the order that it became."""
        instrument = self._venue.instrument(raw.inst_id)
        if not raw.ord_id:
            return to_stop_report(raw, instrument)
        return replace(
            to_report(self._venue.order(self._account, raw.inst_id, raw.ord_id), instrument),
            order_type=OrderType.STOP,
            client_order_id=raw.algo_cl_ord_id or None,
            trigger_price=raw.sl_trigger_px,
        )

    def _report(self, raw: model.Order) -> OrderReport:
        return to_report(raw, self._venue.instrument(raw.inst_id))
