"""What a step may call: documented callables with their parameters, by name. Never an import that a file names."""

import difflib
import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from kontor.errors import ConfigError
from kontor.updaters.step import Step, literal, reference

# The entry point group by which an installed package adds callables.
GROUP = "kontor.callables"

Keep = Callable[[Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Call:
    """A callable: `run(desk, *args)`, its parameters without the desk, and what its result is."""

    name: str
    run: Callable[..., Awaitable[Any]]
    parameters: tuple[inspect.Parameter, ...]
    returns: Any
    about: str
    origin: str
    # The typed names of shared state this result is; `keep(desk, result)` stores it there when that takes something.
    fills: frozenset[str] = frozenset()
    keep: Keep | None = None

    @property
    def signature(self) -> str:
        """As it is documented: `get_ohlcv_data(symbols: list[str], timeframe: str = '1m')`."""
        returns = inspect.Signature.empty if self.returns is Any else self.returns
        text = str(inspect.Signature(list(self.parameters), return_annotation=returns))
        return f"{self.name}{text.replace('typing.', '').replace('decimal.', '')}"

    def bound(self, step: Step) -> dict[str, Any]:
        """The step's arguments by parameter name, not yet resolved; raises ConfigError when they do not fit.

        Arguments of a callable that names no parameters are found under their positions.
        """
        signature = inspect.Signature(list(self.parameters))
        try:
            found = signature.bind(**step.args) if isinstance(step.args, dict) else signature.bind(*step.args)
        except TypeError as error:
            raise ConfigError(f"{error}; it is called as {self.signature}", where=self.name) from None
        arguments = dict(found.arguments)
        rest = next((each.name for each in self.parameters if each.kind is inspect.Parameter.VAR_POSITIONAL), None)
        if rest is not None:
            arguments |= {str(number): value for number, value in enumerate(arguments.pop(rest, ()))}
        return arguments

    def annotation(self, parameter: str) -> Any:
        """The type of a parameter; Any where there is none."""
        found = next((each.annotation for each in self.parameters if each.name == parameter), Any)
        return Any if found is inspect.Parameter.empty else found

    def converted(self, parameter: str, value: Any) -> Any:
        """A literal as the parameter takes it; raises ConfigError when it is of another type."""
        try:
            return TypeAdapter(self.annotation(parameter)).validate_python(literal(value))
        except ValidationError as error:
            first = error.errors()[0]
            place = "".join(f"[{part!r}]" for part in first["loc"] if isinstance(part, int))
            message = first["msg"][0].lower() + first["msg"][1:]
            raise ConfigError(f"{message}, not {value!r}", where=f"{parameter}{place}") from None


def described(
    function: Callable[..., Awaitable[Any]],
    *,
    name: str = "",
    origin: str = "kontor",
    fills: Collection[str] = (),
    keep: Keep | None = None,
) -> Call:
    """The Call of an async function whose first parameter is the desk; its docstring's first line is what it does."""
    hints = _hints(function)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return Call(
        name or function.__name__,
        function,
        tuple(each.replace(annotation=hints.get(each.name, each.annotation)) for each in parameters),
        hints.get("return", Any),
        (inspect.getdoc(function) or "").partition("\n")[0],
        origin,
        frozenset(fills),
        keep,
    )


def find_call(calls: Mapping[str, Call], name: str) -> Call:
    """The callable of that name; raises ConfigError, with the nearest names, when there is none."""
    found = calls.get(name)
    if found is None:
        near = difflib.get_close_matches(name, calls, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else "'kontor updaters' lists what there is"
        raise ConfigError(f"{name} is nothing an updater may call; {hint}")
    return found


def installed(taken: Collection[str]) -> tuple[dict[str, Call], list[str]]:
    """Callables that installed packages add, and one sentence for each that cannot be used."""
    found: dict[str, Call] = {}
    problems: list[str] = []
    for point in sorted(entry_points(group=GROUP)):
        if point.name in taken or point.name in found:
            problems.append(f"{_where(point)}: {point.name} is the name of another callable; give it another name")
            continue
        try:
            found[point.name] = _plugin(point)
        except Exception as error:  # noqa: BLE001 - somebody else's code must not take the others with it
            problems.append(f"{_where(point)}: cannot be loaded ({type(error).__name__}: {error})")
    return found, problems


def references(step: Step) -> list[str]:
    """The names a step refers to."""
    return [name for _, argument in step.arguments() if (name := reference(argument)) is not None]


def _plugin(point: EntryPoint) -> Call:
    function = point.load()
    if not inspect.iscoroutinefunction(function) or not inspect.signature(function).parameters:
        raise TypeError("it must be an async function whose first parameter is the desk")
    return described(function, name=point.name, origin=_where(point))


def _where(point: EntryPoint) -> str:
    return f"{point.dist.name if point.dist else 'a package'} ({point.value})"


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - a name that only type checkers can see
        return {}
