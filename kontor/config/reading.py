"""Reading kontor.yaml: the settings, or one sentence per mistake with its place."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kontor.config.root import KontorConfig
from kontor.errors import ConfigError


def load_config(path: Path) -> KontorConfig:
    """The settings in `path`; raises ConfigError with every mistake, each naming file and key."""
    return parse_config(read_yaml(path), where=path.name)


def parse_config(data: Any, *, where: str) -> KontorConfig:
    """The settings in already-read YAML."""
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError("must hold keys and values, such as 'watchlist:'", where=where)
    try:
        return KontorConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(describe(error), where=where) from None


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; raises ConfigError when it is missing, unreadable or not YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("there is no such file; start from the one in the repository", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=str(path)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise ConfigError(f"{problem}; mend the YAML there", where=f"{path.name}{line}") from None


def describe(error: ValidationError) -> str:
    """Pydantic's findings as one line: `key.path: what is wrong`, joined by semicolons."""
    return "; ".join(_one(finding["loc"], finding["type"], finding["msg"]) for finding in error.errors())


def _one(loc: tuple[int | str, ...], kind: str, message: str) -> str:
    key = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in ".".join(map(str, loc))) or "(top)"
    if kind == "extra_forbidden":
        return f"{key} is not a known key; remove it or mend its spelling"
    return f"{key} {message[0].lower()}{message[1:]}".replace("value error, ", "")
