"""What the paper exchange's engine says, in our own words: orders, fills, positions, markets."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from kontor.domain.account import Position, PositionSide
from kontor.domain.fill import Fill
from kontor.domain.market import Market, MarketKind
from kontor.domain.order import OrderReport, OrderState, OrderType, Side
from kontor.paper import holdings, model
from kontor.paper.algos.model import AlgoOrder

_STATES = {
    model.LIVE: OrderState.ACCEPTED,
    model.PARTIALLY_FILLED: OrderState.PARTIALLY_FILLED,
    model.FILLED: OrderState.FILLED,
    model.CANCELED: OrderState.CANCELED,
}
_STOP_STATES = {
    "live": OrderState.ACCEPTED,
    "effective": OrderState.ACCEPTED,
    "canceled": OrderState.CANCELED,
    "order_failed": OrderState.REJECTED,
}


def to_moment(milliseconds: int) -> datetime:
    """OKX's milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def to_symbol(instrument: model.Instrument) -> str:
    """BTC/USD, or BTC/USD:USD for a swap."""
    spot = f"{instrument.base_ccy}/{instrument.quote_ccy}"
    return f"{spot}:{instrument.settle_ccy}" if instrument.is_swap else spot


def to_market(instrument: model.Instrument) -> Market:
    """Its steps and smallest sizes in base currency."""
    return Market(
        symbol=to_symbol(instrument),
        kind=MarketKind.SWAP if instrument.is_swap else MarketKind.SPOT,
        base=instrument.base_ccy,
        quote=instrument.quote_ccy,
        settle=instrument.settle_ccy if instrument.is_swap else None,
        active=True,
        contract_size=instrument.ct_val,
        quantity_step=instrument.lot_sz * instrument.ct_val,
        price_step=instrument.tick_sz,
        min_quantity=instrument.min_sz * instrument.ct_val,
        max_leverage=Decimal(instrument.max_lever),
    )


def to_report(raw: model.Order, instrument: model.Instrument) -> OrderReport:
    """An order as it stands."""
    return OrderReport(
        symbol=to_symbol(instrument),
        side=Side(raw.side),
        order_type=OrderType.MARKET if raw.ord_type == "market" else OrderType.LIMIT,
        state=_STATES[raw.state],
        quantity=raw.sz * instrument.ct_val,
        filled_quantity=raw.acc_fill_sz * instrument.ct_val,
        venue_order_id=raw.ord_id,
        at=to_moment(raw.u_time),
        client_order_id=raw.cl_ord_id or raw.algo_cl_ord_id or None,
        price=raw.px,
        average_price=raw.avg_px,
        reduce_only=raw.reduce_only,
        reason=raw.cancel_source_reason or None,
        created_at=to_moment(raw.c_time),
    )


def to_stop_report(raw: AlgoOrder, instrument: model.Instrument) -> OrderReport:
    """A stop that has not become an order yet."""
    return OrderReport(
        symbol=to_symbol(instrument),
        side=Side(raw.side),
        order_type=OrderType.STOP,
        state=_STOP_STATES[raw.state],
        quantity=(raw.sz or Decimal(0)) * instrument.ct_val,
        filled_quantity=Decimal(0),
        venue_order_id=raw.algo_id,
        at=to_moment(raw.u_time),
        client_order_id=raw.algo_cl_ord_id or None,
        reduce_only=raw.reduce_only,
        reason=raw.fail_code or None,
        created_at=to_moment(raw.c_time),
        trigger_price=raw.sl_trigger_px,
    )


def to_fill(raw: model.Fill, instrument: model.Instrument) -> Fill:
    """A fill; a fee paid is positive."""
    return Fill(
        trade_id=raw.trade_id,
        symbol=to_symbol(instrument),
        side=Side(raw.side),
        quantity=raw.fill_sz * instrument.ct_val,
        price=raw.fill_px,
        filled_at=to_moment(raw.ts),
        venue_order_id=raw.ord_id,
        client_order_id=raw.cl_ord_id or None,
        fee=-raw.fee,
        fee_currency=raw.fee_ccy,
        is_maker=raw.exec_type == "M",
    )


def to_position(raw: holdings.Position, instrument: model.Instrument, at: datetime) -> Position:
    """An open position in base currency."""
    quantity = raw.pos * instrument.ct_val
    return Position(
        symbol=to_symbol(instrument),
        side=PositionSide.LONG if quantity > 0 else PositionSide.SHORT,
        quantity=abs(quantity),
        entry_price=raw.avg_px or Decimal(0),
        mark_price=raw.mark_px,
        unrealized_pnl=raw.upl,
        notional=abs(quantity) * raw.mark_px,
        leverage=raw.lever,
        margin_mode=raw.mgn_mode,
        at=at,
    )
