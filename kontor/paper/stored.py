"""What a stored state needs of its market, known before it is opened."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stored:
    """Instruments with orders, positions or holdings, and the moment up to which prices have been looked at."""

    held: frozenset[str] = frozenset()
    resting: frozenset[str] = frozenset()
    step_at: int = 0


def read_stored(path: Path | None) -> Stored:
    """Nothing for a state that is not there yet; what is wrong with one is told when it is opened."""
    if path is None or not path.exists():
        return Stored()
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.5)) as database:
            return _read(database)
    except sqlite3.Error:
        return Stored()


def _read(database: sqlite3.Connection) -> Stored:
    orders = "SELECT DISTINCT inst_id FROM orders WHERE state IN ('live', 'partially_filled')"
    resting = {inst_id for (inst_id,) in database.execute(orders)}
    positions = {inst_id for (inst_id,) in database.execute("SELECT DISTINCT inst_id FROM positions")}
    cash = {f"{ccy}-USD" for ccy, balance in database.execute("SELECT ccy, balance FROM cash") if float(balance)}
    found = database.execute("SELECT value FROM settings WHERE name = 'step_at'").fetchone()
    return Stored(frozenset(resting | positions | cash), frozenset(resting), int(found[0]) if found else 0)
