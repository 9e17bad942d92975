"""How an account trades: its leverages, its position mode, and what it pays fees in."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from kontor.paper.accounts import HEDGE_MODE, NET_MODE, Account, leverage_key
from kontor.paper.fees import BASE, QUOTE
from kontor.paper.holdings import LeverageInfo
from kontor.paper.intake import MARGIN_MODES, parameter_error, positive
from kontor.paper.model import Instrument, VenueError
from kontor.paper.reports import Reports
from kontor.paper.state import State


class AccountSettings:
    """Changes the settings. Time must have been brought up to `at` before."""

    def __init__(self, state: State, reports: Reports) -> None:
        self._state = state
        self._reports = reports

    def set_leverage(
        self, name: str, inst_id: str, lever: str, mgn_mode: str, pos_side: str, at: int
    ) -> list[LeverageInfo]:
        """Set an instrument's leverage; how it stands afterwards."""
        instrument = self._state.market.instrument(inst_id)
        if not instrument.is_swap:
            raise parameter_error("instId")
        if mgn_mode not in MARGIN_MODES:
            raise parameter_error("mgnMode")
        account = self._state.account(name)
        sides = self._sides(account, mgn_mode, pos_side)
        wanted = positive(lever, "lever")
        if wanted > instrument.max_lever:
            raise VenueError("59102", "Leverage exceeds the maximum limit. Please lower the leverage.")
        if wanted < 1:
            raise VenueError("59105", "Leverage cannot be less than 1. Please raise the leverage.")
        for side in sides:
            self._set(account, instrument, mgn_mode, side, wanted)
        self._state.settlement.touch(account, at)
        found = self._reports.leverages(name, inst_id, mgn_mode)
        return [each for each in found if each.pos_side in sides]

    @staticmethod
    def _sides(account: Account, mgn_mode: str, pos_side: str) -> list[str]:
        """Which sides a leverage is for: cross margin has one for all, isolated one for each."""
        if account.info.pos_mode == NET_MODE:
            if pos_side not in {"", "net"}:
                raise parameter_error("posSide")
            return ["net"]
        if mgn_mode == "cross":
            return ["long", "short"]
        if pos_side not in {"long", "short"}:
            raise parameter_error("posSide")
        return [pos_side]

    def _set(self, account: Account, instrument: Instrument, mgn_mode: str, side: str, wanted: Decimal) -> None:
        key, before = leverage_key(instrument.inst_id, mgn_mode, side), account.leverage(instrument, mgn_mode, side)
        known = account.leverages.get(key)
        account.leverages[key] = wanted
        if wanted < before and self._state.margin(account).available_equity < 0:
            if known is None:
                del account.leverages[key]
            else:
                account.leverages[key] = known
            raise VenueError("59108", "Low leverage and insufficient margin. Please adjust the leverage.")

    def set_position_mode(self, name: str, pos_mode: str, at: int) -> None:
        """Switch between net and long/short positions; refused while anything is open."""
        if pos_mode not in {NET_MODE, HEDGE_MODE}:
            raise parameter_error("posMode")
        account = self._state.account(name)
        if account.info.pos_mode == pos_mode:
            return
        held = any(position.lots for position in account.positions.values())
        if held or account.open_orders or account.live_algos:
            raise VenueError("59000", "Setting failed. Cancel any open orders, close positions, and stop trading bots.")
        self._state.accounts.replace(replace(account.info, pos_mode=pos_mode))
        self._state.settlement.touch(account, at)

    def set_fee_currency(self, name: str, fee_ccy: str, at: int) -> None:
        """What fees are paid in: base, quote, a coin that is listed here, or '' for OKX's own rule."""
        coins = {listed.base_ccy for listed in self._state.market.listed}
        if fee_ccy not in {"", BASE, QUOTE} | coins:
            raise ValueError(f"fee currency {fee_ccy!r}: use base, quote, a coin that is listed here, or nothing")
        account = self._state.account(name)
        account.fee_ccy = fee_ccy
        self._state.settlement.touch(account, at)
