"""Balances, positions and account settings as OKX writes them."""

from __future__ import annotations

from collections.abc import Iterable

from kontor.paper.algos.rendering import closing
from kontor.paper.holdings import AccountBalance, CurrencyBalance, LeverageInfo, Position
from kontor.paper.model import AccountInfo, Bill, Instrument
from kontor.paper.rendering import Json, moment, number

# OKX numbers the kinds of bills. Those of files written by an earlier version named their parts instead.
BILL_TYPES = {
    "transfer": "1",
    "trade": "2",
    "delivery": "3",
    "liquidation": "5",
    "margin": "6",
    "funding": "8",
    "clawback": "10",
    "deposit": "1",
    "fee": "2",
    "pnl": "2",
}


def balance(item: AccountBalance) -> Json:
    """The one row of account/balance."""
    return {
        "adjEq": number(item.adj_eq),
        "availEq": number(item.adj_eq - item.imr - item.ord_froz),
        "borrowFroz": "0",
        "details": [currency(detail) for detail in item.details],
        "imr": number(item.imr),
        "isoEq": number(item.iso_eq),
        "mgnRatio": number(item.mgn_ratio),
        "mmr": number(item.mmr),
        "notionalUsd": number(item.notional_usd),
        "notionalUsdForBorrow": "0",
        "notionalUsdForFutures": "0",
        "notionalUsdForOption": "0",
        "notionalUsdForSwap": number(item.notional_usd),
        "ordFroz": number(item.ord_froz),
        "totalEq": number(item.total_eq),
        "uTime": moment(item.u_time),
        "upl": number(item.upl),
    }


def currency(item: CurrencyBalance) -> Json:
    """One currency within a balance."""
    return {
        "accAvgPx": "",
        "availBal": number(item.avail_bal),
        "availEq": number(item.avail_eq),
        "borrowFroz": "0",
        "cashBal": number(item.cash_bal),
        "ccy": item.ccy,
        "clSpotInUseAmt": "",
        "colBorrAutoConversion": "0",
        "collateralEnabled": False,
        "collateralRestrict": False,
        "crossLiab": "0",
        "disEq": number(item.eq_usd),
        "eq": number(item.eq),
        "eqUsd": number(item.eq_usd),
        "fixedBal": "0",
        "frozenBal": number(item.frozen_bal),
        "imr": number(item.imr),
        "interest": "0",
        "isoEq": number(item.iso_eq),
        "isoLiab": "0",
        "isoUpl": number(item.iso_upl),
        "liab": "0",
        "maxLoan": "0",
        "maxSpotInUse": "",
        "mgnRatio": number(item.mgn_ratio),
        "mmr": number(item.mmr),
        "notionalLever": number(item.notional_lever),
        "openAvgPx": "",
        "ordFrozen": number(item.ord_frozen),
        "rewardBal": "",
        "smtSyncEq": "0",
        "spotBal": "",
        "spotCopyTradingEq": "0",
        "spotInUseAmt": "",
        "spotIsoBal": "0",
        "spotUpl": "",
        "spotUplRatio": "",
        "stgyEq": "0",
        "totalPnl": "",
        "totalPnlRatio": "",
        "twap": "0",
        "uTime": moment(item.u_time),
        "upl": number(item.upl),
        "uplLiab": "0",
    }


def position(item: Position) -> Json:
    """A row of account/positions."""
    return {
        "adl": "1",
        "availPos": number(item.avail_pos),
        "avgPx": number(item.avg_px),
        "baseBal": "",
        "baseBorrowed": "",
        "baseInterest": "",
        "bePx": number(item.be_px),
        "bizRefId": "",
        "bizRefType": "",
        "cTime": moment(item.c_time),
        "ccy": item.ccy,
        "clSpotInUseAmt": "",
        "closeOrderAlgo": [closing(algo) for algo in item.closing_algos],
        "deltaBS": "",
        "deltaPA": "",
        "fee": number(item.fee),
        "fundingFee": number(item.funding_fee),
        "gammaBS": "",
        "gammaPA": "",
        "idxPx": number(item.mark_px),
        "imr": number(item.imr),
        "instId": item.inst_id,
        "instType": item.inst_type,
        "interest": "",
        "last": number(item.last),
        "lever": number(item.lever),
        "liab": "",
        "liabCcy": "",
        "liqPenalty": number(item.liq_penalty),
        "liqPx": number(item.liq_px),
        "margin": number(item.margin),
        "markPx": number(item.mark_px),
        "maxSpotInUseAmt": "",
        "mgnMode": item.mgn_mode,
        "mgnRatio": number(item.mgn_ratio),
        "mmr": number(item.mmr),
        "notionalUsd": number(item.notional_usd),
        "optVal": "",
        "pendingCloseOrdLiabVal": "",
        "pnl": number(item.pnl),
        "pos": number(item.pos),
        "posCcy": "",
        "posId": item.pos_id,
        "posSide": item.pos_side,
        "quoteBal": "",
        "quoteBorrowed": "",
        "quoteInterest": "",
        "realizedPnl": number(item.realized_pnl),
        "spotInUseAmt": "",
        "spotInUseCcy": "",
        "thetaBS": "",
        "thetaPA": "",
        "tradeId": item.trade_id,
        "uTime": moment(item.u_time),
        "upl": number(item.upl),
        "uplLastPx": number(item.upl),
        "uplRatio": number(item.upl_ratio),
        "uplRatioLastPx": number(item.upl_ratio),
        "usdPx": "1",
        "vegaBS": "",
        "vegaPA": "",
    }


def account_config(item: AccountInfo) -> Json:
    """The one row of account/config."""
    return {
        "acctLv": item.acct_lv,
        "autoLoan": False,
        "ctIsoMode": "automatic",
        "greeksType": "PA",
        "ip": "",
        "kycLv": "3",
        "label": item.name,
        "level": "Lv1",
        "levelTmp": "",
        "liquidationGear": "-1",
        "mainUid": item.main_uid,
        "mgnIsoMode": "automatic",
        "opAuth": "0",
        "perm": ",".join(item.permissions),
        "posMode": item.pos_mode,
        "roleType": "0",
        "spotOffsetType": "",
        "spotRoleType": "0",
        "spotTraderInsts": [],
        "traderInsts": [],
        "type": "0" if item.parent is None else "1",
        "uid": item.uid,
    }


def trade_fee(item: Instrument, at_ms: int) -> Json:
    """The one row of account/trade-fee: what the instrument charges, negative as on OKX."""
    swap = item.is_swap
    return {
        "category": "1",
        "delivery": "",
        "exercise": "",
        "feeGroup": [{"groupId": "1", "maker": number(item.maker_fee), "taker": number(item.taker_fee)}],
        "fiat": [],
        "instType": item.inst_type,
        "level": "Lv1",
        "maker": "" if swap else number(item.maker_fee),
        "makerU": number(item.maker_fee) if swap else "",
        "makerUSDC": "",
        "ruleType": "normal",
        "taker": "" if swap else number(item.taker_fee),
        "takerU": number(item.taker_fee) if swap else "",
        "takerUSDC": "",
        "ts": moment(at_ms),
    }


def balance_and_position(
    at_ms: int, balances: Iterable[CurrencyBalance], positions: Iterable[Position], event: str
) -> Json:
    """The one row of the balance_and_position channel."""
    return {
        "pTime": moment(at_ms),
        "eventType": event,
        "balData": [
            {"ccy": item.ccy, "cashBal": number(item.cash_bal), "uTime": moment(item.u_time)} for item in balances
        ],
        "posData": [
            {
                "posId": item.pos_id,
                "tradeId": item.trade_id,
                "instId": item.inst_id,
                "instType": item.inst_type,
                "mgnMode": item.mgn_mode,
                "posSide": item.pos_side,
                "pos": number(item.pos),
                "ccy": item.ccy,
                "posCcy": "",
                "avgPx": number(item.avg_px),
                "uTime": moment(item.u_time),
            }
            for item in positions
        ],
        "trades": [],
    }


def leverage(item: LeverageInfo) -> Json:
    """A row of account/leverage-info."""
    return {
        "instId": item.inst_id,
        "mgnMode": item.mgn_mode,
        "posSide": item.pos_side,
        "lever": number(item.lever),
        "ccy": "",
    }


def bill(item: Bill) -> Json:
    """A row of account/bills; what a transfer was for stands in notes."""
    transfer = item.kind in {"transfer", "deposit"}
    return {
        "bal": number(item.balance),
        "balChg": number(item.change),
        "billId": item.bill_id,
        "ccy": item.ccy,
        "clOrdId": item.cl_ord_id,
        "earnAmt": "",
        "earnApr": "",
        "execType": item.exec_type,
        "fee": "" if transfer else number(item.change if item.kind == "fee" else item.fee),
        "fillFwdPx": "",
        "fillIdxPx": "",
        "fillMarkPx": "",
        "fillMarkVol": "",
        "fillPxUsd": "",
        "fillPxVol": "",
        "fillTime": moment(item.ts),
        "from": item.source,
        "instId": item.inst_id,
        "instType": "" if not item.inst_id else "SWAP" if item.inst_id.endswith("-SWAP") else "SPOT",
        "interest": "0",
        "mgnMode": item.mgn_mode,
        "notes": item.ref if transfer else "",
        "ordId": item.ord_id,
        "pnl": "" if transfer else number(item.change if item.kind == "pnl" else item.pnl),
        "posBal": "" if transfer else number(item.pos_balance),
        "posBalChg": "" if transfer else number(item.pos_change),
        "px": number(item.px),
        "subType": item.sub_type or ("11" if transfer else "1"),
        "sz": number(item.sz),
        "tag": item.tag,
        "to": item.target,
        "tradeId": item.trade_id or "0",
        "ts": moment(item.ts),
        "type": BILL_TYPES.get(item.kind, "2"),
    }
