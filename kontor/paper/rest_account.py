"""The endpoints about one's own account: balance, positions, leverage, fees, bills."""

from __future__ import annotations

from kontor.paper import rendering_account
from kontor.paper.paging import page
from kontor.paper.replies import Call, Refusal, Reply, missing, wrong

MARGIN_MODES = {"cross", "isolated"}
MAX_NAMED = 20
RECENT_DAYS, ARCHIVE_DAYS = 7, 92


def balance(call: Call) -> Reply:
    """What the account holds, all of it or the currencies named in `ccy`."""
    named = _names(call, "ccy")
    return Reply([rendering_account.balance(call.venue.balance(call.account, named or None))])


def positions(call: Call) -> Reply:
    """Open positions."""
    inst_ids = set(_names(call, "instId"))
    found = call.venue.positions(call.account, call.params.get("instType") or None)
    return Reply([rendering_account.position(item) for item in found if not inst_ids or item.inst_id in inst_ids])


def set_leverage(call: Call) -> Reply:
    """Set the leverage of an instrument."""
    body = call.body if isinstance(call.body, dict) else {}
    lever, mode, inst_id = (str(body.get(name) or "") for name in ("lever", "mgnMode", "instId"))
    for name, value in (("lever", lever), ("mgnMode", mode), ("instId", inst_id)):
        if not value:
            raise missing(name)
    if mode not in MARGIN_MODES:
        raise wrong("mgnMode")
    changed = call.venue.set_leverage(call.account, inst_id, lever, mode, str(body.get("posSide") or ""))
    rows = [rendering_account.leverage(item) for item in changed]
    return Reply([{name: row[name] for name in ("lever", "mgnMode", "instId", "posSide")} for row in rows])


def leverage_info(call: Call) -> Reply:
    """The leverage of one or several instruments."""
    mode = call.required("mgnMode")
    if mode not in MARGIN_MODES:
        raise wrong("mgnMode")
    if not call.params.get("instId"):
        raise missing("instId")
    return Reply(
        [
            rendering_account.leverage(item)
            for inst_id in _names(call, "instId")
            for item in call.venue.leverage(call.account, inst_id, mode)
        ]
    )


def config(call: Call) -> Reply:
    """Who the account is and how it is set up."""
    return Reply([rendering_account.account_config(call.venue.account(call.account))])


def set_position_mode(call: Call) -> Reply:
    """Switch between one net position and a long and a short one."""
    body = call.body if isinstance(call.body, dict) else {}
    wanted = str(body.get("posMode") or "")
    if not wanted:
        raise missing("posMode")
    call.venue.set_position_mode(call.account, wanted)
    return Reply([{"posMode": wanted}])


def trade_fee(call: Call) -> Reply:
    """The fee rates of an instrument, or of a type's first one: they are the same for all."""
    kind = call.required("instType").upper()
    wanted = call.params.get("instId") or None
    family = call.params.get("instFamily") or call.params.get("uly") or None
    found = call.venue.instruments(kind, wanted, family)
    return Reply([rendering_account.trade_fee(item, call.venue.now()) for item in found[:1]])


def bills(call: Call) -> Reply:
    """Movements of cash of the last seven days, newest first."""
    return _bills(call, RECENT_DAYS)


def archived_bills(call: Call) -> Reply:
    """Movements of cash of the last three months, newest first."""
    return _bills(call, ARCHIVE_DAYS)


def _bills(call: Call, days: int) -> Reply:
    wanted = {name: call.params.get(name) for name in ("ccy", "type", "subType", "instType", "instId", "mgnMode")}
    asked = {name: value for name, value in wanted.items() if value}
    if call.params.get("ctType") == "inverse":
        return Reply([])
    linear = call.params.get("ctType") == "linear"
    oldest = call.venue.clock.now_ms() - days * 24 * 3600 * 1000
    rows = (rendering_account.bill(item) for item in call.venue.bills(call.account) if item.ts >= oldest)
    fitting = (
        row
        for row in rows
        if all(row[name] == value for name, value in asked.items()) and (not linear or row["instType"] == "SWAP")
    )
    return Reply(page(fitting, call.params, number=lambda row: row["billId"], at_ms=lambda row: int(row["ts"])))


def currencies(_call: Call) -> Reply:
    """Currencies that can be moved in and out of the exchange: none, it is all play money."""
    return Reply([])


def _names(call: Call, parameter: str) -> list[str]:
    names = [name for name in call.params.get(parameter, "").split(",") if name]
    if len(names) > MAX_NAMED:
        raise Refusal("50025", f"Parameter {parameter} count exceeds the limit {MAX_NAMED}.")
    return names
