"""The whole check: both files, and what each says about the other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from deployments.checking.entries import INITIALIZE, Entry, read_entries
from deployments.checking.strategies import strategy_problems
from deployments.checking.updaters import StepChecker, double_writers, shadowing_attributes, unknown_symbol
from kontor.config import Document, KontorConfig, Problem, check_config, parse_document, read_document
from kontor.errors import ConfigError
from tasks.updater_calls import registry

Markets = Mapping[str, Collection[str]]


@dataclass
class Check:
    """What was found: problems, and remarks about what could not be looked at."""

    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def blocking(self) -> list[Problem]:
        """What a deployment must not happen with."""
        return [each for each in self.problems if each.blocks]


def check_files(config_file: Path | None, deployments_file: Path | None, markets: Markets | None = None) -> Check:
    """Check both files, or the one that is given; `markets` are the symbols each account's venue is known to have."""
    check = Check()
    settings = _read(config_file, check)
    deployments = _read(deployments_file, check)
    return check_documents(settings, deployments, markets, check)


def check_texts(settings: str | None, deployments: str | None, markets: Markets | None = None) -> Check:
    """Like check_files, of text that is in no file."""
    check = Check()
    read = []
    for text, name in ((settings, "kontor.yaml"), (deployments, "prefect.yaml")):
        try:
            read.append(None if text is None else parse_document(text, name=name))
        except ConfigError as error:
            check.problems.append(_unreadable(name, error))
            read.append(None)
    return check_documents(read[0], read[1], markets, check)


def check_documents(
    settings: Document | None, deployments: Document | None, markets: Markets | None, check: Check
) -> Check:
    """Check what could be read."""
    config: KontorConfig | None = None
    if settings is not None:
        config, found = check_config(settings)
        check.problems += found
    if settings is not None and config is not None:
        check.problems += shadowing_attributes(settings, config)
        check.problems += _restricted(settings, config, markets or {})
        check.problems += strategy_problems(settings, config, markets or {})
    if deployments is not None:
        calls, complaints = registry()
        check.remarks += complaints
        entries, found = read_entries(deployments)
        check.problems += found
        known = config or _start_values(settings)
        check.problems += StepChecker(deployments, entries, known, calls, markets or {}).problems()
        check.problems += double_writers(deployments, entries)
        check.problems += _names(deployments, entries)
        check.problems += _accounts(deployments, entries)
        if settings is not None and config is not None:
            check.problems += _strangers(settings, config, entries)
        check.problems += _intervals(deployments, entries)
    check.problems.sort(key=lambda each: (each.file, each.line))
    return check


def _start_values(settings: Document | None) -> KontorConfig:
    """What steps may refer to, of a kontor.yaml that is missing or wrong elsewhere."""
    data = settings.data if settings is not None else None
    try:
        return KontorConfig.model_validate({"attributes": data["attributes"]} if isinstance(data, dict) else {})
    except (KeyError, ValidationError):
        return KontorConfig()


def _read(path: Path | None, check: Check) -> Document | None:
    if path is None:
        return None
    try:
        return read_document(path)
    except ConfigError as error:
        check.problems.append(_unreadable(path.name, error))
        return None


def _unreadable(name: str, error: ConfigError) -> Problem:
    _, marker, line = error.where.partition(" line ")
    sentence = str(error).removeprefix(f"{error.where}: ")
    return Problem(name, int(line) if marker and line.isdecimal() else 1, "", sentence)


def _restricted(document: Document, config: KontorConfig, markets: Markets) -> Iterator[Problem]:
    known = set().union(*markets.values())
    everywhere = config.watchlist.restricted
    lists: dict[tuple[str, ...], tuple[str, ...]] = {("watchlist", "restricted"): everywhere}
    for account in config.accounts:
        if (mine := config.of(account).watchlist.restricted) != everywhere:
            lists["accounts", account, "watchlist", "restricted"] = mine
    for place, symbols in lists.items():
        for number, symbol in enumerate(symbols if known else ()):
            if symbol not in known:
                yield document.problem((*place, number), unknown_symbol(symbol, known))


def _names(document: Document, entries: Sequence[Entry]) -> Iterator[Problem]:
    """Two deployments of one name replace each other; two updaters of one name share lease and heartbeat."""
    deployed: dict[str, Entry] = {}
    updaters: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        other = deployed.setdefault(entry.full_name, entry)
        if other is not entry:
            sentence = f"{entry.full_name} is on line {document.line(other.path)} too, and would replace it; rename one"
            yield document.problem((*entry.path, "name"), sentence)
            continue
        if not entry.intervals and not entry.steps:
            continue
        other = updaters.setdefault((entry.account, entry.updater), entry)
        if other is not entry:
            sentence = (
                f"{other.full_name} (line {document.line(other.path)}) is the updater {entry.updater} of "
                f"{entry.account} too; give each a name of its own"
            )
            yield document.problem((*entry.path, "name"), sentence)


def _accounts(document: Document, entries: Sequence[Entry]) -> Iterator[Problem]:
    ready = {entry.account for entry in entries if entry.flow_name == INITIALIZE}
    told: set[str] = set()
    for entry in entries:
        account = entry.account
        if not entry.data.entrypoint.startswith("flows.") or account in ready or account in told or not entry.flow:
            continue
        told.add(account)
        sentence = (
            f"the account {account} has no deployment of flows.operate.initialize, so its gate stays closed; add one"
        )
        place = (*entry.path, "parameters", "account") if "account" in entry.parameters else (*entry.path, "name")
        yield document.problem(place, sentence)


def _strangers(document: Document, config: KontorConfig, entries: Sequence[Entry]) -> Iterator[Problem]:
    """Settings for an account that nothing works for: its limits would be those for all, unnoticed."""
    known = sorted({entry.account for entry in entries})
    for account in config.accounts:
        if account not in known:
            sentence = f"prefect.yaml deploys nothing for account {account}; it has {', '.join(known)}: mend the name"
            yield document.problem(("accounts", account), sentence)


def _intervals(document: Document, entries: Sequence[Entry]) -> Iterator[Problem]:
    for entry in entries:
        for place, interval in entry.intervals:
            if entry.timeout is not None and interval < entry.timeout:
                seconds = f"{entry.timeout.total_seconds():g}"
                remedy = (
                    f"set timeout_seconds to {interval.total_seconds():g} or less"
                    if "timeout_seconds" in _parameters(entry)
                    else f"make it {seconds} or more"
                )
                sentence = (
                    f"{interval.total_seconds():g} s is shorter than the {seconds} s a run of {entry.full_name} may "
                    f"take, and due runs would be skipped; {remedy}"
                )
                yield document.problem(place, sentence, blocks=False)


def _parameters(entry: Entry) -> Collection[str]:
    properties = entry.flow.parameters.properties if entry.flow is not None else {}
    return list(properties)
