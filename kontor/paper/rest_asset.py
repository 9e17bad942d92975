"""The endpoints about the funding account: what it holds, and transfers."""

from __future__ import annotations

from kontor.paper.rendering import Json, moment, number
from kontor.paper.replies import Call, Refusal, Reply
from kontor.paper.wallet import WalletTransfer


def balances(call: Call) -> Reply:
    """What the funding account holds, all of it or the currencies named in `ccy`."""
    wanted = {name for name in call.params.get("ccy", "").split(",") if name}
    rows = [
        {"availBal": number(quantity), "bal": number(quantity), "ccy": ccy, "frozenBal": "0"}
        for ccy, quantity in sorted(call.venue.wallet(call.account).items())
        if (quantity and not wanted) or ccy in wanted
    ]
    return Reply(rows)


def transfer(call: Call) -> Reply:
    """Move money between the funding and the trading account, or between accounts."""
    if not isinstance(call.body, dict) or not call.body:
        raise Refusal("50000")
    made = call.venue.transfer(call.account, call.body)
    row = _transfer(made)
    return Reply([{name: row[name] for name in ("amt", "ccy", "clientId", "from", "to", "transId")}])


def transfer_state(call: Call) -> Reply:
    """One transfer, by either id."""
    by_id, client = call.params.get("transId", ""), call.params.get("clientId", "")
    if not by_id and not client:
        raise Refusal("50015", "Either parameter transId or clientId is required")
    return Reply([_transfer(call.venue.transfer_made(call.account, by_id, client))])


def _transfer(item: WalletTransfer) -> Json:
    return {
        "amt": number(item.amt),
        "ccy": item.ccy,
        "clientId": item.client_id,
        "from": item.source,
        "instId": "",
        "state": "success",
        "subAcct": item.sub_account,
        "to": item.target,
        "toInstId": "",
        "transId": item.trans_id,
        "ts": moment(item.ts),
        "type": item.kind,
    }
