"""Moves from outside on a SQL database: booked once, together with the holdings they lead to."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select

from kontor.domain.outside import OutsideMove
from kontor.store.rows import chunks, columns_of, one_of, values_of
from kontor.store.tables import account as tables

t = tables.outside_moves.c
MOVE = columns_of(tables.outside_moves, OutsideMove)
BOOKED = select(t.source_id).where(t.account == bindparam("account"), one_of(t.source_id, "sources"))


def book_moves(conn: Connection, account: str, moves: Sequence[OutsideMove]) -> list[OutsideMove]:
    """Insert those whose source was not booked yet; returns them."""
    by_source = {move.source_id: move for move in moves}
    booked = {
        source
        for some in chunks(sorted(by_source))
        for source in conn.execute(BOOKED, {"account": account, "sources": some}).scalars()
    }
    new = [move for move in by_source.values() if move.source_id not in booked]
    if new:
        conn.execute(insert(tables.outside_moves), [{**values_of(move), "account": account} for move in new])
    return new


def load_moves(conn: Connection, account: str, *, since: datetime | None, limit: int) -> list[OutsideMove]:
    """Moves, oldest first; of more than `limit` the newest."""
    query = select(*MOVE).where(t.account == account).order_by(t.at.desc(), t.number.desc()).limit(limit)
    if since is not None:
        query = query.where(t.at >= since)
    return [OutsideMove(*row) for row in conn.execute(query)][::-1]
