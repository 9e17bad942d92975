"""The funding account beside each trading account, and moving money between the two and between accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kontor.paper.accounts import Account
from kontor.paper.intake import client_id, parameter_error, positive, required, text
from kontor.paper.model import ZERO, VenueError
from kontor.paper.state import State

FUNDING, TRADING = "6", "18"
_WITHIN, _TO_SUB, _FROM_SUB, _TO_MAIN, _BETWEEN_SUBS = "0", "1", "2", "3", "4"
_KEPT = 1000


@dataclass(frozen=True, slots=True)
class WalletTransfer:
    """One transfer, as its sender sees it."""

    trans_id: str
    client_id: str
    account: str
    ccy: str
    amt: Decimal
    kind: str
    source: str
    target: str
    sub_account: str
    ts: int


class Wallets:
    """Carries out transfers. Time must have been brought up to `at` before."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._done: dict[str, WalletTransfer] = {}

    def transfer(self, name: str, body: Mapping[str, Any], at: int) -> WalletTransfer:
        """Move money as OKX's asset/transfer says."""
        ccy, amount = required(body, "ccy"), positive(required(body, "amt"), "amt")
        source, target = required(body, "from"), required(body, "to")
        kind, sub = text(body, "type") or _WITHIN, text(body, "subAcct")
        if source not in {FUNDING, TRADING}:
            raise parameter_error("from")
        if target not in {FUNDING, TRADING}:
            raise parameter_error("to")
        giver, taker = self._parties(name, kind, sub)
        if giver is taker and source == target:
            raise VenueError("58130", "The remitting account and the beneficiary account cannot be the same.")
        number = str(self._state.sequences.next_transfer())
        made = WalletTransfer(number, client_id(body, "clientId"), name, ccy, amount, kind, source, target, sub, at)
        self._check(giver, ccy, amount, source)
        self._book(giver, ccy, -amount, source, number, at, (source, target))
        self._book(taker, ccy, amount, target, number, at, (source, target))
        self._done[number] = made
        if len(self._done) > _KEPT:
            del self._done[next(iter(self._done))]
        return made

    def find(self, name: str, trans_id: str, client: str) -> WalletTransfer:
        """A transfer of an account by either id: VenueError 58129 when there is none."""
        for made in reversed(self._done.values()):
            if made.account == name and (made.trans_id == trans_id or (client and made.client_id == client)):
                return made
        raise VenueError("58129", "Transfer does not exist.")

    def deposit(self, name: str, ccy: str, quantity: Decimal, at: int) -> None:
        """Money from outside into the funding account, or (negative) out of it."""
        account = self._state.account(name)
        if quantity < 0:
            self._check(account, ccy, -quantity, FUNDING)
        self._book(account, ccy, quantity, FUNDING, "", at, ("", FUNDING))

    def _parties(self, name: str, kind: str, sub: str) -> tuple[Account, Account]:
        """Who gives and who takes; `name` is who asks."""
        state, account = self._state, self._state.account(name)
        if kind == _WITHIN:
            return account, account
        if kind == _TO_MAIN:
            if account.info.parent is None:
                raise parameter_error("type")
            return account, state.account(account.info.parent)
        if kind not in {_TO_SUB, _FROM_SUB, _BETWEEN_SUBS}:
            raise parameter_error("type")
        if sub not in state.accounts or (state.account(sub).info.parent or sub) != (account.info.parent or name):
            raise VenueError("58116", "Sub-account does not exist.") if sub else parameter_error("subAcct")
        other = state.account(sub)
        if (kind == _BETWEEN_SUBS) != (account.info.parent is not None):
            raise parameter_error("type")
        return (other, account) if kind == _FROM_SUB else (account, other)

    def _check(self, account: Account, ccy: str, amount: Decimal, place: str) -> None:
        free = account.wallet.get(ccy, ZERO) if place == FUNDING else self._state.free(account, ccy)
        if amount > free:
            raise VenueError("58350", "Insufficient balance.")

    def _book(
        self, account: Account, ccy: str, change: Decimal, place: str, ref: str, at: int, between: tuple[str, str]
    ) -> None:
        if place == TRADING:
            self._state.settlement.move(account, ccy, change, ref, at, between)
            return
        account.wallet[ccy] = account.wallet.get(ccy, ZERO) + change
        self._state.settlement.touch(account, at)
