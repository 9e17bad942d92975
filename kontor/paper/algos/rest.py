"""The endpoints that place, cancel, change and look up algo orders."""

from __future__ import annotations

from collections.abc import Iterable

from kontor.paper.algos import rendering
from kontor.paper.algos.intake import TYPES
from kontor.paper.algos.model import CANCELED as ALGO_CANCELED
from kontor.paper.algos.model import CONDITIONAL, EFFECTIVE, FAILED, OCO, AlgoOrder
from kontor.paper.paging import page
from kontor.paper.replies import MESSAGES, Call, Refusal, Reply, batch, missing, wrong

MAX_CANCELS = 10
_ENDED = frozenset({EFFECTIVE, ALGO_CANCELED, FAILED})


def place(call: Call) -> Reply:
    """Place one algo order."""
    body = _body(call)
    if call.expired:
        given = {name: str(body.get(name) or "") for name in ("algoClOrdId", "clOrdId", "tag")}
        return batch([{**given, "algoId": "", "sCode": "50036", "sMsg": MESSAGES["50036"]}], single=True)
    return batch([rendering.placed(call.venue.place_algo(call.account, body))], single=True)


def cancel(call: Call) -> Reply:
    """Cancel up to 10 algo orders; each has its own answer."""
    bodies = call.body
    if not isinstance(bodies, list) or not bodies:
        raise Refusal("50000")
    if len(bodies) > MAX_CANCELS:
        raise Refusal("51406", f"Canceled - order count exceeds the limit {MAX_CANCELS}")
    if not all(isinstance(body, dict) for body in bodies):
        raise Refusal("50002")
    return batch([rendering.placed(ack) for ack in call.venue.cancel_algos(call.account, bodies)])


def amend(call: Call) -> Reply:
    """Change the quantity or the prices of an algo order that waits."""
    return batch([rendering.amended(call.venue.amend_algo(call.account, _body(call)))], single=True)


def details(call: Call) -> Reply:
    """One algo order, by either id."""
    found = call.venue.algo(call.account, call.params.get("algoId", ""), call.params.get("algoClOrdId", ""))
    return _rows(call, [found])


def pending(call: Call) -> Reply:
    """Algo orders of a type that wait."""
    types = _types(call)
    return _listed(call, (algo for algo in call.venue.algos_pending(call.account) if algo.ord_type in types))


def history(call: Call) -> Reply:
    """Algo orders of a type that have ended."""
    types, state, algo_id = _types(call), call.params.get("state"), call.params.get("algoId")
    if not state and not algo_id:
        raise Refusal("50015", "Either parameter state or algoId is required")
    if state and state not in _ENDED:
        raise wrong("state")
    return _listed(
        call,
        (
            algo
            for algo in call.venue.algos_history(call.account)
            if algo.ord_type in types and state in {None, "", algo.state}
        ),
    )


def _body(call: Call) -> dict[str, object]:
    if not isinstance(call.body, dict) or not call.body:
        raise Refusal("50000")
    return call.body


def _types(call: Call) -> set[str]:
    """The order types asked for: one, or the two kinds of stop order together."""
    wanted = call.params.get("ordType", "")
    if not wanted:
        raise missing("ordType")
    types = set(wanted.split(","))
    if not types <= TYPES or (len(types) > 1 and types != {CONDITIONAL, OCO}):
        raise wrong("ordType")
    return types


def _listed(call: Call, found: Iterable[AlgoOrder]) -> Reply:
    wanted = {name: call.params.get(name) for name in ("algoId", "instType", "instId")}
    fitting = (
        algo
        for algo in found
        if wanted["algoId"] in {None, "", algo.algo_id}
        and wanted["instType"] in {None, "", algo.inst_type}
        and wanted["instId"] in {None, "", algo.inst_id}
    )
    return _rows(call, page(fitting, call.params, number=_algo_id, at_ms=lambda algo: algo.c_time))


def _rows(call: Call, found: Iterable[AlgoOrder]) -> Reply:
    return Reply([rendering.algo(algo, call.venue.instrument(algo.inst_id)) for algo in found])


def _algo_id(algo: AlgoOrder) -> str:
    return algo.algo_id
