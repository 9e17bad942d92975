"""Equity over time, thinned out where it lies: a quarter of a year has too many points for a picture."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import BigInteger, Connection, func, select, type_coerce

from kontor.domain.snapshot import Snapshot
from kontor.store.columns import EPOCH, MICROSECOND
from kontor.store.tables import account as tables

_E = tables.equity_history.c


def stretch_of(first: datetime, last: datetime, points: int) -> timedelta:
    """How long each of `points` equal stretches is that hold both moments."""
    return (last - first) // max(points, 1) + MICROSECOND


def load_equity(
    conn: Connection, account: str, since: datetime | None, points: int | None
) -> Sequence[Snapshot[Decimal]]:
    """Oldest first; with `points` the last of each of so many equal stretches."""
    wanted = [_E.account == account] if since is None else [_E.account == account, _E.at >= since]
    query = select(_E.equity, _E.at).where(*wanted)
    if points is not None:
        first, last = conn.execute(select(func.min(_E.at), func.max(_E.at)).where(*wanted)).one()
        if first is None:
            return []
        begin, width = (first - EPOCH) // MICROSECOND, stretch_of(first, last, points) // MICROSECOND
        number = (type_coerce(_E.at, BigInteger) - begin) // width
        query = query.where(_E.at.in_(select(func.max(_E.at)).where(*wanted).group_by(number)))
    return [Snapshot(row.equity, row.at) for row in conn.execute(query.order_by(_E.at)).all()]
