"""What a strategy's process answers is read without running anything of its own."""

import os
import pickle
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kontor.domain.order import Side
from kontor.strategies import DataNeed, Decision
from kontor.strategies.answers import Unreadable, read_answer
from tests.unit.strategies.views import symbol_view


class Bomb:
    """Runs something when it is read."""

    def __init__(self, run: Any, *arguments: Any) -> None:
        self._reduced = run, arguments

    def __reduce__(self) -> Any:
        return self._reduced


def test_decisions_needs_and_plain_values_come_through() -> None:
    """Also what makes no sense, as long as it is plain: it is told as what it is."""
    orders = [symbol_view().limit(f"leg-{n}", Side.BUY, Decimal("0.5"), Decimal(90)) for n in range(3)]
    state = {"at": datetime(2026, 1, 1, tzinfo=UTC), "wait": timedelta(1), "seen": {1, 2}, "by": OrderedDict(a=1)}
    for said in (Decision.of(orders, ["x"], state), DataNeed("5m", 7, (("1h", 2),), ranges=True), [1, "two", None]):
        assert read_answer(pickle.dumps(("decided", said), protocol=pickle.HIGHEST_PROTOCOL)) == ("decided", said)


@pytest.mark.parametrize(
    "bomb",
    [
        Bomb(os.system, "touch ran"),
        Bomb(eval, "open('ran', 'w')"),
        Bomb(getattr, Decision, "of"),
        Bomb(Path, "ran"),
        Decision.of(state={"deep": [Bomb(os.system, "touch ran")]}),
    ],
)
def test_nothing_is_run_by_reading(bomb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Unreadable, match="it holds"):
        read_answer(pickle.dumps(("decided", bomb)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "payload", [b"", b"no pickle", pickle.dumps("decided"), pickle.dumps((1, 2)), pickle.dumps((1,))]
)
def test_what_is_no_answer_is_said_to_be_none(payload: bytes) -> None:
    with pytest.raises(Unreadable):
        read_answer(payload)


def test_a_name_that_a_module_of_ours_only_imports_is_not_ours() -> None:
    """Whatever stands in a module's namespace could be named by a pickle."""
    payload = b"ckontor.domain.exits\ntimedelta\n(I1\ntR."
    with pytest.raises(Unreadable, match=r"it holds kontor\.domain\.exits\.timedelta"):
        read_answer(payload)
