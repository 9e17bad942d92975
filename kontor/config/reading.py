"""Reading kontor.yaml: the settings, or one sentence per mistake with its place."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from kontor.config.document import Document, Path_, Problem, read_document, spelled
from kontor.config.root import KontorConfig
from kontor.errors import ConfigError


def load_config(path: Path, account: str | None = None) -> KontorConfig:
    """The settings in `path`, those of an account if one is named; raises ConfigError with every mistake."""
    config = parse_config(read_yaml(path), where=path.name)
    return config if account is None else config.of(account)


def parse_config(data: Any, *, where: str) -> KontorConfig:
    """The settings in already-read YAML."""
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError("must hold keys and values, such as 'watchlist:'", where=where)
    try:
        config = KontorConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(describe(error, KontorConfig), where=where) from None
    if wrong := _wrong_accounts(config):
        sentences = (describe(error, KontorConfig, within=("accounts", name)) for name, error in wrong.items())
        raise ConfigError("; ".join(sentences), where=where)
    return config


def check_config(document: Document) -> tuple[KontorConfig | None, list[Problem]]:
    """The settings in a document, None when there are mistakes; and the mistakes, each with its line."""
    problems = list(document.problems)
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        return None, [*problems, document.problem((), "must hold keys and values, such as 'watchlist:'")]
    try:
        config = KontorConfig.model_validate(data)
    except ValidationError as error:
        return None, problems + problems_of(document, (), error, KontorConfig)
    wrong = _wrong_accounts(config)
    for name, error in wrong.items():
        problems += problems_of(document, ("accounts", name), error, KontorConfig)
    return None if wrong else config, problems


def _wrong_accounts(config: KontorConfig) -> Mapping[str, ValidationError]:
    """What is wrong with an account's own settings: those for all are right, so it is what it has of its own."""
    wrong: dict[str, ValidationError] = {}
    for name in config.accounts:
        try:
            config.of(name)
        except ValidationError as error:
            wrong[name] = error
    return wrong


def problems_of(
    document: Document, within: Path_, error: ValidationError, model: type[BaseModel] | None = None
) -> list[Problem]:
    """Pydantic's findings about the part of a document at `within`, one for each place."""
    found: dict[Path_, Problem] = {}
    for finding in error.errors():
        place = _known(document, (*within, *finding["loc"]), finding["type"])
        sentence = _sentence(finding, model)
        found.setdefault(place, document.problem(place, sentence))
    return list(found.values())


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; raises ConfigError when it is missing, unreadable or not YAML."""
    return read_document(path).data


def describe(error: ValidationError, model: type[BaseModel] | None = None, *, within: Sequence[str] = ()) -> str:
    """Pydantic's findings as one line: `key.path: what is wrong`, joined by semicolons; `within` leads to the keys."""
    return "; ".join(
        f"{spelled((*within, *map(str, each['loc']))) or '(top)'} {_sentence(each, model)}" for each in error.errors()
    )


def _known(document: Document, loc: Sequence[str | int], kind: str) -> Path_:
    """Where a finding is in the file: pydantic adds the branches of a union to the place."""
    place = tuple(str(part) if not isinstance(part, int) else part for part in loc)
    end = len(place) - (kind == "missing")
    while end and place[:end] not in document.lines:
        end -= 1
    return place[:end] + (place[-1:] if kind == "missing" else ())


def _sentence(finding: Any, model: type[BaseModel] | None) -> str:
    if finding["type"] == "extra_forbidden":
        return f"is not a known key; remove it or mend its spelling{_hint(finding['loc'], model)}"
    if finding["type"] == "missing":
        return "field required; add it"
    message = finding["msg"]
    return f"{message[0].lower()}{message[1:]}".replace("value error, ", "").replace("\n", " ")


def _hint(loc: Sequence[str | int], model: type[BaseModel] | None) -> str:
    """The key that was perhaps meant, where the sections' models tell it."""
    for part in (part for part in loc[:-1] if not isinstance(part, int)):
        field = model.model_fields.get(str(part)) if model is not None else None
        kind = field.annotation if field is not None else None
        model = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    near = difflib.get_close_matches(str(loc[-1]), _names(model), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _names(model: type[BaseModel] | None) -> Iterator[str]:
    for name, field in (model.model_fields if model is not None else {}).items():
        yield field.alias or name
