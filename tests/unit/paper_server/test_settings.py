"""What a paper exchange may be started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from kontor.paper.__main__ import main, parser
from kontor.paper.settings import PaperAccount, PaperSettings


@pytest.mark.parametrize(
    "given",
    [
        {"port": 70_000},
        {"markets": 0},
        {"markets": 2001},
        {"speed": 0},
        {"rtt_ms": -1},
        {"price_tick_ms": 700},
        {"source": "replay:"},
        {"source": "live"},
        {"accounts": ()},
        {"colour": "red"},
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any]) -> None:
    """Before anything is started."""
    with pytest.raises(ValidationError):
        PaperSettings(**given)


@pytest.mark.parametrize("change", [{"name": "paper"}, {"api_key": "paper-key"}])
def test_two_accounts_cannot_share_a_name_or_a_key(change: dict[str, str]) -> None:
    """A key opens exactly one account."""
    first = PaperAccount(name="paper", api_key="paper-key", secret=SecretStr("s"), passphrase=SecretStr("p"))
    second = first.model_copy(update={"name": "other", "api_key": "other-key", **change})
    with pytest.raises(ValidationError, match="share one"):
        PaperSettings(accounts=(first, second))


def test_secrets_do_not_show_in_the_settings() -> None:
    """Settings are logged; secrets are not."""
    assert "paper-secret" not in repr(PaperSettings())


def test_state_is_kept_in_the_home_unless_told_otherwise(tmp_path: Path) -> None:
    """One file, in one place, or none."""
    assert PaperSettings(home=tmp_path).state_file == tmp_path / "paper.sqlite3"
    assert PaperSettings(home=tmp_path, persist=False).state_file is None


def test_the_command_line_defaults_are_those_of_the_settings() -> None:
    """One fact in one place."""
    given = vars(parser().parse_args([]))
    persist = not given.pop("no_persist")
    assert PaperSettings(persist=persist, **given) == PaperSettings()


def test_a_wrong_option_is_one_sentence_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback for a typing error."""
    assert main(["--speed", "-1"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("kontor paper: --speed:")
    assert "\n" not in said
