"""`kontor config check`: every mistake of both files at once, each with file, line and remedy; never a traceback."""

from __future__ import annotations

import copy
import inspect
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.cli.deploy._models import DeploymentConfig

from deployments.checking import deploying
from deployments.checking.prefect_file import DeploymentEntry
from deployments.checking.project import check_texts
from deployments.checking.schemas import SCHEMAS
from deployments.checking.updaters import WRITTEN_BY
from deployments.cli import main
from flows import account, market_data
from kontor.updaters.shared import TYPED

REPOSITORY = Path(__file__).parents[3]
SETTINGS = (REPOSITORY / "kontor.yaml").read_text()
SHIPPED = (REPOSITORY / "prefect.yaml").read_text()
MARKETS = {"paper": {"BTC/USD", "ETH/USD", "BTC/USD:USD", "BNB/USD:USD", "USDT/USD:USD"}}

DEPLOYMENTS = """\
definitions:
  updates: &updates {name: desk, work_queue_name: updates}
deployments:
  - name: paper
    entrypoint: flows.operate.initialize
    work_pool: *updates
  - name: paper
    entrypoint: flows.market_data.update_tickers
    parameters: {account: paper}
    schedules: [{interval: 10}]
    work_pool: *updates
  - name: funding
    entrypoint: flows.updater.run_updater
    parameters:
      steps:
        - {call: fetch_funding_rates, args: [$watchlist], target: funding}
        - {call: fetch_order_book, args: [BTC/USD, 5], target: book}
    schedules: [{interval: 60}]
    work_pool: *updates
"""


def said(deployments: str | None = DEPLOYMENTS, config: str | None = SETTINGS) -> list[str]:
    return [str(each) for each in check_texts(config, deployments, MARKETS).problems]


def test_the_shipped_files_are_right() -> None:
    assert said(SHIPPED) == []
    assert said() == []


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        (
            "fetch_funding_rates",
            "fetch_funding_rate",
            16,
            "symbol of fetch_funding_rate is a text, but watchlist is a list of",
        ),
        (
            "fetch_funding_rates",
            "fetch_fundings",
            16,
            "call: fetch_fundings is nothing an updater may call; did you mean",
        ),
        ("$watchlist", "$watchlst", 16, "no updater writes watchlst; did you mean watchlist?"),
        (
            "$watchlist",
            "$qwertz",
            16,
            "no updater writes qwertz; let a step have it as target, or add it to attributes",
        ),
        ("$watchlist", "[$watchlist]", 16, "$watchlist stands inside a list or object; let it be the whole argument"),
        ("BTC/USD, 5", "BTC/USDX, 5", 17, "BTC/USDX is not a market of this exchange; did you mean"),
        ("BTC/USD, 5", "BTC/USD, lots", 17, "args[1]: limit: input should be a valid integer"),
        (
            "BTC/USD, 5",
            "BTC/USD, 5, {}, 7",
            17,
            "args: fetch_order_book: too many positional arguments; it is called as",
        ),
        ("target: book", "target: gate", 17, "target: gate belongs to the desk itself; choose another name"),
        ("target: book", "target: last_price", 17, "target: last_price is last price by symbol, which this call"),
        ("target: book", "targt: book", 17, "targt: is not a known key; remove it or mend its spelling (did you mean"),
        ("interval: 60", "interval: 30", 18, "30 s is shorter than the 60 s a run of run-updater/funding may take"),
        ("interval: 10", "interval: 5", 10, "5 s is shorter than the 10 s a run of update-tickers/paper may take"),
        ("interval: 60", "interval: -1", 18, "interval: input should be greater than 0"),
        ("interval: 60", "intervall: 60", 18, "intervall: is not a known key"),
        ("interval: 60", "cron: every day", 18, "cron"),
        ("update_tickers", "update_ticker", 8, "flows.market_data.update_ticker cannot be loaded (AttributeError"),
        (
            "parameters: {account: paper}",
            "parameters: {acount: paper}",
            9,
            "has no such parameter; did you mean account?",
        ),
        (
            "parameters: {account: paper}",
            "parameters: {account: live}",
            9,
            "the account live has no deployment of flows",
        ),
        ("parameters: {account: paper}", "paramters: {account: paper}", 9, "paramters: is not a known key"),
        (
            "name: funding\n",
            "name: update-tickers\n",
            12,
            "update-tickers/paper (line 7) is the updater update-tickers",
        ),
        (
            "flows.updater.run_updater",
            "flows.market_data.update_tickers",
            15,
            "update-tickers has no such parameter; it has account",
        ),
        ("work_queue_name: updates", "work_queue_name: update", 2, "no worker takes from the queue update; use"),
    ],
)
def test_each_mistake_has_its_line_and_a_remedy(old: str, new: str, line: int, sentence: str) -> None:
    """In prefect.yaml; the line is where the mistake stands, not where its deployment begins."""
    assert old in DEPLOYMENTS
    found = said(DEPLOYMENTS.replace(old, new))
    matching = [each for each in found if sentence in each]
    assert matching, found
    number = re.match(r"prefect\.yaml line (\d+): ", matching[0])
    assert number is not None
    assert int(number[1]) == line, matching


def test_two_deployments_that_write_one_name_are_told_of_one_another() -> None:
    """Unless both merge: then each keeps the other's keys."""
    other = (
        DEPLOYMENTS.partition("  - name: funding")[2]
        .replace("book", "depth")
        .replace("fetch_order_depth", "fetch_order_book")
    )
    twice = f"{DEPLOYMENTS}  - name: second{other}"
    (found,) = said(twice)
    assert "funding is written by run-updater/funding (line 12) too; remove one, or choose another name" in found
    assert said(twice.replace("target: funding}", "target: funding, merge: true}")) == []
    candles = "{call: get_ohlcv_data, args: [$watchlist], target: ohlcs}"
    typed = DEPLOYMENTS.replace("market_data.update_tickers", "market_data.update_candles").replace(
        "interval: 10", "interval: 60"
    )
    step = "{call: fetch_order_book, args: [BTC/USD, 5], target: book}"
    assert "ohlcs is written by update-candles/paper" in said(typed.replace(step, candles))[0]


def test_initialize_may_only_refer_to_what_is_there_when_it_runs() -> None:
    """It runs before every updater: what they write is not there at the first start."""
    steps = "{steps: [{call: get_current_ranges, args: [$watchlist], target: ranges}]}"
    text = DEPLOYMENTS.replace("flows.operate.initialize\n", f"flows.operate.initialize\n    parameters: {steps}\n")
    (found,) = said(text)
    assert "prefect.yaml line 6: " in found
    assert "nothing has written watchlist before this step; put the step that does before it" in found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("risk: {max_ordr_value: 1}", "kontor.yaml line 1: risk.max_ordr_value: is not a known key"),
        ("risk: {max_ordr_value: 1}", "(did you mean max_order_value?)"),
        ("a: 1\nrisk:\n  max_order_value: -1\n", "kontor.yaml line 3: risk.max_order_value: input should be greater"),
        (
            "watchlist:\n  restricted:\n  - BTC/USD\n  - BNB/USD\n",
            "kontor.yaml line 4: watchlist.restricted[1]: BNB/USD is not",
        ),
        ("risk: {}\nrisk: {}\n", "kontor.yaml line 2: risk: is there twice, on line 1 too; remove one"),
        ("attributes: {watchlist: [1]}", "attributes.watchlist: watchlist has a meaning already"),
        ("attributes: {gate: 1}", "attributes.gate: gate has a meaning already"),
        ("a: [1", "kontor.yaml line "),
        ("a: 2026-99-99", "a date or number cannot be read"),
        ("a: &a [*a]", "is nested too deeply, or contains itself"),
        ("[" * 500, "nested too deeply"),
        ("a: \x01", "holds characters that YAML does not allow"),
    ],
)
def test_mistakes_in_kontor_yaml_have_their_line_too(text: str, sentence: str) -> None:
    assert any(sentence in each for each in said(None, text)), said(None, text)


def test_what_is_different_for_one_account_is_checked_as_what_holds_for_all() -> None:
    """Strategies with their parameters and symbols; and an account that nothing works for is a mistyped one."""
    own = SETTINGS.replace(
        "accounts: {}",
        """\
accounts:
  paper:
    risk: {max_order_valu: 1}
  papre:
    risk: {max_order_value: 1}
""",
    )
    line = own.splitlines().index("  paper:") + 1
    [problem] = said(config=own)
    assert problem.startswith(f"kontor.yaml line {line + 1}: accounts.paper.risk.max_order_valu: is not a known key")
    assert problem.endswith("(did you mean max_order_value?)")
    own = own.replace(
        "risk: {max_order_valu: 1}",
        """\
watchlist: {restricted: [NOPE/USD]}
    strategies:
      mine: {use: sma_cross, symbols: [BTC/USD, BTC/USDX], parameters: {fast: 30, slow: 10}}""",
    )
    found = said(config=own)
    assert [each.partition(": ")[2].partition(": ")[0] for each in found] == [
        "accounts.paper.watchlist.restricted[0]",
        "accounts.paper.strategies.mine.parameters",
        "accounts.paper.strategies.mine.symbols[1]",
        "accounts.papre",
    ]
    assert "fast must be below slow" in found[1]
    assert found[3].endswith("prefect.yaml deploys nothing for account papre; it has paper: mend the name")


def test_a_billion_laughs_are_not_laughed() -> None:
    """A few lines of aliases would be a billion settings."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert any("nested too deeply" in each for each in said(None, "\n".join(lines)))


def test_a_reference_to_a_start_value_is_known_by_its_type() -> None:
    """kontor.yaml's attributes are constants for steps."""
    text = DEPLOYMENTS.replace("BTC/USD, 5", "$pair, 5")
    assert said(text, "attributes: {pair: BTC/USD}") == []
    assert "symbol of fetch_order_book is a text, but pair is a number" in said(text, "attributes: {pair: 5}")[0]


def test_the_command_says_all_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KONTOR_HOME", str(tmp_path / "home"))
    (tmp_path / "kontor.yaml").write_text("risk: {max_open_orders: -3}")
    (tmp_path / "prefect.yaml").write_text(DEPLOYMENTS.replace("fetch_order_book", "fetch_order_bok"))
    assert main(["config", "check", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "kontor.yaml line 1: risk.max_open_orders" in error
    assert "prefect.yaml line 17: deployments[2].parameters.steps[1].call: fetch_order_bok is nothing" in error
    assert "kontor: 2 problems" in error
    (tmp_path / "kontor.yaml").write_text("")
    (tmp_path / "prefect.yaml").write_text(DEPLOYMENTS)
    assert main(["config", "check", str(tmp_path)]) == 0
    assert "are right" in capsys.readouterr().out
    assert main(["config", "check", str(tmp_path / "nothing.yaml")]) == 1


def test_a_deployment_with_a_mistake_is_stopped_and_one_with_a_doubt_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The build step of prefect.yaml: `prefect deploy --all` ends with the lines, and deploys nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KONTOR_CONFIG", raising=False)
    (tmp_path / "kontor.yaml").write_text("")
    (tmp_path / "prefect.yaml").write_text(DEPLOYMENTS.replace("interval: 60", "interval: 30"))
    assert deploying.check_before_deploy() == {}
    assert "30 s is shorter than the 60 s" in capsys.readouterr().err
    (tmp_path / "prefect.yaml").write_text(DEPLOYMENTS.replace("$watchlist", "$watchlst"))
    with pytest.raises(SystemExit, match=r"^prefect\.yaml line 16: .*no updater writes watchlst"):
        deploying.check_before_deploy()


def test_the_schemas_in_the_repository_are_current_and_take_the_shipped_files() -> None:
    """`kontor config schema kontor > schemas/kontor.schema.json` makes one anew, and prefect's likewise."""
    for name, make in SCHEMAS.items():
        path = REPOSITORY / "schemas" / f"{name}.schema.json"
        schema = json.loads(path.read_text())
        assert schema == json.loads(json.dumps(make())), (
            f"{path.name} is old: kontor config schema {name} > {path.name}"
        )
        jsonschema.Draft202012Validator.check_schema(schema)
        text = (REPOSITORY / f"{name}.yaml").read_text()
        assert text.startswith(f"# yaml-language-server: $schema=schemas/{name}.schema.json\n")
        jsonschema.validate(yaml.safe_load(text), schema)
    wrong = yaml.safe_load(DEPLOYMENTS.replace("call:", "cal:"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMAS["prefect"]())


def test_the_model_of_prefect_yaml_has_the_keys_prefect_has() -> None:
    """A key that a newer Prefect takes must not be called a mistake."""
    assert set(DeploymentEntry.model_fields) == set(DeploymentConfig.model_fields)


def test_what_the_shipped_flows_write_names_flows_and_names_that_exist() -> None:
    """A renamed flow would silently no longer be looked at."""
    found = [each for module in (market_data, account) for _, each in inspect.getmembers(module) if hasattr(each, "fn")]
    flows = {each.name for each in found if type(each).__name__ == "Flow"}
    assert WRITTEN_BY.keys() == flows
    assert set().union(*WRITTEN_BY.values()) <= TYPED.keys()


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10),
    st.floats(allow_nan=True),
    st.sampled_from(
        ["$watchlist", "$nothing", "{{ x }}", "", "None", "paper", "a.b", "flows.updater.run_updater", "5"]
    ),
    st.text(max_size=5),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a tree but its root."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in pairs for place in ((*path, key), *places(inner, (*path, key)))]


TREES = {"kontor.yaml": yaml.safe_load(SETTINGS), "prefect.yaml": yaml.safe_load(DEPLOYMENTS)}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_mutation_of_a_valid_file_validates_or_names_the_path(data: st.DataObject) -> None:
    """Replaced, removed, renamed, doubled: an answer, with a place that is in the file, and never a traceback."""
    name = data.draw(st.sampled_from(sorted(TREES)))
    tree = copy.deepcopy(TREES[name])
    place = data.draw(st.sampled_from(places(tree)))
    around = tree
    for part in place[:-1]:
        around = around[part]
    match data.draw(st.sampled_from(["replace", "remove", "rename"])):
        case "replace":
            around[place[-1]] = data.draw(VALUES)
        case "remove":
            del around[place[-1]]
        case _ if isinstance(around, dict):
            around[data.draw(st.text(max_size=6))] = around.pop(place[-1])
        case _:
            around.append(around[place[-1]])
    check_sentences(name, yaml.safe_dump(tree, allow_unicode=True))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_edit_of_the_text_validates_or_names_the_line(data: st.DataObject) -> None:
    """What a slip of the keyboard does: characters lost, doubled, or put where they do not belong."""
    name, text = data.draw(st.sampled_from([("kontor.yaml", SETTINGS), ("prefect.yaml", DEPLOYMENTS)]))
    at = data.draw(st.integers(0, len(text)))
    until = min(at + data.draw(st.integers(0, 12)), len(text))
    typed = data.draw(st.text(alphabet="abc0:-[]{}&*!|>'\"%@`,?#\n\t .$=~\\\x00\u2028\ud7ff", max_size=6))
    check_sentences(name, text[:at] + typed + text[until:])


def check_sentences(name: str, text: str) -> None:
    config, deployments = (text, None) if name == "kontor.yaml" else (SETTINGS, text)
    lines = len(text.splitlines()) + 2
    for problem in check_texts(config, deployments, MARKETS).problems:
        assert problem.file == name
        assert 1 <= problem.line <= lines
        sentence = str(problem)
        assert sentence.startswith(f"{name} line {problem.line}: ")
        assert "\n" not in sentence
        assert "Traceback" not in sentence
