"""The paper exchange's keys: random for each home, private, and never made twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.paper_keys import make_keys, read_keys
from kontor.errors import ConfigError


def test_each_home_gets_keys_of_its_own_and_keeps_them(tmp_path: Path) -> None:
    """A key that is the same everywhere would be no key."""
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    assert make_keys(first)
    assert make_keys(second)
    before = read_keys(first)
    assert set(before) == {"paper", "paper-sub"}
    assert before["paper"] != read_keys(second)["paper"]
    assert not make_keys(first)
    assert read_keys(first) == before


def test_keys_are_readable_by_their_owner_alone_and_stay_out_of_texts(tmp_path: Path) -> None:
    """A repr ends up in a log sooner or later."""
    make_keys(tmp_path / "keys.json")
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    key = read_keys(tmp_path / "keys.json")["paper"]
    assert key.secret not in repr(key)
    assert key.api_key not in repr(key)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"paper": {}}', '{"paper": 1}'])
def test_a_damaged_key_file_is_one_sentence_with_the_remedy(tmp_path: Path, text: str) -> None:
    """The remedy is simple, if one knows it."""
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(ConfigError, match=r"keys\.json: does not hold the paper exchange's keys; move it away"):
        read_keys(tmp_path / "keys.json")
