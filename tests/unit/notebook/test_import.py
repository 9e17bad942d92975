"""`kontor import`: the notebook's configuration without an edit, and what of it has no meaning here."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.checking.project import check_files
from deployments.cli import main
from deployments.notebook.plan import Plan, make_plan
from deployments.notebook.reading import read_notebook
from tests.support.old_config import OURS, notebooks_config

OLD = OURS.read_text()


def planned(tmp_path: Path, text: str) -> Plan:
    path = tmp_path / "updater_config.yaml"
    path.write_text(text)
    return make_plan(read_notebook(path), "paper")


def written(folder: Path) -> tuple[Any, dict[str, Any]]:
    """kontor.yaml, and the deployments by flow and name."""
    deployments = yaml.safe_load((folder / "prefect.yaml").read_text())["deployments"]
    named = {f"{each['entrypoint'].rpartition('.')[2]}/{each['name']}": each for each in deployments}
    return yaml.safe_load((folder / "kontor.yaml").read_text()), named


@pytest.mark.parametrize("text", [OLD, notebooks_config()], ids=["ours", "the notebook's"])
def test_it_imports_without_an_edit_and_every_key_is_accounted_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """Indentation, text `None` and all; what is written is right, and nothing is left unsaid."""
    old, out = tmp_path / "updater_config.yaml", tmp_path / "out"
    old.write_text(text)
    assert main(["import", str(old), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    data = yaml.safe_load(text)
    for key in data["class_attributes"]:
        assert f"class_attributes.{key} " in told
    for key, task in data["tasks"].items():
        for inner in (inner for inner in task if inner != "subtasks"):
            assert f"tasks.{key}.{inner} " in told
        for subtask in task.get("subtasks", {}):
            assert f"tasks.{key}.subtasks.{subtask}" in told
    assert "NOT IMPORTED" not in told
    assert check_files(out / "kontor.yaml", out / "prefect.yaml").problems == []
    settings, named = written(out)
    assert settings["watchlist"]["restricted"] == data["class_attributes"]["wl_restricted"]
    assert settings["watchlist"]["filter"] == data["class_attributes"]["watch_list_filter"]
    assert settings["attributes"]["leverage"] == data["class_attributes"]["leverage"]
    for task, flow in (("t_update_tickers", "update_tickers"), ("t_update_open_orders_dict", "track_orders")):
        assert named[f"{flow}/paper"]["schedules"][0]["interval"] == data["tasks"][task]["freq"]
    updater = named["run_updater/update-ohlcv"]
    assert updater["schedules"][0]["interval"] == 60
    assert updater["parameters"]["steps"] == [
        {"call": "get_ohlcv_data", "args": ["$watchlist", "1m", 1000], "target": "ohlcs"}
    ]
    steps = named["initialize/paper"]["parameters"]["steps"]
    assert [step["call"] for step in steps][:3] == [
        "get_filtered_watch_list",
        "get_current_ranges",
        "get_watch_list_from_ranges",
    ]
    assert steps[-1] == {"call": "get_free_balance", "target": "free_capital"}
    # Two writers of one name would undo one another's work.
    assert "update_candles/paper" not in named
    assert "execute_orders/paper" in named


def test_files_that_are_there_are_never_overwritten_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "old.yaml"
    old.write_text(OLD)
    (tmp_path / "kontor.yaml").write_text("mine: true")
    assert main(["import", str(old), "--out", str(tmp_path)]) == 1
    assert "kontor.yaml is there already; --out DIR writes elsewhere, --force overwrites" in capsys.readouterr().err
    assert (tmp_path / "kontor.yaml").read_text() == "mine: true"
    assert not (tmp_path / "prefect.yaml").exists()
    assert main(["import", str(old), "--out", str(tmp_path), "--force", "--account", "other"]) == 0
    _, named = written(tmp_path)
    assert named["update_tickers/other"]["parameters"] == {"account": "other"}
    assert named["run_updater/update-ohlcv"]["parameters"]["account"] == "other"
    assert "paper" not in (tmp_path / "prefect.yaml").read_text().partition("deployments:")[2]


def test_a_first_line_that_lost_its_indentation_in_the_cutting_is_no_harm(tmp_path: Path) -> None:
    """Who copies with the mouse begins at the first letter."""
    text = OLD.partition("\n")[2].lstrip()
    assert not text.startswith(" ")
    assert planned(tmp_path, text) == planned(tmp_path, OLD)


@pytest.mark.parametrize(
    ("change", "key", "sentence"),
    [
        (("method: get_ohlcv_data", "method: get_secret"), "subtask_0.method", "get_secret is nothing an updater may"),
        (("modul: Misso.services.helper", "modul: os"), "subtask_2.method", "os.get_watch_list_from_wl_ranges is"),
        (("type: standard", "type: thread"), "subtask_2.type", "'thread' is neither async nor standard"),
        (
            ("- self.watch_list\n                  - 1m", "- self.wl\n                  - 1m"),
            "input_args",
            "defines wl",
        ),
        (("target_attr: ohlcs", "target_attr: a.b"), "target_attr", "a.b is no name of one level"),
        (("target_attr: last_price", "target_attr: watch_list"), "target_attr", "this call does not give"),
        (("freq: 60", "freq: soon"), "t_update_template.freq", "'soon' is no number of seconds"),
        (("t_shutdown", "t_unheard_of"), "tasks.t_unheard_of", "neither a task of the notebook nor one with subtasks"),
        (("out: self.last_price", "out: self.orders"), "t_update_tickers.out", "nothing says that the task writes"),
        (("leverage: 5", "Leverage: 5"), "class_attributes.Leverage", "no name that shared state may have"),
        (("pending_orders", "locks"), "shared_attributes.locks", "nothing here is a Queue"),
        (("freq: 10", "freqq: 10"), "t_update_tickers.freqq", "not a key of a task in the notebook"),
    ],
)
def test_what_is_not_known_is_reported_and_not_guessed(
    tmp_path: Path, change: tuple[str, str], key: str, sentence: str
) -> None:
    assert change[0] in OLD
    plan = planned(tmp_path, OLD.replace(*change))
    missing = [row for row in plan.rows if not row.imported]
    assert len(missing) == 1
    assert key in missing[0].key
    assert sentence in missing[0].note


def test_an_initialization_that_cannot_be_taken_over_leaves_the_standard_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without any, nothing would ever open the gate; the exit code says that something is missing."""
    old, out = tmp_path / "old.yaml", tmp_path / "out"
    old.write_text(OLD.replace("get_current_ranges", "get_other_ranges"))
    assert main(["import", str(old), "--out", str(out)]) == 1
    output = capsys.readouterr()
    assert "kontor: 1 key was not imported" in output.err
    assert "NOT IMPORTED (line" in output.out
    _, named = written(out)
    assert named["initialize/paper"]["parameters"] == {"account": "paper"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "there is no such file; name the notebook's updater_config.yaml"),
        ("a: 1", "holds none of class_attributes, shared_attributes, tasks"),
        ("tasks: [1", "updater_config.yaml line 2: "),
        ("tasks: 5", "updater_config.yaml line 1: tasks must hold keys and values"),
        (OLD.replace("type: greater_or_equal", "type: above"), "watch_list_filter.info.volumeUsd24h.type"),
        (OLD.replace('["BNB/USD:USD"]', "5"), "class_attributes.wl_restricted"),
    ],
)
def test_a_file_that_is_none_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, sentence: str
) -> None:
    path = tmp_path / "updater_config.yaml"
    if text is not None:
        path.write_text(text)
    assert main(["import", str(path), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
